#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod calls;
mod client;
mod error;
mod functions;
mod host;
mod invoke;
mod key;
mod logs;
mod run;

pub use calls::CallQuery;
pub use client::Client;
pub use error::ClientError;
pub use invoke::{InvokeRequest, Invoked};
pub use key::{Key, ParseKeyError};
pub use logs::{LogFollow, LogQuery};
pub use run::{RunEvent, Running};
