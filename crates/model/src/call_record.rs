//! What is kept of a call: one record each, made of the host's clock and figures. Every reader (REPORT lines, metrics, the native API) reads this.

use std::sync::Arc;

use crate::{EngineName, FailureKind, FunctionName, InstanceId, RequestId, RevisionId};

/// What many calls have in common: which instance of which version served them, on which server. Shared by their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSource {
    /// The function.
    pub function: FunctionName,
    /// Its version, as in logs: `$LATEST` or a number.
    pub version: String,
    /// The state of code and configuration.
    pub revision: RevisionId,
    /// The isolation.
    pub engine: EngineName,
    /// The instance; none for calls that were refused.
    pub instance: Option<InstanceId>,
    /// The server's node.
    pub node: String,
    /// Which start of the server.
    pub boot: u64,
}

/// What a call waited for at its instance, besides for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// For nothing: the instance was there, and warm.
    #[default]
    None,
    /// A sandbox was started for it.
    Start,
    /// An instance was restored from a checkpoint.
    Restore,
    /// A sandbox that had been started ahead was given the function.
    Claim,
    /// A frozen instance was thawed.
    Thaw,
}

impl Wait {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Start,
        Self::Restore,
        Self::Claim,
        Self::Thaw,
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Start => "start",
            Self::Restore => "restore",
            Self::Claim => "claim",
            Self::Thaw => "thaw",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wait| wait.as_str() == name)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// By the handler's answer.
    Answer,
    /// By an error that the handler or Init raised.
    Error,
    /// By its deadline.
    TimedOut,
    /// With its process.
    Exited,
    /// With its process, which was killed for memory.
    OutOfMemory,
    /// By an answer that could not be passed on.
    Broken,
    /// Warren could not run it to its end.
    Platform,
    /// Refused: the function's reserved concurrency was used up.
    FunctionConcurrency,
    /// Refused: the account's unreserved concurrency was used up.
    AccountConcurrency,
    /// Refused: the host had no room in time.
    HostBusy,
    /// Refused: no instance could be started.
    NoInstance,
    /// Refused: the server was stopping.
    Stopping,
    /// Refused: the function was changed or deleted before the call ran.
    Changed,
}

impl CallEnd {
    const ALL: [Self; 13] = [
        Self::Answer,
        Self::Error,
        Self::TimedOut,
        Self::Exited,
        Self::OutOfMemory,
        Self::Broken,
        Self::Platform,
        Self::FunctionConcurrency,
        Self::AccountConcurrency,
        Self::HostBusy,
        Self::NoInstance,
        Self::Stopping,
        Self::Changed,
    ];
    /// The four outcomes, in the order from good to bad.
    pub const OUTCOMES: [&str; 4] = ["answer", "error", "failed", "refused"];

    /// As it is stored and shown: the outcome, and the reason of a failure or refusal.
    pub fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Answer => ("answer", None),
            Self::Error => ("error", None),
            Self::TimedOut => ("failed", Some("timeout")),
            Self::Exited => ("failed", Some("exit")),
            Self::OutOfMemory => ("failed", Some("memory")),
            Self::Broken => ("failed", Some("broken")),
            Self::Platform => ("failed", Some("platform")),
            Self::FunctionConcurrency => ("refused", Some("function_concurrency")),
            Self::AccountConcurrency => ("refused", Some("account_concurrency")),
            Self::HostBusy => ("refused", Some("host_busy")),
            Self::NoInstance => ("refused", Some("no_instance")),
            Self::Stopping => ("refused", Some("stopping")),
            Self::Changed => ("refused", Some("changed")),
        }
    }

    /// The one of these [`words`](Self::words).
    pub fn of_words(outcome: &str, reason: Option<&str>) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|end| end.words() == (outcome, reason))
    }
}

impl From<FailureKind> for CallEnd {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::Exited => Self::Exited,
            FailureKind::Broken => Self::Broken,
            FailureKind::Raised => Self::Error,
            FailureKind::Platform => Self::Platform,
        }
    }
}

/// Processor time of a call, from its sandbox's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallCpu {
    /// What the sandbox used since the look before, in microseconds; since its start, if there was none.
    pub us: u64,
    /// How many calls it used it for: this one, and the short ones before it that were not looked at on their own.
    pub calls: u32,
}

/// One call. Times are in microseconds and follow each other: `queued`, `wait`, `init`, `init_again`, `handler` make the time from the call's acceptance to its
/// answer, `closing` comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Whose call it was, and who served it.
    pub source: Arc<CallSource>,
    /// Its id, as handler, log and caller see it.
    pub request: RequestId,
    /// When it was accepted, since 1970-01-01 UTC.
    pub arrived_us: u64,
    /// How many instances it was given to: more than one, where an instance died before the call reached its runtime.
    pub attempts: u32,
    /// Until an instance took it, without the next two.
    pub queued_us: u64,
    /// What it waited for at its instance.
    pub wait: Wait,
    /// How long it waited for that.
    pub wait_us: u64,
    /// How long it waited for its instance's Init.
    pub init_us: u64,
    /// An Init that ran again inside the call, under its timeout.
    pub init_again_us: Option<u64>,
    /// The whole Init of its instance, also where that began before the call came. Of an instance's first call only.
    pub instance_init_us: Option<u64>,
    /// From the event's hand-over to the answer, or to the end of the wait for it. None if the event was not handed over.
    pub handler_us: Option<u64>,
    /// From the answer until the instance was free again: late output, closing log lines, figures.
    pub closing_us: u64,
    /// Bytes of the event.
    pub bytes_in: u64,
    /// Bytes of the answer, or of the error that the function raised.
    pub bytes_out: u64,
    /// Processor time. None if it was not looked at, or could not be.
    pub cpu: Option<CallCpu>,
    /// Most memory that the instance has used up to the call's end, in bytes, without pages of files. None if it could not be looked at.
    pub peak_bytes: Option<u64>,
    /// How it ended.
    pub end: CallEnd,
    /// Lambda's `errorType` of an error or failure.
    pub error_type: Option<String>,
    /// The X-Ray header, if the caller sent one.
    pub trace: Option<String>,
}

impl CallRecord {
    /// From its acceptance to its answer, in microseconds.
    pub fn answered_us(&self) -> u64 {
        self.queued_us + self.wait_us + self.init_us + self.duration_us()
    }

    /// Lambda's duration, in microseconds: in the runtime, an Init that ran again inside included.
    pub fn duration_us(&self) -> u64 {
        self.init_again_us.unwrap_or(0) + self.handler_us.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for end in CallEnd::ALL {
            let (outcome, reason) = end.words();
            assert!(CallEnd::OUTCOMES.contains(&outcome), "{outcome}");
            assert_eq!(CallEnd::of_words(outcome, reason), Some(end));
        }
        assert_eq!(CallEnd::of_words("failed", None), None);
        for wait in Wait::ALL {
            assert_eq!(Wait::named(wait.as_str()), Some(wait));
        }
        assert_eq!(Wait::named(""), None);
    }
}
