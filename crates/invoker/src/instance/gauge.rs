use std::time::{Duration, Instant};

use warren_engine::Sandbox;

/// Figures younger than this serve the end of another call: reading them costs some ten microseconds.
const FRESH: Duration = Duration::from_millis(50);

/// The most memory that an instance was seen to use. Like Lambda's figure, it covers the instance's life, not one call.
#[derive(Debug, Default)]
pub(super) struct MemoryGauge {
    peak_bytes: u64,
    read: Option<Instant>,
}

impl MemoryGauge {
    /// Reads the figure of this moment.
    pub(super) fn sample(&mut self, sandbox: &dyn Sandbox) {
        if let Some(usage) = sandbox.usage() {
            self.peak_bytes = self.peak_bytes.max(usage.memory_bytes);
        }
        self.read = Some(Instant::now());
    }

    /// The figure for a REPORT line, in bytes.
    pub(super) fn at_call_end(&mut self, sandbox: &dyn Sandbox) -> u64 {
        if self.read.is_none_or(|read| read.elapsed() >= FRESH) {
            self.sample(sandbox);
        }
        self.peak_bytes
    }
}
