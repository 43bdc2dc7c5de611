#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod docker;
mod engine;
mod error;
pub mod host;
mod sandbox;

pub use engine::{Capabilities, Engine, Owner, Reaped, Refusal, Unavailable};
pub use error::EngineError;
pub use sandbox::{CodeMount, Sandbox, SandboxSpec, Usage};
pub use warren_network::Refused;
