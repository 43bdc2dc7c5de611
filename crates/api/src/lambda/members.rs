//! The members of a request's JSON body: every one is served, or kept and shown as without effect, or refused by its name. None is dropped.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use warren_model::InertSettings;

use super::error::{Code, LambdaError};

/// What becomes of a member that no handler serves.
enum Treatment {
    /// Kept and echoed; works later.
    Inert,
    /// Not possible here; says what to do instead.
    Refused(&'static str),
}

use Treatment::{Inert, Refused};

/// Members that are not served yet. What is neither here nor served is refused as unknown.
const UNSERVED: &[(&str, Treatment)] = &[
    ("VpcConfig", Inert),
    ("DeadLetterConfig", Inert),
    ("KMSKeyArn", Inert),
    ("TracingConfig", Inert),
    ("LoggingConfig", Inert),
    (
        "S3Bucket",
        Refused(
            "No S3 endpoint is configured in this Warren. Send the code itself as ZipFile (aws CLI: --zip-file fileb://code.zip).",
        ),
    ),
    (
        "S3Key",
        Refused("No S3 endpoint is configured in this Warren. Send the code itself as ZipFile."),
    ),
    (
        "S3ObjectVersion",
        Refused("No S3 endpoint is configured in this Warren. Send the code itself as ZipFile."),
    ),
    (
        "S3ObjectStorageMode",
        Refused("No S3 endpoint is configured in this Warren. Send the code itself as ZipFile."),
    ),
    (
        "ImageUri",
        Refused(
            "Container images are not supported as functions yet. Send a zip as ZipFile, with PackageType Zip.",
        ),
    ),
    (
        "ImageConfig",
        Refused("It belongs to container images, which are not supported yet. Leave it out."),
    ),
    (
        "SourceKMSKeyArn",
        Refused("Code is kept as it is sent; there is no KMS here. Leave it out."),
    ),
    (
        "Layers",
        Refused("Layers are not supported yet. Put their files into the function's zip."),
    ),
    (
        "FileSystemConfigs",
        Refused("File systems can't be attached yet. Leave it out, or give an empty list."),
    ),
    (
        "CodeSigningConfigArn",
        Refused("Code signing is not supported. Leave it out."),
    ),
    (
        "TenancyConfig",
        Refused("Isolation by tenant is not supported yet. Leave it out."),
    ),
    (
        "CapacityProviderConfig",
        Refused("Capacity providers are not supported. Leave it out."),
    ),
    (
        "DurableConfig",
        Refused("Durable executions are not supported yet. Leave it out."),
    ),
    (
        "RuntimeConfig",
        Refused("Customer-managed runtimes are not supported yet. Leave it out and set Runtime."),
    ),
    (
        "AcceleratorConfig",
        Refused("Accelerators are not supported. Leave it out."),
    ),
    (
        "PublishTo",
        Refused("Publishing to $LATEST.PUBLISHED is not supported. Leave it out and set Publish."),
    ),
];

/// A JSON object whose members are taken one by one; [`Members::finish`] accounts for those that are left.
#[derive(Debug)]
pub(super) struct Members {
    members: Map<String, Value>,
    /// Name of the enclosing member with a dot, for messages: `Code.`.
    prefix: &'static str,
}

fn wrong_type(field: &str, found: &Value, expected: &str) -> LambdaError {
    let kind = match found {
        Value::Null => "NULL",
        Value::Bool(_) => "TRUE_VALUE or FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    LambdaError::new(
        Code::SerializationException,
        format!("{kind} at '{field}' can not be converted to {expected}"),
    )
}

/// Lambda's spelling of a member in messages: `MemorySize` is `memorySize`.
pub(super) fn camel(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl Members {
    /// Reads a body; an empty one is an empty object.
    pub(super) fn read(body: &[u8]) -> Result<Self, LambdaError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::of(Map::new(), ""));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::of(members, "")),
            Ok(_) => Err(LambdaError::new(
                Code::SerializationException,
                "The request body must be a JSON object.",
            )),
            Err(error) => Err(LambdaError::new(
                Code::InvalidRequestContentException,
                format!("Could not parse request body into json: {error}"),
            )),
        }
    }

    fn of(members: Map<String, Value>, prefix: &'static str) -> Self {
        Self { members, prefix }
    }

    fn field(&self, member: &str) -> String {
        format!("{}{}", camel(self.prefix), camel(member))
    }

    /// Takes a member; null is as good as absent.
    pub(super) fn take(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, member: &str) -> Result<Option<String>, LambdaError> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.field(member), &other, "String")),
        }
    }

    pub(super) fn required_string(&mut self, member: &str) -> Result<String, LambdaError> {
        self.string(member)?
            .ok_or_else(|| LambdaError::missing(&self.field(member)))
    }

    pub(super) fn boolean(&mut self, member: &str) -> Result<Option<bool>, LambdaError> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(&self.field(member), &other, "Boolean")),
        }
    }

    pub(super) fn integer(&mut self, member: &str) -> Result<Option<i64>, LambdaError> {
        match self.take(member) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong_type(&self.field(member), &value, "Integer")),
            },
        }
    }

    pub(super) fn object(
        &mut self,
        member: &str,
        prefix: &'static str,
    ) -> Result<Option<Self>, LambdaError> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self::of(members, prefix))),
            Some(other) => Err(wrong_type(&self.field(member), &other, "Object")),
        }
    }

    pub(super) fn strings(
        &mut self,
        member: &str,
    ) -> Result<Option<BTreeMap<String, String>>, LambdaError> {
        let Some(inner) = self.object(member, "")? else {
            return Ok(None);
        };
        let field = self.field(member);
        inner
            .members
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                other => Err(wrong_type(&format!("{field}.{key}"), &other, "String")),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(super) fn list(&mut self, member: &str) -> Result<Option<Vec<Value>>, LambdaError> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(wrong_type(&self.field(member), &other, "List")),
        }
    }

    /// Accounts for the members that were not taken: gives those that are kept, refuses the others.
    pub(super) fn finish(self) -> Result<InertSettings, LambdaError> {
        let mut inert = InertSettings::new();
        for (member, value) in self.members {
            let treatment = UNSERVED.iter().find(|(name, _)| *name == member);
            match treatment {
                _ if value.is_null() => {}
                Some((_, Inert)) => {
                    inert.insert(member, value);
                }
                Some(_) if is_neutral(&value) => {}
                Some((_, Refused(next))) => {
                    return Err(LambdaError::parameter(format!(
                        "{}{member} is not supported. {next}",
                        self.prefix
                    )));
                }
                None => {
                    return Err(LambdaError::parameter(format!(
                        "{}{member} is not a member that Warren knows. Leave it out.",
                        self.prefix
                    )));
                }
            }
        }
        Ok(inert)
    }

    /// Like [`Members::finish`], where nothing can be kept.
    pub(super) fn finish_plain(self) -> Result<(), LambdaError> {
        let prefix = self.prefix;
        match self.finish()?.into_keys().next() {
            None => Ok(()),
            Some(member) => Err(LambdaError::parameter(format!(
                "{prefix}{member} does not belong in this request. Leave it out."
            ))),
        }
    }
}

/// A value that asks for nothing: empty or false.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.values().all(is_neutral),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Members {
        Members::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn bodies_that_are_no_object() {
        for (body, code) in [
            ("{", Code::InvalidRequestContentException),
            ("[]", Code::SerializationException),
            ("\"x\"", Code::SerializationException),
        ] {
            assert_eq!(
                Members::read(body.as_bytes()).unwrap_err().code,
                code,
                "{body}"
            );
        }
        assert!(Members::read(b" ").unwrap().finish().unwrap().is_empty());
    }

    #[test]
    fn types_are_checked_by_name() {
        let error = members(json!({"MemorySize": "1"}))
            .integer("MemorySize")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "SerializationException: STRING_VALUE at 'memorySize' can not be converted to Integer"
        );
        assert!(members(json!({"A": 1.5})).integer("A").is_err());
        assert!(members(json!({"A": 1})).string("A").is_err());
        assert!(members(json!({"A": "true"})).boolean("A").is_err());
        assert!(members(json!({"A": {"k": 1}})).strings("A").is_err());
        assert_eq!(members(json!({"A": null})).string("A"), Ok(None));
    }

    #[test]
    fn what_is_left_is_kept_or_refused_by_name() {
        let kept = members(json!({"VpcConfig": {"SubnetIds": ["s"]}, "Layers": [], "X": null}));
        assert_eq!(
            kept.finish().unwrap().into_keys().collect::<Vec<_>>(),
            ["VpcConfig"]
        );
        for (value, name) in [
            (json!({"Layers": ["arn"]}), "Layers"),
            (json!({"S3Bucket": "b"}), "S3Bucket"),
            (json!({"Nonsense": 0}), "Nonsense"),
        ] {
            let error = members(value).finish().unwrap_err();
            assert_eq!(error.code, Code::InvalidParameterValueException);
            assert!(error.message.starts_with(name), "{error}");
        }
        assert!(members(json!({"VpcConfig": {}})).finish_plain().is_err());
    }

    /// Every member of botocore's model is named in UNSERVED or taken by a handler.
    #[test]
    fn no_member_of_the_model_is_unknown() {
        #[derive(serde::Deserialize)]
        struct Model {
            members: BTreeMap<String, Vec<String>>,
        }
        let served = [
            "FunctionName",
            "Runtime",
            "Role",
            "Handler",
            "Code",
            "Description",
            "Timeout",
            "MemorySize",
            "Publish",
            "PackageType",
            "Environment",
            "Tags",
            "Architectures",
            "EphemeralStorage",
            "SnapStart",
            "ZipFile",
            "DryRun",
            "RevisionId",
            "CodeSha256",
            "ReservedConcurrentExecutions",
        ];
        let model: Model =
            serde_json::from_str(include_str!("../../fixtures/lambda.json")).unwrap();
        for member in model.members.values().flatten() {
            let unserved = UNSERVED.iter().any(|(name, _)| name == member);
            assert!(unserved != served.contains(&member.as_str()), "{member}");
        }
    }
}
