use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use warren_model::{RequestId, Timestamp};

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Warren: START, END, REPORT and their like.
    Platform,
    /// The function's standard output.
    Stdout,
    /// The function's standard error.
    Stderr,
}

impl Source {
    /// `platform`, `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Microseconds since 1970-01-01 UTC, by the host's clock where the sandbox's is not to be trusted.
    pub time_us: u64,
    /// Who wrote it.
    pub source: Source,
    /// The invocation that it belongs to, if any.
    pub request: Option<RequestId>,
    /// The log stream, one per instance, such as `2026/11/24/[$LATEST]0123456789abcdef`. Shared by the lines of an instance.
    pub log_stream: Option<Arc<str>>,
    /// The text without its line feed; any bytes. What is over [`MAX_LINE`](crate::MAX_LINE) is not kept.
    pub text: Bytes,
}

impl LogLine {
    /// A line of Warren's own.
    pub fn platform(
        time: SystemTime,
        request: Option<RequestId>,
        log_stream: Option<Arc<str>>,
        text: String,
    ) -> Self {
        Self {
            time_us: micros(time),
            source: Source::Platform,
            request,
            log_stream,
            text: Bytes::from(text),
        }
    }

    /// The text for people: what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The moment, to the millisecond.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.time_us / 1_000).unwrap_or(i64::MAX))
    }

    /// What it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        self.text.len() + 160
    }
}

/// Microseconds since the epoch; 0 before it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}
