//! Settings that are kept and echoed without effect: their checks, and their form in answers.

use serde_json::{Map, Value, json};
use warren_model::InertSettings;

use super::error::LambdaError;

/// Checks what came in one request; a value that takes a setting away (`TargetArn: ""`) becomes null.
pub(super) fn normalize(settings: InertSettings) -> Result<InertSettings, LambdaError> {
    settings
        .into_iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "VpcConfig" => vpc(&value)?,
                "DeadLetterConfig" => dead_letter(&value)?,
                "TracingConfig" => tracing(&value)?,
                "LoggingConfig" => logging(&value)?,
                _ => text("kmsKeyArn", &value)?.map_or(Value::Null, Value::from),
            };
            Ok((name, value))
        })
        .collect()
}

/// Whether one of these settings has no effect although its owner may expect one: what `warren get` points out.
pub fn has_no_effect(name: &str, value: &Value) -> bool {
    match name {
        "TracingConfig" => value["Mode"] == "Active",
        "LoggingConfig" => value["LogFormat"] == "JSON" || !value["LogGroup"].is_null(),
        _ => !value.is_null(),
    }
}

/// An empty string is as good as none.
fn text(field: &str, value: &Value) -> Result<Option<String>, LambdaError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.len() <= 10_000 => Ok(Some(text.clone())),
        _ => Err(invalid(
            field,
            value,
            "Member must be a string of at most 10000 characters",
        )),
    }
}

fn invalid(field: &str, value: &Value, constraint: &str) -> LambdaError {
    let shown: String = value.to_string().chars().take(128).collect();
    LambdaError::new(
        super::error::Code::ValidationException,
        format!(
            "1 validation error detected: Value '{shown}' at '{field}' failed to satisfy constraint: {constraint}"
        ),
    )
}

/// The members of an object, none of which may be unknown.
fn known<'v>(
    field: &str,
    value: &'v Value,
    names: &[&str],
) -> Result<&'v Map<String, Value>, LambdaError> {
    let Some(members) = value.as_object() else {
        return Err(invalid(field, value, "Member must be an object"));
    };
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(members),
        Some(unknown) => Err(LambdaError::parameter(format!(
            "{field}.{unknown} is not a member that Warren knows. Leave it out."
        ))),
    }
}

fn choice(field: &str, value: Option<&Value>, allowed: &[&str]) -> Result<(), LambdaError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(()),
        Some(other) => Err(invalid(
            field,
            other,
            &format!(
                "Member must satisfy enum value set: [{}]",
                allowed.join(", ")
            ),
        )),
    }
}

fn strings(field: &str, value: Option<&Value>, most: usize) -> Result<Value, LambdaError> {
    match value {
        None | Some(Value::Null) => Ok(json!([])),
        Some(Value::Array(items)) if items.len() <= most && items.iter().all(Value::is_string) => {
            Ok(json!(items))
        }
        Some(other) => Err(invalid(
            field,
            other,
            &format!("Member must be a list of at most {most} strings"),
        )),
    }
}

/// In the form of the answer, which also has a `VpcId`. Without subnets and groups the function is in no VPC.
fn vpc(value: &Value) -> Result<Value, LambdaError> {
    let members = known(
        "vpcConfig",
        value,
        &["SubnetIds", "SecurityGroupIds", "Ipv6AllowedForDualStack"],
    )?;
    let subnets = strings("vpcConfig.subnetIds", members.get("SubnetIds"), 16)?;
    let groups = strings(
        "vpcConfig.securityGroupIds",
        members.get("SecurityGroupIds"),
        5,
    )?;
    if subnets == json!([]) && groups == json!([]) {
        return Ok(Value::Null);
    }
    let dual = match members.get("Ipv6AllowedForDualStack") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(other) => {
            return Err(invalid(
                "vpcConfig.ipv6AllowedForDualStack",
                other,
                "Member must be a boolean",
            ));
        }
    };
    Ok(
        json!({"SubnetIds": subnets, "SecurityGroupIds": groups, "VpcId": "", "Ipv6AllowedForDualStack": dual}),
    )
}

fn dead_letter(value: &Value) -> Result<Value, LambdaError> {
    let members = known("deadLetterConfig", value, &["TargetArn"])?;
    let target = members.get("TargetArn").unwrap_or(&Value::Null);
    match text("deadLetterConfig.targetArn", target)? {
        None => Ok(Value::Null),
        Some(arn) if arn.starts_with("arn:") => Ok(json!({ "TargetArn": arn })),
        Some(_) => Err(invalid(
            "deadLetterConfig.targetArn",
            target,
            "Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
        )),
    }
}

fn tracing(value: &Value) -> Result<Value, LambdaError> {
    let members = known("tracingConfig", value, &["Mode"])?;
    choice(
        "tracingConfig.mode",
        members.get("Mode"),
        &["Active", "PassThrough"],
    )?;
    Ok(members
        .get("Mode")
        .filter(|mode| !mode.is_null())
        .map_or(Value::Null, |mode| json!({ "Mode": mode })))
}

fn logging(value: &Value) -> Result<Value, LambdaError> {
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let members = known(
        "loggingConfig",
        value,
        &[
            "LogFormat",
            "ApplicationLogLevel",
            "SystemLogLevel",
            "LogGroup",
        ],
    )?;
    choice(
        "loggingConfig.logFormat",
        members.get("LogFormat"),
        &["JSON", "Text"],
    )?;
    choice(
        "loggingConfig.applicationLogLevel",
        members.get("ApplicationLogLevel"),
        &levels,
    )?;
    choice(
        "loggingConfig.systemLogLevel",
        members.get("SystemLogLevel"),
        &["DEBUG", "INFO", "WARN"],
    )?;
    let json_format = members
        .get("LogFormat")
        .is_some_and(|format| format == "JSON");
    if !json_format
        && ["ApplicationLogLevel", "SystemLogLevel"]
            .iter()
            .any(|name| members.get(*name).is_some_and(|level| !level.is_null()))
    {
        return Err(LambdaError::parameter(
            "LoggingConfig.ApplicationLogLevel and SystemLogLevel can be set for LogFormat JSON only. Leave them out, or set LogFormat to JSON.",
        ));
    }
    if let Some(group) = members.get("LogGroup").filter(|group| !group.is_null()) {
        let well_formed = group.as_str().is_some_and(|name| {
            (1..=512).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b))
        });
        if !well_formed {
            return Err(invalid(
                "loggingConfig.logGroup",
                group,
                "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
            ));
        }
    }
    let set: Map<String, Value> = members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(match set.is_empty() {
        true => Value::Null,
        false => Value::Object(set),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(name: &str, value: Value) -> Result<Value, String> {
        normalize([(name.to_owned(), value)].into())
            .map(|mut settings| settings.remove(name).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn neutral_values_take_a_setting_away() {
        for (name, value) in [
            (
                "VpcConfig",
                json!({"SubnetIds": [], "SecurityGroupIds": []}),
            ),
            ("DeadLetterConfig", json!({"TargetArn": ""})),
            ("KMSKeyArn", json!("")),
            ("TracingConfig", json!({})),
            ("LoggingConfig", json!({})),
        ] {
            assert_eq!(normalized(name, value), Ok(Value::Null), "{name}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (name, value, words) in [
            (
                "VpcConfig",
                json!({"SubnetIds": "s"}),
                "vpcConfig.subnetIds",
            ),
            ("VpcConfig", json!({"Other": 1}), "vpcConfig.Other"),
            (
                "DeadLetterConfig",
                json!({"TargetArn": "queue"}),
                "deadLetterConfig.targetArn",
            ),
            (
                "TracingConfig",
                json!({"Mode": "On"}),
                "enum value set: [Active, PassThrough]",
            ),
            (
                "LoggingConfig",
                json!({"LogFormat": "XML"}),
                "enum value set: [JSON, Text]",
            ),
            (
                "LoggingConfig",
                json!({"SystemLogLevel": "WARN"}),
                "LogFormat JSON only",
            ),
            (
                "LoggingConfig",
                json!({"LogGroup": "a b"}),
                "loggingConfig.logGroup",
            ),
            ("KMSKeyArn", json!(1), "kmsKeyArn"),
        ] {
            let error = normalized(name, value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_vpc_is_echoed_in_the_answer_s_form() {
        assert_eq!(
            normalized("VpcConfig", json!({"SubnetIds": ["s"]})),
            Ok(
                json!({"SubnetIds": ["s"], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": false})
            )
        );
    }
}
