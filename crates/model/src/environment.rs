use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, limits::MAX_ENVIRONMENT};

/// The variables that a function's owner sets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Environment(BTreeMap<String, String>);

/// Keys that Lambda sets itself and refuses from owners (Developer Guide, "Defined runtime environment variables"); `TZ`, `PATH`, `LANG`, library
/// and module paths may be overridden and so are not here.
const RESERVED: [&str; 17] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
];

impl Environment {
    /// Checks names (`[a-zA-Z]([a-zA-Z0-9_])+`, none that is reserved), values (no NUL) and the total size.
    pub fn new(variables: BTreeMap<String, String>) -> Result<Self, Invalid> {
        for (key, value) in &variables {
            let mut characters = key.chars();
            let well_formed = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
                && key.len() >= 2
                && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if RESERVED.contains(&key.as_str()) || key == "LAMBDA_TASK_ROOT" {
                return Err(Invalid::parameter(
                    "environment.variables",
                    format!(
                        "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {key}"
                    ),
                ));
            }
            if !well_formed {
                return Err(Invalid::constraint(
                    "environment.variables",
                    key,
                    "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
                ));
            }
            let what = format!("The value of the environment variable {key}");
            Invalid::check_no_nul("environment.variables", &what, value)?;
        }
        let size: usize = variables
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if size > MAX_ENVIRONMENT {
            return Err(Invalid::parameter(
                "environment.variables",
                format!(
                    "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. The size is {size} bytes, the limit {MAX_ENVIRONMENT}."
                ),
            ));
        }
        Ok(Self(variables))
    }

    /// In order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether no variable is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a map.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for Environment {
    type Error = Invalid;
    fn try_from(variables: BTreeMap<String, String>) -> Result<Self, Invalid> {
        Self::new(variables)
    }
}

impl From<Environment> for BTreeMap<String, String> {
    fn from(environment: Environment) -> Self {
        environment.0
    }
}
