use std::{num::NonZeroU32, time::Duration};

use warren_model::EngineName;

use crate::FunctionKey;

/// Limits of the account and the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Calls at the same time over all functions; Lambda's default is 1000.
    pub account_concurrency: u32,
    /// Memory that instances may hold together, in MB, from their start until they are gone.
    pub host_memory_mb: u64,
    /// Instances that may exist at the same time.
    pub host_instances: u32,
    /// Calls that may wait, over all pools.
    pub queue_calls: u32,
    /// How long a call may wait while no start is under way for it.
    pub queue_wait: Duration,
    /// How long an instance may be idle before it is stopped.
    pub idle_after: Duration,
    /// Starts at the same time, per engine.
    pub starts_per_engine: NonZeroU32,
    /// Expected duration of a pool's first start.
    pub first_start: Duration,
}

impl Settings {
    /// The defaults on a host of this capacity.
    pub fn new(host_memory_mb: u64, host_instances: u32) -> Self {
        Self {
            account_concurrency: 1000,
            host_memory_mb,
            host_instances,
            queue_calls: 1000,
            queue_wait: Duration::from_secs(10),
            idle_after: Duration::from_secs(600),
            starts_per_engine: NonZeroU32::MIN.saturating_add(3),
            first_start: Duration::from_millis(300),
        }
    }
}

/// What the instances of a pool have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// The function that it belongs to; its reserved concurrency comes by [`Event::Limits`](crate::Event::Limits).
    pub function: FunctionKey,
    /// What starts its instances.
    pub engine: EngineName,
    /// Memory of one instance, in MB.
    pub memory_mb: u32,
    /// Calls at the same time on one instance: 1 for event functions.
    pub concurrency: NonZeroU32,
}
