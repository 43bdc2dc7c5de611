#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arrival;
mod booted;
mod busy_poll;
mod call_channel;
mod checkpoints;
mod claim;
mod control;
mod dispatch;
mod environment;
mod gauge;
mod held;
mod instance;
mod invocation;
mod invoker;
mod launch;
mod probes;
mod recorder;
mod runs;
mod stems;

pub use arrival::Unserved;
pub use busy_poll::{BusyPoll, BusyPolled, BusyPolls};
pub use checkpoints::Checkpoints;
pub use invocation::{Completed, Invocation, InvokeError};
pub use invoker::{Invoker, Parts};
pub use launch::{Builds, Elsewhere, Engines, Launcher};
pub use probes::Probes;
pub use runs::{InputPiece, Run, RunError, RunEvent, RunRequest};
