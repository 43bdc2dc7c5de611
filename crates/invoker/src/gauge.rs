use std::time::{Duration, Instant};

use warren_engine::{Sandbox, Usage};
use warren_model::CallCpu;

/// Figures younger than this serve the end of another short call: reading them costs some ten microseconds.
const FRESH: Duration = Duration::from_millis(50);
/// A call this short can't have touched much since the last look; a longer one may have taken all there is.
const SHORT: Duration = Duration::from_millis(1);

/// What a sandbox was seen to use: the most memory, which like Lambda's figure covers the instance's life and not one call, and processor time. A one-shot run
/// is one call.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    peak_bytes: u64,
    /// Processes killed for memory by the last look, and by the last look before the running call.
    oom_kills: u64,
    oom_kills_before: u64,
    read: Option<Instant>,
    /// Processor time that calls before have accounted for, since the sandbox's start.
    cpu_us: u64,
    /// Calls since then.
    calls: u32,
}

/// What is known of it at the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    /// Most memory so far. None if it was never seen.
    pub(crate) peak_bytes: Option<u64>,
    /// None if nobody looked, or nothing could be seen.
    pub(crate) cpu: Option<CallCpu>,
}

impl Gauge {
    /// What the sandbox used until now was nobody's: it was started ahead.
    pub(crate) fn claimed(&mut self, sandbox: &dyn Sandbox) {
        if let Some(usage) = self.sample(sandbox) {
            self.cpu_us = usage.cpu_us;
        }
        // The first call is looked at, however soon it ends: Init is in its figures.
        self.read = None;
    }

    /// Reads the figures of this moment.
    pub(crate) fn sample(&mut self, sandbox: &dyn Sandbox) -> Option<Usage> {
        let usage = sandbox.usage();
        if let Some(usage) = usage {
            self.peak_bytes = self.peak_bytes.max(usage.memory_bytes);
            self.oom_kills = usage.oom_kills;
        }
        self.read = Some(Instant::now());
        usage
    }

    /// The figures for the record of a call that took this long: a look, unless it was short and the last look is fresh. What the sandbox used since the
    /// look before is then this call's and that of the calls between.
    pub(crate) fn at_call_end(&mut self, sandbox: &dyn Sandbox, duration: Duration) -> Used {
        self.calls += 1;
        let mut cpu = None;
        if duration >= SHORT || self.read.is_none_or(|read| read.elapsed() >= FRESH) {
            if let Some(usage) = self.sample(sandbox) {
                cpu = Some(CallCpu {
                    us: usage.cpu_us.saturating_sub(self.cpu_us),
                    calls: self.calls,
                });
                self.cpu_us = usage.cpu_us;
                self.calls = 0;
            }
            // The kernel keeps it, so that one look at the end has all bursts of processes that live.
            let peak = sandbox.peak_bytes().unwrap_or(0);
            self.peak_bytes = self.peak_bytes.max(peak);
        }
        Used {
            peak_bytes: (self.peak_bytes > 0).then_some(self.peak_bytes),
            cpu,
        }
    }

    /// A call, or Init, begins.
    pub(crate) fn begin(&mut self) {
        self.oom_kills_before = self.oom_kills;
    }

    /// Whether a process was killed for memory since [`begin`](Self::begin), as far as that was seen of a sandbox that is gone. A kill during an earlier call
    /// was seen at that call's end.
    pub(crate) fn killed_since_begin(&self, sandbox: &dyn Sandbox) -> bool {
        let now = sandbox
            .usage()
            .map_or(self.oom_kills, |usage| usage.oom_kills);
        now > self.oom_kills_before
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use tokio::net::UnixStream;
    use warren_engine::{EngineError, Tenant};
    use warren_model::InstanceId;
    use warren_protocol::StreamKind;

    use super::*;

    struct Burning {
        id: InstanceId,
        /// Processor time so far; 0: it is gone.
        cpu_us: AtomicU64,
        oom_kills: AtomicU64,
    }

    impl Burning {
        fn of(cpu_us: u64) -> Self {
            Self {
                id: InstanceId::random(),
                cpu_us: AtomicU64::new(cpu_us),
                oom_kills: AtomicU64::new(0),
            }
        }
    }

    #[async_trait]
    impl Sandbox for Burning {
        fn id(&self) -> &InstanceId {
            &self.id
        }
        fn evidence(&self) -> String {
            String::new()
        }
        async fn open(&self, _kind: StreamKind) -> Result<UnixStream, EngineError> {
            unreachable!("no stream is opened here")
        }
        fn seal(&self) -> Result<(), EngineError> {
            Ok(())
        }
        async fn claim(&self, _tenant: &Tenant) -> Result<(), EngineError> {
            Ok(())
        }
        async fn freeze(&self) -> Result<(), EngineError> {
            Ok(())
        }
        async fn thaw(&self) -> Result<(), EngineError> {
            Ok(())
        }
        fn usage(&self) -> Option<Usage> {
            let cpu_us = self.cpu_us.load(Ordering::Relaxed);
            (cpu_us > 0).then_some(Usage {
                memory_bytes: 10,
                cpu_us,
                oom_kills: self.oom_kills.load(Ordering::Relaxed),
            })
        }
        fn peak_bytes(&self) -> Option<u64> {
            (self.cpu_us.load(Ordering::Relaxed) > 0).then_some(20)
        }
        async fn kill(&self) -> Result<(), EngineError> {
            Ok(())
        }
    }

    #[test]
    fn every_microsecond_is_some_call_s_and_only_one_look_s() {
        let sandbox = Burning::of(700);
        let mut gauge = Gauge::default();
        let mut end = |cpu_us, duration| {
            sandbox.cpu_us.store(cpu_us, Ordering::Relaxed);
            gauge.at_call_end(&sandbox, duration)
        };
        let cpu = |us, calls| Some(CallCpu { us, calls });
        // The first: since the start, Init included.
        assert_eq!(end(700, Duration::ZERO).cpu, cpu(700, 1));
        // Short ones soon after it are not looked at, and have the peak that is known.
        let short = end(750, Duration::from_micros(50));
        assert_eq!((short.cpu, short.peak_bytes), (None, Some(20)));
        assert_eq!(end(800, Duration::from_micros(999)).cpu, None);
        // The next look has them.
        assert_eq!(end(2_000, SHORT).cpu, cpu(1_300, 3));
        assert_eq!(end(2_500, SHORT).cpu, cpu(500, 1));
        // Gone: nothing is said, and the peak is the last one seen.
        let gone = end(0, SHORT);
        assert_eq!((gone.cpu, gone.peak_bytes), (None, Some(20)));
        std::thread::sleep(FRESH);
        assert_eq!(end(2_600, Duration::ZERO).cpu, cpu(100, 2));
    }

    #[test]
    fn the_first_call_of_what_was_claimed_is_looked_at() {
        let sandbox = Burning::of(9_000);
        let mut gauge = Gauge::default();
        gauge.claimed(&sandbox);
        // Init, and a call within a moment.
        sandbox.cpu_us.store(9_400, Ordering::Relaxed);
        let first = gauge.at_call_end(&sandbox, Duration::ZERO);
        assert_eq!(first.cpu, Some(CallCpu { us: 400, calls: 1 }));
        assert_eq!(gauge.at_call_end(&sandbox, Duration::ZERO).cpu, None);
    }

    #[test]
    fn a_kill_that_was_seen_is_known_when_the_sandbox_is_gone() {
        let sandbox = Burning::of(700);
        let mut gauge = Gauge::default();
        gauge.begin();
        gauge.sample(&sandbox);
        assert!(!gauge.killed_since_begin(&sandbox));
        sandbox.oom_kills.store(1, Ordering::Relaxed);
        assert!(gauge.killed_since_begin(&sandbox));
        gauge.sample(&sandbox);
        sandbox.cpu_us.store(0, Ordering::Relaxed);
        assert!(gauge.killed_since_begin(&sandbox));
        gauge.begin();
        assert!(!gauge.killed_since_begin(&sandbox));
    }

    #[test]
    fn what_was_never_seen_is_not_nothing() {
        let sandbox = Burning::of(0);
        let used = Gauge::default().at_call_end(&sandbox, SHORT);
        assert_eq!(used, Used::default());
    }
}
