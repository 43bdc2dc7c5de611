//! A function as people read it.

use warren_client::Client;
use warren_model::native::{Function, LastUpdate, RouteList, State};

use super::{failure::Failure, table::pairs};

/// Where functions' routes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoutesAddress(Option<String>);

impl RoutesAddress {
    /// Asks the server.
    pub(super) async fn ask(client: &Client) -> Result<Self, Failure> {
        Ok(Self::of(client, &client.routes().await?))
    }

    /// The server's host, with the port of the routes.
    pub(super) fn of(client: &Client, list: &RouteList) -> Self {
        Self(list.port.map(|port| with_port(client.server(), port)))
    }

    /// The URL of a path, or the path alone if the address is not known.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_deref().unwrap_or_default())
    }

    /// Whether the server says where they are.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Method and URL of a route.
    pub(super) fn route(&self, route: &str) -> String {
        match route.split_once(' ') {
            Some((method, path)) => format!("{method} {}", self.url(path)),
            None => route.to_owned(),
        }
    }

    /// Every route of a function as a URL.
    pub(super) fn routes(&self, function: &Function) -> Vec<String> {
        let routes = function.routes.iter();
        routes.map(|route| self.route(route)).collect()
    }
}

/// A server's address with another port.
fn with_port(server: &str, port: u16) -> String {
    let (scheme, rest) = server.split_once("://").unwrap_or(("http", server));
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or(authority),
    };
    format!("{scheme}://{host}:{port}")
}

/// What runs a function; never silent about a stand-in.
pub(super) fn runs_on(function: &Function) -> String {
    match &function.runs_on {
        Some(on) if on.stands_in => {
            format!(
                "{} on {}, which stands in for it",
                function.runtime, on.title
            )
        }
        Some(on) => format!("{} ({})", function.runtime, on.title),
        None => format!(
            "{}, for which there is no recipe any more",
            function.runtime
        ),
    }
}

/// The state, and the reason where it is not as it should be.
pub(super) fn state(function: &Function) -> String {
    let reason = |reason: &Option<String>| {
        reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"))
    };
    match (function.state, function.last_update) {
        (State::Failed, _) => format!("failed{}", reason(&function.state_reason)),
        (state, Some(LastUpdate::InProgress)) => format!("{state}, an update is in progress"),
        (state, Some(LastUpdate::Failed)) => format!(
            "{state}, but the last update failed and the code before it runs{}",
            reason(&function.last_update_reason)
        ),
        (state, _) => state.to_string(),
    }
}

/// All of a function.
pub(super) fn details(function: &Function, routes: &RoutesAddress) -> String {
    let lines = |map: &std::collections::BTreeMap<String, String>| {
        let lines: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
        lines.join("\n")
    };
    let versions: Vec<_> = function.versions.iter().map(u64::to_string).collect();
    let text = pairs(&[
        ("state", state(function)),
        ("engine", function.engine.clone()),
        ("runtime", runs_on(function)),
        ("handler", function.handler.clone()),
        ("timeout", format!("{} s", function.timeout_s)),
        ("memory", format!("{} MB", function.memory_mb)),
        ("storage", format!("{} MB", function.ephemeral_storage_mb)),
        ("network", function.network.clone()),
        (
            "snap start",
            function.snap_start_state.clone().unwrap_or_default(),
        ),
        ("description", function.description.clone()),
        ("environment", lines(&function.environment)),
        ("tags", lines(&function.tags)),
        (
            "concurrency",
            function
                .reserved_concurrency
                .map_or(String::new(), |limit| format!("{limit}, reserved")),
        ),
        (
            "code",
            format!(
                "{} bytes, sha256 {}",
                function.code.size, function.code.sha256
            ),
        ),
        ("versions", versions.join(", ")),
        ("no effect", function.without_effect.join(", ")),
        ("created", function.created.clone()),
        ("modified", function.modified.clone()),
        ("routes", routes.routes(function).join("\n")),
        ("arn", function.arn.clone()),
    ]);
    format!("{}\n{text}", function.name)
}

/// What matters after a deploy; `variables` says what became of the environment.
pub(super) fn summary(function: &Function, routes: &RoutesAddress, variables: String) -> String {
    pairs(&[
        ("engine", function.engine.clone()),
        ("runtime", runs_on(function)),
        ("handler", function.handler.clone()),
        ("network", function.network.clone()),
        ("env", variables),
        ("routes", routes.routes(function).join("\n")),
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use warren_model::native::{CodeInfo, RunsOn};

    use super::*;

    pub(in crate::cli) fn example() -> Function {
        Function {
            name: "hello".to_owned(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:hello".to_owned(),
            state: State::Active,
            state_reason: None,
            last_update: Some(LastUpdate::Successful),
            last_update_reason: None,
            runtime: "python3.12".to_owned(),
            runs_on: Some(RunsOn {
                id: "python3.13".to_owned(),
                title: "Python 3.13".to_owned(),
                stands_in: true,
            }),
            handler: "app.handler".to_owned(),
            timeout_s: 3,
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            environment: BTreeMap::from([
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "2".to_owned()),
            ]),
            engine: "docker".to_owned(),
            network: "none".to_owned(),
            snap_start: false,
            snap_start_state: None,
            description: String::new(),
            tags: BTreeMap::new(),
            routes: vec!["GET /hello/{id}".to_owned(), "POST /hello".to_owned()],
            reserved_concurrency: None,
            code: CodeInfo {
                sha256: "ab12".to_owned(),
                size: 321,
            },
            versions: vec![1, 2],
            without_effect: vec!["VpcConfig".to_owned()],
            revision: "r".to_owned(),
            progress: None,
            created: "2026-11-24T10:00:00.000Z".to_owned(),
            modified: "2026-11-24T11:00:00.000Z".to_owned(),
        }
    }

    #[test]
    fn the_routes_are_on_the_server_s_host() {
        for (server, url) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7071"),
            ("http://box", "http://box:7071"),
            ("http://[::1]:7070", "http://[::1]:7071"),
            ("http://box:1/prefix", "http://box:7071"),
        ] {
            assert_eq!(with_port(server, 7071), url);
        }
    }

    #[test]
    fn details_for_people() {
        let routes = RoutesAddress(Some("http://127.0.0.1:7071".to_owned()));
        insta::assert_snapshot!(details(&example(), &routes));
    }

    #[test]
    fn summary_without_an_address_of_the_routes() {
        insta::assert_snapshot!(summary(&example(), &RoutesAddress(None), String::new()));
    }

    #[test]
    fn a_failed_update_says_what_runs() {
        let function = Function {
            last_update: Some(LastUpdate::Failed),
            last_update_reason: Some("no space".to_owned()),
            ..example()
        };
        assert_eq!(
            state(&function),
            "active, but the last update failed and the code before it runs: no space"
        );
    }
}
