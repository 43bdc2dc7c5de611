#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod call_log;
mod line;
mod logs;
pub mod metrics;
mod records;
pub mod report;
mod splitter;

pub use call_log::CallLog;
pub use line::{LogLine, Source};
pub use logs::{Dropped, Follow, Followed, FunctionLogs, LogError, LogLimits, Query};
pub use metrics::Metrics;
pub use records::{Origin, RecordCounts, Records, RecordsError, Retention};
pub use splitter::{LineSplitter, MAX_LINE};
pub use warren_store::{CallFilter, PlacedCall};
