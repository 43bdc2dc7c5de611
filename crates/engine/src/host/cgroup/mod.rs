//! Control groups, version 1 (one hierarchy per controller) and 2 (one for all): figures of any, and groups of our own.

mod figures;
mod freezer;
mod group;
mod hierarchy;
mod limits;
mod place;

pub use self::figures::Cgroup;
pub(crate) use self::freezer::Freezer;
pub(crate) use self::group::{Group, Slice};
pub(crate) use self::limits::Limits;
