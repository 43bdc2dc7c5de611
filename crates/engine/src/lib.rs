#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod built_in;
pub mod docker;
mod engine;
mod error;
pub mod gvisor;
pub mod host;
mod inside;
mod oci;
mod removal;
pub mod runc;
mod sandbox;

pub use built_in::built_in;
pub use engine::{Capabilities, Engine, Owner, Refusal, Unavailable};
pub use error::EngineError;
pub use sandbox::{CodeMount, Sandbox, SandboxSpec, Tenant, Usage};
pub use warren_network::Refused;
