//! One OCI container for each instance, started by `runc` (or a program that takes its command line) without a daemon.

use std::sync::Arc;

use serde_json::Value;
use warren_model::EngineName;

use crate::{
    Engine, Owner,
    host::{Host, cgroup::Slice},
    oci::{OciEngine, Runtime},
};

struct Runc;

impl Runtime for Runc {
    const NAME: EngineName = EngineName::Runc;
    const PROGRAMS: &'static [&'static str] = &["runc"];

    fn describe(version: &str, slice: &Slice) -> String {
        format!("{version}, cgroup v{}", slice.version())
    }

    fn adjust(_config: &mut Value) {}
}

/// The engine; nothing is asked of the host yet.
pub fn engine(owner: Owner, host: Arc<Host>) -> Arc<dyn Engine> {
    Arc::new(OciEngine::<Runc>::new(owner, host))
}
