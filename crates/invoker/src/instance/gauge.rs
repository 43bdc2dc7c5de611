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

    /// The figure for the REPORT line of a call that took this long, in bytes.
    pub(super) fn at_call_end(&mut self, sandbox: &dyn Sandbox, duration: Duration) -> u64 {
        if duration >= SHORT || self.read.is_none_or(|read| read.elapsed() >= FRESH) {
            self.sample(sandbox);
        }
        self.peak_bytes
    }
}
