use crate::frame::{FrameKind, MAX_PAYLOAD};
use crate::log::MAX_LOG_OUTPUT;

/// Why bytes from the other side are not this protocol. Each of them breaks the stream that it was found on: there is no way to
/// find the next frame behind a wrong one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A header announces more payload than a frame may have.
    #[error("frame of {found} payload bytes, the limit is {MAX_PAYLOAD}")]
    TooLong {
        /// Payload bytes that the header announces.
        found: u32,
    },
    /// A header names a kind that this version does not have.
    #[error("unknown frame kind 0x{found:02x}")]
    UnknownKind {
        /// The kind byte.
        found: u8,
    },
    /// A flag bit other than `END` is set.
    #[error("reserved flag bits are set in 0x{found:02x}")]
    ReservedFlags {
        /// The flags byte.
        found: u8,
    },
    /// The header's reserved field is not 0.
    #[error("reserved header field is 0x{found:04x}, must be 0")]
    ReservedField {
        /// The field.
        found: u16,
    },
    /// The call number is 0 where a call is meant, or not 0 where none is.
    #[error("{kind} frame with call number {found}")]
    CallNumber {
        /// The frame's kind.
        kind: FrameKind,
        /// The call number found.
        found: u32,
    },
    /// An output mark on a frame that has none.
    #[error("{kind} frame with output mark {found}, must be 0")]
    Mark {
        /// The frame's kind.
        kind: FrameKind,
        /// The mark found.
        found: u32,
    },
    /// An ERROR frame without `END`.
    #[error("{kind} frame without END")]
    MissingEnd {
        /// The frame's kind.
        kind: FrameKind,
    },
    /// A frame whose kind must not come here: on this stream, in this direction or in this state.
    #[error("unexpected {kind} frame while {state}")]
    Unexpected {
        /// The kind found.
        kind: FrameKind,
        /// What the stream was waiting for or doing.
        state: &'static str,
    },
    /// An answer to another call than the one in progress.
    #[error("answer to call {found} while call {expected} is in progress")]
    WrongCall {
        /// The call number found.
        found: u32,
        /// The call in progress.
        expected: u32,
    },
    /// A payload that must be empty is not.
    #[error("{kind} frame with {found} payload bytes, must be empty")]
    NotEmpty {
        /// The frame's kind.
        kind: FrameKind,
        /// Payload bytes found.
        found: usize,
    },
    /// A payload is too short for its fixed fields.
    #[error("{kind} payload of {found} bytes, at least {needed} are needed")]
    TooShort {
        /// The frame's kind.
        kind: FrameKind,
        /// Payload bytes found.
        found: usize,
        /// Payload bytes that the fields need.
        needed: usize,
    },
    /// A payload is not the JSON that its kind has.
    #[error("{kind} payload: {reason}")]
    Json {
        /// The frame's kind.
        kind: FrameKind,
        /// What the JSON parser found.
        reason: String,
    },
    /// A LOG frame names an output stream other than 1 and 2.
    #[error("log of output stream {found}, known are 1 (stdout) and 2 (stderr)")]
    OutputStream {
        /// The stream byte.
        found: u8,
    },
    /// A LOG frame carries more output than it may.
    #[error("log of {found} output bytes, the limit is {MAX_LOG_OUTPUT}")]
    LogTooLong {
        /// Output bytes found.
        found: usize,
    },
    /// The other side speaks another version.
    #[error("protocol version {found}, this side speaks {}", crate::VERSION)]
    Version {
        /// The version found.
        found: u32,
    },
    /// A HELLO for another instance.
    #[error("hello for instance {found:?}")]
    Instance {
        /// The instance named.
        found: String,
    },
    /// A nonce that is not hex digits of a sensible length.
    #[error("nonce of {found} characters is not an even number of 2 to 128 hex digits")]
    Nonce {
        /// Characters found.
        found: usize,
    },
    /// A HELLO or WELCOME whose proof is not one of the shared secret.
    #[error("wrong proof")]
    Proof,
}
