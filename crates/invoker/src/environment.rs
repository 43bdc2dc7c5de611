//! What a runtime's process finds in its environment. Follows the Developer Guide, "Defined runtime environment variables".

use std::collections::BTreeMap;

use warren_model::{Account, Version};
use warren_protocol::{RUNTIME_API_ADDRESS, STANDBY_VARIABLE};
use warren_runtimes::{Interface, Recipe};

use crate::claim::DIRECTORY;

/// What starts so acts at exec alone: on the C library, its loader and allocator, and the interpreters.
const AT_EXEC: [&str; 15] = [
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "LC_",
    "LANG",
    "TZ",
    "LOCPATH",
    "NLSPATH",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "OPENSSL_",
    "SSL_CERT_",
    "PYTHON",
    "NODE_",
    "UV_",
];

/// The environment of a runtime that is started before its function is known.
pub(crate) fn ahead(runtime: &str, recipe: &Recipe, account: &Account) -> BTreeMap<String, String> {
    let mut variables = of_functions(recipe);
    variables.extend(of_server(runtime, recipe, account));
    variables.insert(STANDBY_VARIABLE.to_owned(), "1".to_owned());
    variables
}

/// What tells a runtime that it is restored from a checkpoint of itself (Developer Guide, "Lambda SnapStart runtime hooks" and "environment variables").
const INITIALIZATION: (&str, &str) = ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
/// They differ from copy to copy, so those who can't be told anew have none, as on Lambda.
const OF_ONE_INSTANCE: [&str; 2] = ["AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"];
/// Node.js takes a handed-over stream from its channel to a parent process alone: the descriptor of a runtime's next call stream (docs/protocol.md).
const NODE_CHANNEL: (&str, &str) = ("NODE_CHANNEL_FD", "4");

/// The environment of a runtime of which a checkpoint is taken, made of the one that it would have without.
pub(crate) fn for_snapshot(variables: &mut BTreeMap<String, String>, recipe: &Recipe) {
    after_restore(variables);
    match recipe.interface {
        Interface::Stream if recipe.family == "nodejs" => {
            let (name, value) = NODE_CHANNEL;
            variables.insert(name.to_owned(), value.to_owned());
        }
        Interface::Stream => {}
        Interface::RuntimeApi => OF_ONE_INSTANCE.iter().for_each(|name| {
            variables.remove(*name);
        }),
    }
}

/// The environment of one that was restored.
pub(crate) fn after_restore(variables: &mut BTreeMap<String, String>) {
    let (name, value) = INITIALIZATION;
    variables.insert(name.to_owned(), value.to_owned());
}

/// Whether a variable of the owner's acts only on a process that is started with it.
pub(crate) fn acts_at_exec(version: &Version) -> bool {
    let names = version.config.environment.iter().map(|(name, _)| name);
    names
        .into_iter()
        .any(|name| AT_EXEC.iter().any(|start| name.starts_with(start)))
}

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
    let mut variables = of_functions(recipe);
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
        ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", version.id.to_string()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            config.memory.get().to_string(),
        ),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned()),
    ];
    variables.extend(own.map(|(key, value)| (key.to_owned(), value)));
    variables.extend(of_server(&config.runtime, recipe, account));
    variables
}

/// What owners can override.
fn of_functions(recipe: &Recipe) -> BTreeMap<String, String> {
    let mut variables = base(recipe);
    let folders = [
        ("LAMBDA_TASK_ROOT", DIRECTORY),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ];
    for (key, folder) in folders {
        // A recipe may say otherwise.
        variables
            .entry(key.to_owned())
            .or_insert_with(|| folder.to_owned());
    }
    variables
}

/// Lambda's own that are the same for all functions of one runtime.
fn of_server(runtime: &str, recipe: &Recipe, account: &Account) -> BTreeMap<String, String> {
    let own = [
        ("AWS_REGION", account.region.clone()),
        ("AWS_DEFAULT_REGION", account.region.clone()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS.to_owned()),
        // No role is mapped to credentials: SDKs fail at once instead of asking a metadata address.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let mut variables: BTreeMap<String, String> =
        own.map(|(key, value)| (key.to_owned(), value)).into();
    // Not defined for OS-only runtimes.
    if recipe.family != "provided" {
        let id = format!("AWS_Lambda_{runtime}");
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
                snap_start: false,
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

    #[test]
    fn a_runtime_started_ahead_has_what_all_functions_have_and_nothing_else() {
        let recipe = Catalogue::built_in()
            .unwrap()
            .resolve("python3.12")
            .unwrap()
            .recipe;
        let early = ahead("python3.12", &recipe, &Account::default());
        let whole = of("python3.12");
        for (name, value) in &early {
            if !["LANG", STANDBY_VARIABLE].contains(&name.as_str()) {
                assert_eq!(whole.get(name), Some(value), "{name}");
            }
        }
        assert!(early.contains_key(STANDBY_VARIABLE) && !whole.contains_key(STANDBY_VARIABLE));
        assert!(
            early
                .keys()
                .all(|name| !name.contains("FUNCTION") && name != "_HANDLER")
        );
    }

    #[test]
    fn variables_that_act_at_exec_are_known() {
        let with = |name: &str| {
            let mut version = version("python3.13");
            let set = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            version.config.environment = warren_model::Environment::new(set).unwrap();
            acts_at_exec(&version)
        };
        for name in [
            "LD_PRELOAD",
            "PYTHONPATH",
            "NODE_OPTIONS",
            "TZ",
            "LC_ALL",
            "MALLOC_ARENA_MAX",
        ] {
            assert!(with(name), "{name}");
        }
        for name in ["TABLE", "LEVEL", "NODE", "PATH", "AWS_PROFILE", "MY_LANG"] {
            assert!(!with(name), "{name}");
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
