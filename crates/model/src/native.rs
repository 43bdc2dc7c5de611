//! The JSON of Warren's own interface (`/api/v1`), as its server and its clients both use it.
//!
//! Members are plain texts and numbers: what they may hold is checked where they arrive, so that a refusal can name the member. Times are RFC 3339.

mod call;
mod function;
mod host;
mod invoke;
mod log;
mod problem;
mod run;
mod since;
mod spec;

pub use call::{Call, CallPage};
pub use function::{CodeInfo, Deployed, Function, FunctionPage, LastUpdate, RunsOn, State};
pub use host::{
    Engine, EngineList, Health, HealthProblem, RouteEntry, RouteList, Runtime, RuntimeList,
};
pub use invoke::{
    DURATION_HEADER, InvokeOutcome, LOG_TAIL_HEADER, OUTCOME_HEADER, REQUEST_ID_HEADER,
};
pub use log::{LogEvent, LogLine, LogLines, LogSource};
pub use problem::{PROBLEM_TYPE, Problem};
pub use run::{
    BadRunFrame, DEFAULT_RUN_OUTPUT, MAX_RUN_FRAME, MAX_RUN_OUTPUT, MAX_RUN_OUTPUT_JSON,
    NOT_THE_PROGRAM, RUN_FRAME_HEADER, RUN_TYPE, RunEnd, RunFrame, RunOutcome, RunResult, RunSpec,
};
pub use since::Since;
pub use spec::{CodeSpec, FunctionSpec};

/// Where the interface is found on Warren's first address.
pub const PREFIX: &str = "/api/v1";
