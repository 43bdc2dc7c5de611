#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod booted;
mod busy_poll;
mod call_channel;
mod claim;
mod control;
mod dispatch;
mod environment;
mod instance;
mod invocation;
mod invoker;
mod launch;
mod recorder;
mod stems;

pub use busy_poll::{BusyPoll, BusyPolled, BusyPolls};
pub use invocation::{Completed, Invocation, InvokeError};
pub use invoker::{Invoker, Parts};
pub use launch::{Builds, Engines, Launcher};
