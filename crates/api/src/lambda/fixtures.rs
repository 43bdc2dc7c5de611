//! Values for tests.

use warren_model::{
    Code, Config, Digest, EngineName, Environment, InertSettings, LastUpdate, NetworkPolicy,
    RevisionId, State, Timestamp, Version, VersionId,
};

/// An active `$LATEST`.
pub(crate) fn version(name: &str) -> Version {
    Version {
        function: name.parse().unwrap(),
        id: VersionId::Latest,
        revision: RevisionId::new("6f9e8c1a-0000-4000-8000-000000000001"),
        config: Config {
            runtime: "python3.12".to_owned(),
            handler: "app.handler".to_owned(),
            role: "arn:aws:iam::000000000000:role/r".to_owned(),
            description: String::new(),
            timeout: Default::default(),
            memory: Default::default(),
            ephemeral_storage: Default::default(),
            environment: Environment::new([("KEY".to_owned(), "value".to_owned())].into()).unwrap(),
            engine: EngineName::DOCKER,
            network: NetworkPolicy::None,
            snap_start: false,
            inert: InertSettings::new(),
        },
        code: Code {
            digest: Digest::of(b"zip"),
            size: 3,
        },
        state: State::Active,
        state_reason: None,
        last_update: Some(LastUpdate::Successful),
        last_update_reason: None,
        modified: Timestamp::from_millis(1_795_516_965_123),
    }
}
