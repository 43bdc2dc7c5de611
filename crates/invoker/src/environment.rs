//! What a runtime's process finds in its environment. Follows the Developer Guide, "Defined runtime environment variables".

use std::collections::BTreeMap;

use warren_model::{Account, Version};
use warren_protocol::RUNTIME_API_ADDRESS;
use warren_runtimes::Recipe;

/// The whole environment of one runtime process.
pub(crate) fn environment(
    version: &Version,
    recipe: &Recipe,
    account: &Account,
    log_stream: &str,
) -> BTreeMap<String, String> {
    let config = &version.config;
    let mut variables: BTreeMap<String, String> = [
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib".to_owned(),
        ),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    variables.extend(recipe.environment.clone());
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
        (
            "AWS_EXECUTION_ENV",
            format!("AWS_Lambda_{}", config.runtime),
        ),
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
