use bytes::Bytes;
use warren_model::{Failure, FailureKind, RequestId, Timeout, limits::MAX_SYNC_RESPONSE};
use warren_protocol::{ErrorObject, Exited};

use crate::{call_channel::ChannelError, control::Life};

/// How Init or a call ended, when not with an answer.
#[derive(Debug)]
pub(super) enum Ending {
    /// The time was over.
    Deadline,
    /// The runtime reported that Init failed; its error object.
    InitError(Bytes),
    /// The runtime's process is gone; whether memory was the reason.
    Exited(Life, bool),
    /// The stream was broken by a runtime that lives.
    Channel(ChannelError),
}

impl Ending {
    /// Tells a dead runtime from one that broke its stream.
    pub(super) fn of_channel(error: ChannelError, life: Life, memory_killed: bool) -> Self {
        match error {
            ChannelError::Closed | ChannelError::Io(_) => Self::Exited(life, memory_killed),
            ChannelError::Protocol(_) | ChannelError::TooLarge => Self::Channel(error),
        }
    }

    pub(super) fn memory_killed(&self) -> bool {
        matches!(self, Self::Exited(_, true))
    }

    /// Lambda's `errorType`.
    pub(super) fn error_type(&self) -> String {
        match self {
            Self::Deadline => "Sandbox.Timedout".to_owned(),
            Self::InitError(body) => ErrorObject::parse(body)
                .map_or_else(|| "Runtime.Unknown".to_owned(), |error| error.error_type),
            Self::Exited(Life::Exited(Exited::Spawn(_)), _) => {
                "Runtime.InvalidEntrypoint".to_owned()
            }
            Self::Exited(..) => "Runtime.ExitError".to_owned(),
            Self::Channel(ChannelError::TooLarge) => "Function.ResponseSizeTooLarge".to_owned(),
            Self::Channel(_) => "Runtime.ProtocolError".to_owned(),
        }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Deadline => FailureKind::TimedOut,
            Self::InitError(_) => FailureKind::Raised,
            Self::Exited(..) => FailureKind::Exited,
            Self::Channel(_) => FailureKind::Broken,
        }
    }
}

/// The failure in Lambda's words.
pub(super) fn failure(ending: &Ending, request: &RequestId, timeout: Timeout) -> Failure {
    let prefixed = |text: String| format!("RequestId: {request} Error: {text}");
    let message = match ending {
        Ending::Deadline => prefixed(format!(
            "Task timed out after {}.00 seconds",
            timeout.get()
        )),
        Ending::InitError(_) => prefixed("Init failed".to_owned()),
        Ending::Exited(life, memory_killed) => prefixed(exit_words(life, *memory_killed)),
        Ending::Channel(ChannelError::TooLarge) => format!(
            "Response payload size exceeded maximum allowed payload size ({MAX_SYNC_RESPONSE} bytes)."
        ),
        Ending::Channel(error) => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            prefixed(match source {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })
        }
    };
    Failure {
        kind: ending.kind(),
        error_type: ending.error_type(),
        message,
    }
}

fn exit_words(life: &Life, memory_killed: bool) -> String {
    let with_error = |what: &str| format!("Runtime exited with error: {what}");
    match life {
        _ if memory_killed => with_error("signal: killed"),
        Life::Exited(Exited::Code(0)) | Life::Running | Life::Gone => {
            "Runtime exited without providing a reason".to_owned()
        }
        Life::Exited(Exited::Code(code)) => with_error(&format!("exit status {code}")),
        Life::Exited(Exited::Signal(signal)) => {
            with_error(&format!("signal: {}", signal_name(*signal)))
        }
        Life::Exited(Exited::Spawn(why)) => why.clone(),
    }
}

/// Signals as Lambda prints them (signal(7), in words).
fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ending: &Ending) -> String {
        let failure = failure(ending, &RequestId::new("r-1"), Timeout::new(1).unwrap());
        format!("{}: {}", failure.error_type, failure.message)
    }

    #[test]
    fn speaks_lambda() {
        let exited = |exited| Ending::Exited(Life::Exited(exited), false);
        for (ending, expected) in [
            (
                Ending::Deadline,
                "Sandbox.Timedout: RequestId: r-1 Error: Task timed out after 1.00 seconds",
            ),
            (
                exited(Exited::Code(3)),
                "Runtime.ExitError: RequestId: r-1 Error: Runtime exited with error: exit status 3",
            ),
            (
                exited(Exited::Code(0)),
                "Runtime.ExitError: RequestId: r-1 Error: Runtime exited without providing a reason",
            ),
            (
                exited(Exited::Signal(11)),
                "Runtime.ExitError: RequestId: r-1 Error: Runtime exited with error: signal: segmentation fault",
            ),
            (
                Ending::Exited(Life::Exited(Exited::Code(1)), true),
                "Runtime.ExitError: RequestId: r-1 Error: Runtime exited with error: signal: killed",
            ),
            (
                Ending::Channel(ChannelError::TooLarge),
                "Function.ResponseSizeTooLarge: Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            ),
        ] {
            assert_eq!(message(&ending), expected);
        }
    }
}
