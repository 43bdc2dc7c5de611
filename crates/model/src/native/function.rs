use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a function can be invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FunctionState)]
pub enum State {
    /// It is being prepared.
    Pending,
    /// It can be invoked.
    Active,
    /// It could not be prepared; `state_reason` says why.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Failed => "failed",
        })
    }
}

/// How the last update went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LastUpdate {
    /// Being prepared; calls go to what was prepared before.
    InProgress,
    /// In force.
    Successful,
    /// Not in force; `last_update_reason` says why, and calls go to what was prepared before.
    Failed,
}

/// The recipe that serves a function's runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunsOn {
    /// Its id.
    #[schema(example = "python3.13")]
    pub id: String,
    /// For people.
    #[schema(example = "Python 3.13")]
    pub title: String,
    /// Whether it stands in for the runtime that was asked for, which has no recipe of its own here.
    pub stands_in: bool,
}

/// The code of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CodeInfo {
    /// SHA-256 of the zip, in hexadecimal digits.
    pub sha256: String,
    /// Of the zip, in bytes.
    pub size: u64,
}

/// A function as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// As AWS clients name it.
    pub arn: String,
    /// Whether it can be invoked.
    pub state: State,
    /// Why it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// How the last update went; absent before the first preparation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<LastUpdate>,
    /// Why the last update is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_reason: Option<String>,
    /// The runtime that was asked for.
    pub runtime: String,
    /// What serves it; absent if no recipe here does any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<RunsOn>,
    /// `file.function`, in the runtime's way.
    pub handler: String,
    /// Longest invocation, in seconds.
    pub timeout_s: u32,
    /// Memory limit, in MiB.
    pub memory_mb: u32,
    /// Size of `/tmp`, in MiB.
    pub ephemeral_storage_mb: u32,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// The isolation that runs it.
    pub engine: String,
    /// What it may reach.
    pub network: String,
    /// Whether its instances may be copies of one whose Init is over.
    #[serde(default)]
    pub snap_start: bool,
    /// What has come of that so far, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_start_state: Option<String>,
    /// Free text.
    pub description: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// HTTP routes, such as `GET /items/{id}`.
    pub routes: Vec<String>,
    /// Concurrent invocations kept for it, which is also their limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_concurrency: Option<u32>,
    /// Its code.
    pub code: CodeInfo,
    /// Published versions.
    pub versions: Vec<u64>,
    /// Settings that were given through the Lambda API and have no effect here, by Lambda's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_effect: Vec<String>,
    /// Changes with every update of code or configuration.
    pub revision: String,
    /// What its preparation is at, while a language tree is being built for it: `[2/4] python3.13: ...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// When it was created.
    pub created: String,
    /// When its code or configuration was last changed.
    pub modified: String,
}

impl Function {
    /// Whether it, or its last update, is still being prepared.
    pub fn in_preparation(&self) -> bool {
        self.state == State::Pending || self.last_update == Some(LastUpdate::InProgress)
    }
}

/// Functions, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionPage {
    /// At most `limit`.
    pub functions: Vec<Function>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What a change made of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// As it is now; `pending` or `in_progress` while it is being prepared.
    pub function: Function,
    /// Whether it is new.
    pub created: bool,
    /// The members that are not as before, by their names in `FunctionSpec`; empty if nothing had to be done, or if the function is new.
    pub changed: Vec<String>,
    /// What it names and does not reach as things are, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
