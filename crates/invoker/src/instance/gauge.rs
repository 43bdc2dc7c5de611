use std::time::{Duration, Instant};

use warren_engine::Sandbox;

/// Figures younger than this serve the end of another short call: reading them costs some ten microseconds.
const FRESH: Duration = Duration::from_millis(50);
/// A call this short can't have touched much since the last look; a longer one may have taken all there is.
const SHORT: Duration = Duration::from_millis(1);

/// The most memory that an instance was seen to use. Like Lambda's figure, it covers the instance's life, not one call.
#[derive(Debug, Default)]
pub(super) struct MemoryGauge {
    peak_bytes: u64,
    /// Processes killed for memory by the last look, and by the last look before the running call.
    oom_kills: u64,
    oom_kills_before: u64,
    read: Option<Instant>,
}

impl MemoryGauge {
    /// Reads the figure of this moment.
    pub(super) fn sample(&mut self, sandbox: &dyn Sandbox) {
        if let Some(usage) = sandbox.usage() {
            self.peak_bytes = self.peak_bytes.max(usage.memory_bytes);
            self.oom_kills = usage.oom_kills;
        }
        self.read = Some(Instant::now());
    }

    /// The figure for the REPORT line of a call that took this long, in bytes.
    pub(super) fn at_call_end(&mut self, sandbox: &dyn Sandbox, duration: Duration) -> u64 {
        if duration >= SHORT || self.read.is_none_or(|read| read.elapsed() >= FRESH) {
            self.sample(sandbox);
            // The kernel keeps it, so that one look at the end has all bursts of processes that live.
            let peak = sandbox.peak_bytes().unwrap_or(0);
            self.peak_bytes = self.peak_bytes.max(peak);
        }
        self.peak_bytes
    }

    /// A call, or Init, begins.
    pub(super) fn begin(&mut self) {
        self.oom_kills_before = self.oom_kills;
    }

    /// Whether a process was killed for memory since [`begin`](Self::begin). A kill during an earlier call was seen at that call's end.
    pub(super) fn killed_since_begin(&self, sandbox: &dyn Sandbox) -> bool {
        sandbox
            .usage()
            .is_some_and(|usage| usage.oom_kills > self.oom_kills_before)
    }
}
