use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// What an owner says about a function. What is absent stays as it is, or takes its default in a new function; a new one needs `runtime`, `handler`
/// and `code`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionSpec {
    /// 1 to 64 letters, digits, `-` and `_`. Needed by `POST`; elsewhere the path says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "hello")]
    pub name: Option<String>,
    /// An id of `GET /runtimes`, or one that a runtime there stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "python3.13")]
    pub runtime: Option<String>,
    /// `file.function`, in the runtime's way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "app.handler")]
    pub handler: Option<String>,
    /// Longest invocation, in seconds: 1 to 900; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<i64>,
    /// Memory limit and processor share, in MiB: 128 to 10240; 128 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<i64>,
    /// Size of `/tmp`, in MiB: 512 to 10240; 512 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_mb: Option<i64>,
    /// All environment variables: those that are not here are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// The isolation that runs it: a name of `GET /engines`; `docker` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "docker")]
    pub engine: Option<String>,
    /// What it may reach: `none`, `internet` (the default where the machine can enforce it), or `allow:` with destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "none")]
    pub network: Option<String>,
    /// Whether its instances may be copies of one whose Init is over, where the engine can and it is faster (docs/snapshots.md); `false` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_start: Option<bool>,
    /// Free text of at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All free labels: those that are not here are removed. Labels that begin with `warren:` belong to the engine and the routes and stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// All HTTP routes: those that are not here are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["GET /items/{id}"]))]
    pub routes: Option<Vec<String>>,
    /// Concurrent invocations kept for it, which is also their limit; `null` removes the reservation.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[schema(value_type = Option<u32>)]
    pub reserved_concurrency: Option<Option<u32>>,
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeSpec>,
    /// Whether an engine is taken that can't be used at present: calls are refused with the reason (503) until it can. No part of the function.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Code, in one of three forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodeSpec {
    /// A zip, in base64.
    Zip(String),
    /// Files of text, by their paths.
    Files(BTreeMap<String, String>),
    /// One file of text, which takes its name from the handler: `app.handler` makes it `app.py`, `index.mjs` or `index.js`.
    Source(String),
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(source).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> FunctionSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_absent_is_told_from_null() {
        assert_eq!(read("{}"), FunctionSpec::default());
        assert_eq!(
            read(r#"{"reserved_concurrency":null}"#).reserved_concurrency,
            Some(None)
        );
        let reserved = read(r#"{"reserved_concurrency":5}"#);
        assert_eq!(reserved.reserved_concurrency, Some(Some(5)));
        assert_eq!(
            serde_json::to_string(&reserved).unwrap(),
            r#"{"reserved_concurrency":5}"#
        );
        let removed = read(r#"{"reserved_concurrency":null}"#);
        assert_eq!(
            serde_json::to_string(&removed).unwrap(),
            r#"{"reserved_concurrency":null}"#
        );
    }

    #[test]
    fn misspelt_members_are_refused() {
        let error = serde_json::from_str::<FunctionSpec>(r#"{"timeout":3}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `timeout`"),
            "{error}"
        );
    }

    #[test]
    fn code_has_three_forms() {
        for (json, code) in [
            (
                r#"{"code":{"zip":"UEs="}}"#,
                CodeSpec::Zip("UEs=".to_owned()),
            ),
            (
                r#"{"code":{"files":{"a.py":"x"}}}"#,
                CodeSpec::Files(BTreeMap::from([("a.py".to_owned(), "x".to_owned())])),
            ),
            (
                r#"{"code":{"source":"x"}}"#,
                CodeSpec::Source("x".to_owned()),
            ),
        ] {
            assert_eq!(read(json).code, Some(code), "{json}");
        }
    }
}
