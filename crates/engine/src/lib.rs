#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod docker;
mod engine;
mod error;
pub mod host;
mod inside;
mod oci;
mod removal;
pub mod runc;
mod sandbox;

pub use engine::{Capabilities, Engine, Owner, Refusal, Unavailable};
pub use error::EngineError;
pub use sandbox::{CodeMount, Sandbox, SandboxSpec, Usage};
