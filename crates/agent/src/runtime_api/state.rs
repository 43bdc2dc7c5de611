//! The states of a runtime, as Lambda's own local emulator has and names them:
//!
//! ```text
//!               first /next (READY goes out)         INVOKE came in
//!   Started --------------------------------> Ready -----------------> Running
//!     |   | /restore/next       /next           ^                         | /response or /error begins
//!     |   +---------------> Restoring ----------+                         v
//!     |                         |               | /next               Answering
//!     | /init/error             |          ResponseSent <-----------------+
//!     v                         v /restore/error        answer has gone out
//!   InitError               RestoreError
//! ```
//! Everything else is refused with InvalidStateTransition, and an answer to any id but the last one given out with InvalidRequestID.

use crate::runtime_api::answer::Answer;

/// Where the runtime stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Started,
    InitError,
    Restoring,
    RestoreError,
    Ready,
    Running(Call),
    Answering(Call, Target),
    ResponseSent(Call),
    Ended,
}

/// A call that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    id: String,
    number: u32,
}

/// Where a runtime wants to get, named as in Lambda's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Ready,
    InitError,
    RestoreError,
    Response,
    ErrorResponse,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::InitError => "InitError",
            Self::RestoreError => "RuntimeRestoreErrorState",
            Self::Response => "InvocationResponse",
            Self::ErrorResponse => "InvocationErrorResponse",
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such call is in progress.
    RequestId,
    /// It is not the time for this.
    Transition { from: &'static str, to: Target },
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::RequestId => Answer::error(400, "InvalidRequestID", "Invalid request ID"),
            Refusal::Transition { from, to } => {
                let to = to.name();
                let message = format!(
                    "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
                );
                Answer::error(403, "InvalidStateTransition", &message)
            }
        }
    }
}

/// The state machine, without any I/O.
#[derive(Debug)]
pub(crate) struct RuntimeState {
    phase: Phase,
    /// Number of the last call that was given out; 0 before the first.
    given: u32,
}

impl Default for RuntimeState {
    fn default() -> Self {
        Self {
            phase: Phase::Started,
            given: 0,
        }
    }
}

impl RuntimeState {
    /// The runtime asks for the next call. Gives whether this is its first time, so that READY is due. A runtime may ask again while it
    /// waits: its first connection may have broken.
    pub(crate) fn next(&mut self) -> Result<bool, Refusal> {
        match self.phase {
            Phase::Started | Phase::Restoring => {
                self.phase = Phase::Ready;
                Ok(true)
            }
            Phase::Ready => Ok(false),
            Phase::ResponseSent(_) => {
                self.phase = Phase::Ready;
                Ok(false)
            }
            _ => Err(self.refusal(Target::Ready)),
        }
    }

    /// Whether it has asked for nothing yet.
    pub(crate) fn is_started(&self) -> bool {
        self.phase == Phase::Started
    }

    /// Whether a call may be given out: it is waited for, and no other connection has taken one since.
    pub(crate) fn check_waiting(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Ready => Ok(()),
            _ => Err(self.refusal(Target::Ready)),
        }
    }

    /// A call has come and is about to be given out; only while it is waited for.
    pub(crate) fn invoked(&mut self, id: &str, number: u32) -> Result<(), Refusal> {
        self.check_waiting()?;
        self.given = number;
        self.phase = Phase::Running(Call {
            id: id.to_owned(),
            number,
        });
        Ok(())
    }

    /// The runtime has ended: no call is given out any more. Gives the number of the last that was, 0 if there was none.
    pub(crate) fn end(&mut self) -> u32 {
        self.phase = Phase::Ended;
        self.given
    }

    /// The runtime begins to answer the call with this id. Gives its number.
    pub(crate) fn answer(&mut self, id: &str, target: Target) -> Result<u32, Refusal> {
        match &self.phase {
            Phase::Running(call) | Phase::Answering(call, _) | Phase::ResponseSent(call)
                if call.id != id =>
            {
                Err(Refusal::RequestId)
            }
            Phase::Started
            | Phase::InitError
            | Phase::Restoring
            | Phase::RestoreError
            | Phase::Ended => Err(Refusal::RequestId),
            Phase::Running(call) => {
                let number = call.number;
                self.phase = Phase::Answering(call.clone(), target);
                Ok(number)
            }
            _ => Err(self.refusal(target)),
        }
    }

    /// The answer has gone out.
    pub(crate) fn answered(&mut self) {
        if let Phase::Answering(call, _) = &self.phase {
            self.phase = Phase::ResponseSent(call.clone());
        }
    }

    /// Init has failed.
    pub(crate) fn init_error(&mut self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Started => {
                self.phase = Phase::InitError;
                Ok(())
            }
            _ => Err(self.refusal(Target::InitError)),
        }
    }

    /// Init is over and the runtime waits to be restored.
    pub(crate) fn restore_next(&mut self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Started => {
                self.phase = Phase::Restoring;
                Ok(())
            }
            // The emulator names the state that the runtime wants to get to, not the one between.
            _ => Err(self.refusal(Target::Ready)),
        }
    }

    /// A hook that runs after a restore has failed.
    pub(crate) fn restore_error(&mut self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Restoring => {
                self.phase = Phase::RestoreError;
                Ok(())
            }
            _ => Err(self.refusal(Target::RestoreError)),
        }
    }

    fn refusal(&self, to: Target) -> Refusal {
        let from = match &self.phase {
            Phase::Started => "Started",
            Phase::InitError => "InitError",
            Phase::Restoring => "Restoring",
            Phase::RestoreError => "RuntimeRestoreErrorState",
            Phase::Ready => "Ready",
            Phase::Running(_) => "Running",
            Phase::Answering(_, target) => target.name(),
            Phase::ResponseSent(_) => "RuntimeResponseSentState",
            Phase::Ended => "Ended",
        };
        Refusal::Transition { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(from: &'static str, to: Target) -> Refusal {
        Refusal::Transition { from, to }
    }

    #[test]
    fn a_life() {
        let mut state = RuntimeState::default();
        assert_eq!(state.answer("a", Target::Response), Err(Refusal::RequestId));
        assert_eq!(state.next(), Ok(true));
        assert_eq!(state.next(), Ok(false), "asking again while waiting");
        assert_eq!(state.check_waiting(), Ok(()));
        assert_eq!(state.invoked("a", 1), Ok(()));
        assert_eq!(
            state.check_waiting(),
            Err(refused("Running", Target::Ready))
        );
        assert_eq!(state.next(), Err(refused("Running", Target::Ready)));
        assert_eq!(state.answer("b", Target::Response), Err(Refusal::RequestId));
        assert_eq!(state.answer("a", Target::Response), Ok(1));
        let twice = refused("InvocationResponse", Target::ErrorResponse);
        assert_eq!(state.answer("a", Target::ErrorResponse), Err(twice));
        state.answered();
        assert_eq!(
            state.answer("a", Target::Response),
            Err(refused("RuntimeResponseSentState", Target::Response))
        );
        assert_eq!(
            state.init_error(),
            Err(refused("RuntimeResponseSentState", Target::InitError))
        );
        assert_eq!(state.next(), Ok(false));
        assert_eq!(state.invoked("b", 2), Ok(()));
        assert_eq!(
            state.answer("a", Target::Response),
            Err(Refusal::RequestId),
            "a finished id"
        );
        assert_eq!(state.answer("b", Target::ErrorResponse), Ok(2));
        state.answered();
        assert_eq!(state.next(), Ok(false));
        assert_eq!(state.end(), 2);
        assert!(state.invoked("c", 3).is_err(), "given to nobody");
        assert_eq!(state.end(), 2);
    }

    #[test]
    fn a_failed_init_is_the_end() {
        let mut state = RuntimeState::default();
        assert_eq!(state.init_error(), Ok(()));
        assert_eq!(
            state.init_error(),
            Err(refused("InitError", Target::InitError))
        );
        assert_eq!(state.next(), Err(refused("InitError", Target::Ready)));
        assert_eq!(state.answer("a", Target::Response), Err(Refusal::RequestId));
    }

    #[test]
    fn a_restore_is_a_part_of_init() {
        let mut state = RuntimeState::default();
        let early = refused("Started", Target::RestoreError);
        assert_eq!(state.restore_error(), Err(early));
        assert_eq!(state.restore_next(), Ok(()));
        assert_eq!(
            state.restore_next(),
            Err(refused("Restoring", Target::Ready))
        );
        assert_eq!(
            state.init_error(),
            Err(refused("Restoring", Target::InitError))
        );
        assert_eq!(state.answer("a", Target::Response), Err(Refusal::RequestId));
        assert_eq!(state.next(), Ok(true));
        assert_eq!(
            state.restore_error(),
            Err(refused("Ready", Target::RestoreError))
        );

        let mut state = RuntimeState::default();
        assert_eq!(state.restore_next(), Ok(()));
        assert_eq!(state.restore_error(), Ok(()));
        assert_eq!(
            state.next(),
            Err(refused("RuntimeRestoreErrorState", Target::Ready))
        );
        assert_eq!(state.answer("a", Target::Response), Err(Refusal::RequestId));
    }

    #[test]
    fn refusals_are_worded_as_lambda_words_them() {
        let answer = Answer::from(refused("Started", Target::Response));
        assert_eq!(answer.status, 403);
        let body = "{\"errorMessage\":\"State transition from Started to InvocationResponse failed for runtime. \
                    Error: State transition is not allowed\",\"errorType\":\"InvalidStateTransition\"}";
        assert_eq!(String::from_utf8(answer.body).unwrap(), body);
    }
}
