//! ```text
//!             STANDBY            init()
//!  Booting -------------> Waiting -------> Starting              (a runtime that is started ahead; one that was restored begins in Waiting)
//!
//!             READY            begin()              RESPONSE without END
//!  Starting ---------> Idle ------------> Called ------------------------> Answering --+
//!     |                 ^                   |                                 |   ^    | RESPONSE
//!     | INIT_ERROR      |                   | RESPONSE with END, or ERROR     |   +----+ without END
//!     v                 +-------------------+---------------------------------+
//!  Failed
//! ```
//! Anything else is an error, and the instance that sent it is not used again.

use bytes::Bytes;

use crate::error::ProtocolError;
use crate::frame::{Frame, FrameKind};

/// The host's view of one call stream: which frames may come now, and what they mean.
#[derive(Debug)]
pub struct CallStream {
    state: State,
    /// The last call number used.
    call: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Booting,
    Waiting,
    Starting,
    Failed,
    Idle,
    Called,
    Answering,
}

/// What a frame on a call stream means to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// The runtime waits for INIT.
    Standby,
    /// Init is over: the stream takes calls.
    Ready,
    /// Init has failed with this error object.
    InitError(Bytes),
    /// A piece of the answer; more follows.
    Part(Bytes),
    /// The last piece of the answer.
    Answer {
        /// The piece, which may be empty.
        body: Bytes,
        /// Bytes of output that the runtime says it has written since its start, modulo 2^32.
        mark: u32,
    },
    /// The answer is this error object; pieces that came before are void.
    Error {
        /// The error object.
        error: Bytes,
        /// Bytes of output that the runtime says it has written since its start, modulo 2^32.
        mark: u32,
    },
}

impl Default for CallStream {
    fn default() -> Self {
        Self::new()
    }
}

impl CallStream {
    /// A stream whose runtime is not ready yet.
    pub fn new() -> Self {
        Self {
            state: State::Starting,
            call: 0,
        }
    }

    /// A stream whose runtime is started ahead.
    pub fn ahead() -> Self {
        Self {
            state: State::Booting,
            call: 0,
        }
    }

    /// A stream whose runtime was restored, and waits for INIT.
    pub fn restored() -> Self {
        Self {
            state: State::Waiting,
            call: 0,
        }
    }

    /// Goes on with INIT; whether it may be sent now.
    pub fn init(&mut self) -> bool {
        let may = self.state == State::Waiting;
        if may {
            self.state = State::Starting;
        }
        may
    }

    /// Whether a call can be sent now.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Starts the next call and gives its number for INVOKE. `None` if the stream is not idle. Numbers start again at 1 after 2^32 - 1.
    pub fn begin(&mut self) -> Option<u32> {
        if self.state != State::Idle {
            return None;
        }
        self.state = State::Called;
        self.call = self.call.checked_add(1).unwrap_or(1);
        Some(self.call)
    }

    /// Number of the last call that was begun; 0 before the first.
    pub fn last_call(&self) -> u32 {
        self.call
    }

    /// Takes the next frame from the runtime.
    ///
    /// # Errors
    /// The frame must not come now, or names another call.
    #[inline]
    pub fn accept(&mut self, frame: Frame) -> Result<CallEvent, ProtocolError> {
        match (self.state, frame.kind) {
            (State::Starting, FrameKind::Ready) => {
                empty(&frame)?;
                self.state = State::Idle;
                Ok(CallEvent::Ready)
            }
            (State::Booting, FrameKind::Standby) => {
                empty(&frame)?;
                self.state = State::Waiting;
                Ok(CallEvent::Standby)
            }
            (State::Starting, FrameKind::InitError) => {
                self.state = State::Failed;
                Ok(CallEvent::InitError(frame.payload))
            }
            (State::Called | State::Answering, FrameKind::Response | FrameKind::Error) => {
                if frame.call != self.call {
                    return Err(ProtocolError::WrongCall {
                        found: frame.call,
                        expected: self.call,
                    });
                }
                self.state = if frame.end {
                    State::Idle
                } else {
                    State::Answering
                };
                Ok(match (frame.kind, frame.end) {
                    (FrameKind::Error, _) => CallEvent::Error {
                        error: frame.payload,
                        mark: frame.mark,
                    },
                    (_, true) => CallEvent::Answer {
                        body: frame.payload,
                        mark: frame.mark,
                    },
                    (_, false) => CallEvent::Part(frame.payload),
                })
            }
            (state, kind) => Err(ProtocolError::Unexpected {
                kind,
                state: match state {
                    State::Booting => "waiting for STANDBY",
                    State::Waiting => "waiting to send INIT",
                    State::Starting => "waiting for READY",
                    State::Failed => "done after INIT_ERROR",
                    State::Idle => "no call is in progress",
                    State::Called | State::Answering => "waiting for an answer",
                },
            }),
        }
    }
}

fn empty(frame: &Frame) -> Result<(), ProtocolError> {
    match frame.payload.len() {
        0 => Ok(()),
        found => Err(ProtocolError::NotEmpty {
            kind: frame.kind,
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Header;

    fn frame(kind: FrameKind, call: u32, end: bool, payload: &'static [u8]) -> Frame {
        let mark = if end && kind.has_mark() { 5 } else { 0 };
        Frame::new(
            Header {
                end,
                call,
                mark,
                ..Header::new(kind, 0)
            },
            Bytes::from_static(payload),
        )
    }

    #[test]
    fn a_life() {
        let mut stream = CallStream::new();
        assert_eq!(stream.begin(), None);
        assert_eq!(
            stream.accept(frame(FrameKind::Ready, 0, false, b"")),
            Ok(CallEvent::Ready)
        );
        assert_eq!(stream.begin(), Some(1));
        assert_eq!(stream.begin(), None);
        let part = Bytes::from_static(b"a");
        assert_eq!(
            stream.accept(frame(FrameKind::Response, 1, false, b"a")),
            Ok(CallEvent::Part(part.clone()))
        );
        let answer = CallEvent::Answer {
            body: part.clone(),
            mark: 5,
        };
        assert_eq!(
            stream.accept(frame(FrameKind::Response, 1, true, b"a")),
            Ok(answer)
        );
        assert_eq!(stream.begin(), Some(2));
        let error = CallEvent::Error {
            error: part,
            mark: 5,
        };
        assert_eq!(
            stream.accept(frame(FrameKind::Error, 2, true, b"a")),
            Ok(error)
        );
        assert!(stream.is_idle());
    }

    #[test]
    fn a_runtime_that_is_started_ahead_waits_for_init() {
        let mut stream = CallStream::ahead();
        assert!(!stream.init());
        let ready = || frame(FrameKind::Ready, 0, false, b"");
        assert!(stream.accept(ready()).is_err());
        let standby = || frame(FrameKind::Standby, 0, false, b"");
        assert_eq!(stream.accept(standby()), Ok(CallEvent::Standby));
        assert!(stream.accept(ready()).is_err());
        assert!(stream.accept(standby()).is_err());
        assert_eq!(stream.begin(), None);
        assert!(stream.init() && !stream.init());
        assert!(stream.accept(standby()).is_err());
        assert_eq!(stream.accept(ready()), Ok(CallEvent::Ready));
        assert_eq!(stream.begin(), Some(1));
        let mut ordinary = CallStream::new();
        assert!(ordinary.accept(standby()).is_err());
    }

    #[test]
    fn refuses_what_is_out_of_order() {
        let mut stream = CallStream::new();
        let unexpected = |kind, state| Err(ProtocolError::Unexpected { kind, state });
        let response = frame(FrameKind::Response, 1, true, b"");
        assert_eq!(
            stream.accept(response.clone()),
            unexpected(FrameKind::Response, "waiting for READY")
        );
        stream
            .accept(frame(FrameKind::Ready, 0, false, b""))
            .unwrap();
        assert_eq!(
            stream.accept(response.clone()),
            unexpected(FrameKind::Response, "no call is in progress")
        );
        stream.begin();
        let second_ready = stream.accept(frame(FrameKind::Ready, 0, false, b""));
        assert_eq!(
            second_ready,
            unexpected(FrameKind::Ready, "waiting for an answer")
        );
        let wrong = stream.accept(frame(FrameKind::Response, 2, true, b""));
        assert_eq!(
            wrong,
            Err(ProtocolError::WrongCall {
                found: 2,
                expected: 1
            })
        );

        let mut failed = CallStream::new();
        failed
            .accept(frame(FrameKind::InitError, 0, false, b"{}"))
            .unwrap();
        assert_eq!(
            failed.accept(response),
            unexpected(FrameKind::Response, "done after INIT_ERROR")
        );
        assert_eq!(failed.begin(), None);
    }

    #[test]
    fn call_numbers_skip_zero() {
        let mut stream = CallStream {
            state: State::Idle,
            call: u32::MAX,
        };
        assert_eq!(stream.begin(), Some(1));
    }
}
