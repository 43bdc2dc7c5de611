#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod call;
mod control;
mod decoder;
mod encode;
mod error;
mod frame;
mod invoke;
mod log;
mod messages;
mod proof;

pub use call::{CallEvent, CallStream};
pub use control::{ControlCommand, ControlEvent};
pub use decoder::Decoder;
pub use encode::{
    encode_body, encode_claim, encode_deadline, encode_empty, encode_error, encode_exited,
    encode_frame, encode_header, encode_hello, encode_init, encode_init_error, encode_invoke,
    encode_invoke_head, encode_response, encode_welcome,
};
pub use error::ProtocolError;
pub use frame::{Frame, FrameKind, HEADER_LEN, Header, MAX_PAYLOAD};
pub use invoke::{INVOKE_PREFIX, InvokeMeta, split_invoke};
pub use log::{LOG_PREFIX, LogRecord, MAX_LOG_OUTPUT, OutputStream, encode_log};
pub use messages::{
    AGENT_SOCKET, CHANNEL_FOLDER, Claim, Deadline, ErrorObject, Exited, Hello, Init, Interface,
    MAX_HELLO_PAYLOAD, RUNTIME_API_ADDRESS, STANDBY_VARIABLE, START_FILE, StartFile, StreamKind,
    VERSION, Welcome,
};
pub use proof::{Secret, agent_proof, host_proof, verify_agent_proof, verify_host_proof};
