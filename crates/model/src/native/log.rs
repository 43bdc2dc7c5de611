use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// Warren: START, END, REPORT and their like.
    Platform,
    /// The function's standard output.
    Stdout,
    /// The function's standard error.
    Stderr,
}

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was written.
    pub time: String,
    /// The same in microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// Who wrote it.
    pub source: LogSource,
    /// The invocation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// One per instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_stream: Option<String>,
    /// Without its line feed; what is no UTF-8 is replaced.
    pub text: String,
}

/// Lines, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLines {
    /// At most `limit`: the latest ones.
    pub lines: Vec<LogLine>,
}

/// One line of the stream that follows a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LogEvent {
    /// A line of the log.
    Line(LogLine),
    /// The follower was too slow.
    Missed {
        /// This many lines are missing here.
        missed: u64,
    },
}
