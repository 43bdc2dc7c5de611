/// Counts of the whole scheduler, for metrics. All are kept up to date, so that taking them costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Instances being started.
    pub starting: u32,
    /// Instances without a call.
    pub idle: u32,
    /// Instances with calls.
    pub busy: u32,
    /// Instances that were told to stop and still hold their resources.
    pub stopping: u32,
    /// Memory that all of them hold, in MB.
    pub memory_mb: u64,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// Calls that wait or run.
    pub in_flight: u32,
    /// Starts asked for so far.
    pub starts: u64,
    /// Starts that failed so far.
    pub start_failures: u64,
    /// Events so far that did not fit the state of what they named; each one is a fault of the driver or a harmless race.
    pub ignored: u64,
}

impl Snapshot {
    /// All instances that hold resources.
    pub fn instances(&self) -> u32 {
        self.starting + self.idle + self.busy + self.stopping
    }
}

/// Counts of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSnapshot {
    /// Instances being started.
    pub starting: u32,
    /// Idle instances, and busy ones that take further calls.
    pub ready: u32,
    /// Instances that can take a call at once.
    pub free: u32,
    /// All instances, those that end included.
    pub instances: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Mean duration of recent calls, in microseconds, once known.
    pub call_us: Option<u64>,
    /// Expected duration of a start, in microseconds.
    pub start_us: u64,
}
