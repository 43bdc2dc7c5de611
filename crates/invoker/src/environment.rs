//! What a runtime's process finds in its environment. Follows the Developer Guide, "Defined runtime environment variables".

use std::collections::BTreeMap;

use warren_model::{Account, Version};
use warren_protocol::RUNTIME_API_ADDRESS;
use warren_runtimes::Recipe;

/// What every process has that Warren starts on a language tree.
pub(crate) fn base(recipe: &Recipe) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = [
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    variables.extend(recipe.environment.clone());
    variables
}

/// The whole environment of one runtime process.
pub(crate) fn environment(
    version: &Version,
    recipe: &Recipe,
    account: &Account,
    log_stream: &str,
) -> BTreeMap<String, String> {
    let config = &version.config;
    let mut variables = base(recipe);
    let folders = [
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ];
    for (key, folder) in folders {
        // A recipe may say otherwise.
        variables
            .entry(key.to_owned())
            .or_insert_with(|| folder.to_owned());
    }
    // The owner's come before Lambda's own, which can't be overridden.
    variables.extend(
        config
            .environment
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let name = version.function.as_str();
    let own = [
        ("_HANDLER", config.handler.clone()),
        ("AWS_REGION", account.region.clone()),
        ("AWS_DEFAULT_REGION", account.region.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", version.id.to_string()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory.get().to_string(),
        ),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS.to_owned()),
        // No role is mapped to credentials: SDKs fail at once instead of asking a metadata address.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    variables.extend(own.map(|(key, value)| (key.to_owned(), value)));
    // Not defined for OS-only runtimes.
    if recipe.family != "provided" {
        let id = format!("AWS_Lambda_{}", config.runtime);
        variables.insert("AWS_EXECUTION_ENV".to_owned(), id);
    }
    variables
}

#[cfg(test)]
mod tests {
    use warren_model::{Code, Config, Digest, RevisionId, State, Timestamp, VersionId};
    use warren_runtimes::Catalogue;

    use super::*;

    fn version(runtime: &str) -> Version {
        let set = BTreeMap::from([("LANG".to_owned(), "de".to_owned())]);
        Version {
            function: "f".parse().unwrap(),
            id: VersionId::Latest,
            revision: RevisionId::random(),
            config: Config {
                runtime: runtime.to_owned(),
                handler: "app.handler".to_owned(),
                role: String::new(),
                description: String::new(),
                timeout: Default::default(),
                memory: Default::default(),
                ephemeral_storage: Default::default(),
                environment: warren_model::Environment::new(set).unwrap(),
                engine: Default::default(),
                network: Default::default(),
                inert: Default::default(),
            },
            code: Code {
                digest: Digest::of(b""),
                size: 0,
            },
            state: State::Active,
            state_reason: None,
            last_update: None,
            last_update_reason: None,
            modified: Timestamp::default(),
        }
    }

    fn of(runtime: &str) -> BTreeMap<String, String> {
        let recipe = Catalogue::built_in()
            .unwrap()
            .resolve(runtime)
            .unwrap()
            .recipe;
        environment(&version(runtime), &recipe, &Account::default(), "stream")
    }

    #[test]
    fn the_owner_overrides_the_base_and_lambda_the_owner() {
        let variables = of("python3.12");
        assert_eq!(variables["LANG"], "de");
        assert_eq!(variables["TZ"], ":UTC");
        assert_eq!(variables["_HANDLER"], "app.handler");
        assert_eq!(variables["AWS_EXECUTION_ENV"], "AWS_Lambda_python3.12");
    }

    #[test]
    fn an_os_only_runtime_has_no_execution_environment() {
        assert!(!of("provided.al2023").contains_key("AWS_EXECUTION_ENV"));
    }
}
