#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod event;
mod instances;
mod keys;
mod limits;
mod mean;
mod pool;
mod restores;
mod scheduler;
mod settings;
mod snapshot;
mod stems;

pub use event::{Action, Event, Refusal};
pub use keys::{CallId, FunctionKey, Instance, Moment, PoolKey};
pub use restores::{Origin, Restores};
pub use scheduler::Scheduler;
pub use settings::{PoolSpec, Settings};
pub use snapshot::{PoolSnapshot, Snapshot};
pub use stems::{OnEngine, StemAction, StemId, StemSettings, Stems};
