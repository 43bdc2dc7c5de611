use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Header of an invocation's answer: an [`InvokeOutcome`].
pub const OUTCOME_HEADER: &str = "warren-outcome";
/// Header of every answer: the request's id, which for an invocation is the one that the handler and the log have.
pub const REQUEST_ID_HEADER: &str = "warren-request-id";
/// Header of an invocation's answer: milliseconds from the request to its answer, waiting and cold start included.
pub const DURATION_HEADER: &str = "warren-duration-ms";
/// Header of an invocation's answer: the last 4 KiB of its log in base64, if they were asked for.
pub const LOG_TAIL_HEADER: &str = "warren-log-tail";

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvokeOutcome {
    /// The body is the handler's answer.
    Answer,
    /// The handler, or its initialisation, raised an error: the body is its error object.
    Error,
    /// Warren ended it, or its process ended: the body is an object with `errorType` and `errorMessage`.
    Failed,
}

impl InvokeOutcome {
    /// As in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Error => "error",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for InvokeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for InvokeOutcome {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Answer, Self::Error, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or(())
    }
}
