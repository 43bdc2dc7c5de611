#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod holds;
mod ledger;
mod missing;
mod prepare;
mod registry;
mod request;
mod reservations;
mod routes;
mod snapshot;
mod states;
mod sweep;

pub use error::RegistryError;
pub use holds::Hold;
pub use ledger::Ledger;
pub use missing::NoCode;
pub use prepare::{Prepare, PrepareError, Refusal};
pub use registry::{Parts, Registry};
pub use request::{ConfigPatch, Created, Guard, NewFunction, Publish, Updated};
pub use reservations::ACCOUNT_CONCURRENCY;
pub use snapshot::{Entry, NotFound, NotReady, Snapshot};
pub use warren_store::Standing;
