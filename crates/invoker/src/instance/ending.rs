use bytes::Bytes;
use warren_model::{Failure, FailureKind, RequestId, Timeout, limits::MAX_SYNC_RESPONSE};
use warren_protocol::{ErrorObject, Exited};
use warren_telemetry::report::{Exit, Status, task_timed_out};

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
        match (error, life) {
            (ChannelError::Closed | ChannelError::Unread | ChannelError::Io(_), life) => {
                Self::exited(life, memory_killed)
            }
            (error @ (ChannelError::Protocol(_) | ChannelError::TooLarge), _) => {
                Self::Channel(error)
            }
        }
    }

    /// The runtime is gone, or the agent that would tell.
    pub(super) fn exited(life: Life, memory_killed: bool) -> Self {
        match life {
            Life::Broken(error) => Self::Channel(ChannelError::Protocol(error)),
            life => Self::Exited(life, memory_killed),
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
            Self::Exited(
                Life::Exited {
                    how: Exited::Spawn(_),
                    ..
                },
                _,
            ) => "Runtime.InvalidEntrypoint".to_owned(),
            Self::Exited(..) => "Runtime.ExitError".to_owned(),
            Self::Channel(ChannelError::TooLarge) => "Function.ResponseSizeTooLarge".to_owned(),
            Self::Channel(_) => "Runtime.ProtocolError".to_owned(),
        }
    }

    /// Of an Init, in words.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Deadline => "Init took too long".to_owned(),
            Self::InitError(body) => ErrorObject::parse(body).map_or_else(String::new, |error| {
                format!("{}: {}", error.error_type, error.error_message)
            }),
            Self::Exited(life, memory_killed) => exit_words(life, *memory_killed),
            Self::Channel(error) => warren_model::chain(error),
        }
    }

    /// For the INIT_REPORT line.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Deadline => Status::Timeout,
            other => Status::Error(other.error_type()),
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
        Ending::Deadline => prefixed(task_timed_out(timeout.duration())),
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
    let exit = match life {
        _ if memory_killed => Exit::signal(9),
        Life::Running | Life::Gone | Life::Broken(_) => Exit::Unexplained,
        Life::Exited { how, .. } => match how {
            Exited::Code(0) => Exit::Unexplained,
            Exited::Code(code) => Exit::Status(*code),
            Exited::Signal(signal) => Exit::signal(*signal),
            Exited::Spawn(why) => return why.clone(),
        },
    };
    exit.to_string()
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
        let life = |how| Life::Exited {
            how,
            last_call: None,
        };
        let exited = |how| Ending::Exited(life(how), false);
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
                Ending::Exited(life(Exited::Code(1)), true),
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
