use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};
use warren_model::{Account, LastUpdate, State, Version, VersionId};
use warren_registry::NoCode;

/// Which ARN a description carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArnForm {
    /// The function's.
    Unqualified,
    /// With the version's id, `$LATEST` included.
    Qualified,
}

/// Lambda's `FunctionConfiguration`, with every default that Lambda sends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionConfiguration<'v> {
    function_name: &'v str,
    function_arn: String,
    runtime: &'v str,
    role: &'v str,
    handler: &'v str,
    code_size: u64,
    description: &'v str,
    timeout: u32,
    memory_size: u32,
    last_modified: String,
    code_sha256: String,
    version: VersionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Value>,
    tracing_config: Value,
    revision_id: &'v str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<Cow<'v, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason_code: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<LastUpdate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason_code: Option<&'v str>,
    package_type: &'static str,
    architectures: [&'static str; 1],
    ephemeral_storage: Value,
    snap_start: Value,
    logging_config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<&'v Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_config: Option<&'v Value>,
    #[serde(rename = "KMSKeyArn", skip_serializing_if = "Option::is_none")]
    kms_key_arn: Option<&'v Value>,
}

/// This machine's processor, in Lambda's words: functions are native code of the host.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// Lambda says On for published versions alone.
fn snap_start(asked: bool, version: VersionId) -> Value {
    let on = asked && version != VersionId::Latest;
    json!({
        "ApplyOn": if asked { "PublishedVersions" } else { "None" },
        "OptimizationStatus": if on { "On" } else { "Off" },
    })
}

impl<'v> FunctionConfiguration<'v> {
    /// Describes a version.
    pub(super) fn of(version: &'v Version, account: &Account, form: ArnForm) -> Self {
        let config = &version.config;
        let name = &version.function;
        let inert = |member: &str| config.inert.get(member).filter(|value| !value.is_null());
        let state_reason = version.state_reason.as_ref();
        // The model has reasons for failures alone.
        let update_reason = version
            .last_update_reason
            .as_ref()
            .filter(|_| version.last_update == Some(LastUpdate::Failed));
        Self {
            function_name: name.as_str(),
            function_arn: match form {
                ArnForm::Unqualified => account.function_arn(name),
                ArnForm::Qualified => account.qualified_arn(name, &version.id.to_string()),
            },
            runtime: &config.runtime,
            role: &config.role,
            handler: &config.handler,
            code_size: version.code.size,
            description: &config.description,
            timeout: config.timeout.get(),
            memory_size: config.memory.get(),
            last_modified: version.modified.lambda(),
            code_sha256: STANDARD.encode(version.code.digest.as_bytes()),
            version: version.id,
            environment: (!config.environment.is_empty())
                .then(|| json!({ "Variables": config.environment.as_map() })),
            tracing_config: inert("TracingConfig")
                .cloned()
                .unwrap_or_else(|| json!({ "Mode": "PassThrough" })),
            revision_id: version.revision.as_str(),
            state: version.state,
            state_reason: state_reason.map(|reason| reason.message.as_str().into()),
            state_reason_code: state_reason.map(|reason| reason.code.as_str()),
            last_update_status: version.last_update,
            last_update_status_reason: update_reason.map(|reason| reason.message.as_str()),
            last_update_status_reason_code: update_reason.map(|reason| reason.code.as_str()),
            package_type: "Zip",
            architectures: [architecture()],
            ephemeral_storage: json!({ "Size": config.ephemeral_storage.get() }),
            snap_start: snap_start(config.snap_start, version.id),
            logging_config: logging(name.as_str(), inert("LoggingConfig")),
            vpc_config: inert("VpcConfig"),
            dead_letter_config: inert("DeadLetterConfig"),
            kms_key_arn: inert("KMSKeyArn"),
        }
    }

    /// As it can be called: not at all, if its code is missing.
    pub(super) fn without(self, code: Option<NoCode>) -> Self {
        match code {
            None => self,
            Some(missing) => Self {
                state: State::Failed,
                state_reason: Some(missing.to_string().into()),
                state_reason_code: Some("InternalError"),
                ..self
            },
        }
    }
}

/// What was set over Lambda's defaults.
fn logging(name: &str, set: Option<&Value>) -> Value {
    let mut config = json!({ "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}") });
    if set.is_some_and(|set| set["LogFormat"] == "JSON") {
        config["ApplicationLogLevel"] = json!("INFO");
        config["SystemLogLevel"] = json!("INFO");
    }
    for (member, value) in set.and_then(Value::as_object).into_iter().flatten() {
        config[member] = value.clone();
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::fixtures::version;

    #[test]
    fn every_default_is_there() {
        let mut version = version("f");
        version.config.environment = Default::default();
        insta::assert_json_snapshot!(FunctionConfiguration::of(
            &version,
            &Account::default(),
            ArnForm::Unqualified
        ));
    }

    #[test]
    fn what_was_set_is_echoed() {
        let mut version = version("f");
        version.id = VersionId::Number(3);
        version.config.inert = [
            (
                "LoggingConfig".to_owned(),
                json!({ "LogFormat": "JSON", "SystemLogLevel": "WARN" }),
            ),
            ("TracingConfig".to_owned(), json!({ "Mode": "Active" })),
            (
                "DeadLetterConfig".to_owned(),
                json!({ "TargetArn": "arn:aws:sqs:us-east-1:000000000000:q" }),
            ),
            ("KMSKeyArn".to_owned(), Value::Null),
        ]
        .into();
        insta::assert_json_snapshot!(FunctionConfiguration::of(
            &version,
            &Account::default(),
            ArnForm::Qualified
        ));
    }
}
