#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod call_record;
mod causes;
mod digest;
mod engine;
mod environment;
mod function;
mod ids;
mod invalid;
pub mod limits;
mod name;
pub mod native;
mod network;
mod outcome;
mod route;
mod tags;
mod timestamp;
mod trace;

pub use call_record::{CallCpu, CallEnd, CallRecord, CallSource, Wait};
pub use causes::{causes, chain};
pub use digest::{Digest, ParseDigestError};
pub use engine::EngineName;
pub use environment::Environment;
pub use function::{
    Code, Config, Function, InertSettings, LastUpdate, State, StateReason, Version, VersionId,
};
pub use ids::{InstanceId, RequestId, RevisionId, ServerId};
pub use invalid::Invalid;
pub use limits::{EphemeralStorage, Memory, Timeout};
pub use name::{Account, FunctionName, FunctionRef, Qualifier};
pub use network::NetworkPolicy;
pub use outcome::{Failure, FailureKind, Outcome};
pub use route::{Method, Route, RouteMatch, RouteTable};
pub use tags::{Tags, engine_from_tags, routes_from_tags, validate as validate_tags};
pub use timestamp::Timestamp;
pub use trace::TraceHeader;
