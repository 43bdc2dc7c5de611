use crate::{CallId, FunctionKey, Instance, PoolKey};

/// What happened. An event that doesn't fit the state of its instance is ignored and counted ([`Snapshot::ignored`](crate::Snapshot::ignored)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A call wants to run. Answered by exactly one [`Action::Run`] or [`Action::Refuse`], now or after a later event, unless it is
    /// [withdrawn](Event::Withdrawn) before.
    Arrive {
        /// The call.
        call: CallId,
        /// Where it wants to run.
        pool: PoolKey,
    },
    /// Whoever waits for a call that has no instance yet gave up: it is forgotten, and answered no more.
    Withdrawn {
        /// The call.
        call: CallId,
        /// Where it waits.
        pool: PoolKey,
    },
    /// An instance that was asked for is ready for calls.
    Started {
        /// The instance.
        instance: Instance,
    },
    /// An instance that was asked for did not become ready; whatever had been made of it is gone.
    StartFailed {
        /// The instance.
        instance: Instance,
    },
    /// A call ended, with whatever outcome.
    Finished {
        /// The call that ended.
        call: CallId,
        /// The instance that it ran on.
        instance: Instance,
        /// Whether the instance may take another call; otherwise it is stopped.
        reusable: bool,
    },
    /// An instance was found dead before the call that it was given had begun: it is stopped, and the call, still accepted, runs elsewhere or waits as the
    /// oldest of its pool. Answered like [`Event::Arrive`], but not refused for concurrency, an obsolete pool or a drain.
    Returned {
        /// The call.
        call: CallId,
        /// The instance that it was given to.
        instance: Instance,
    },
    /// An instance died by itself. Starting: like [`Event::StartFailed`]. Idle: it is stopped, to free what it held. Busy: it takes
    /// no further call and is stopped when its calls are [finished](Event::Finished).
    Lost {
        /// The instance.
        instance: Instance,
    },
    /// A stopped instance is gone and its resources are free.
    Stopped {
        /// The instance.
        instance: Instance,
    },
    /// The function was changed or deleted: idle instances of the pool stop, busy ones at their end, waiting calls still run. The pool is
    /// forgotten once it is empty.
    Obsolete {
        /// The pool.
        pool: PoolKey,
    },
    /// The reserved concurrency of a function, also of one that has no pool yet. `None` when it has none or is deleted.
    Limits {
        /// The function.
        function: FunctionKey,
        /// Calls at the same time that are set apart for it and are its limit; 0 refuses all.
        reserved: Option<u32>,
    },
    /// The moment of [`Scheduler::next_wake`](crate::Scheduler::next_wake) has come; harmless at any other.
    Tick,
    /// Accept no more calls, finish those that wait and run, stop everything.
    Drain,
}

/// What the driver shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start an instance; answer with [`Event::Started`], [`Event::StartFailed`] or [`Event::Lost`].
    Start {
        /// Its number.
        instance: Instance,
        /// What it is an instance of.
        pool: PoolKey,
    },
    /// Run a call on a ready instance; answer with [`Event::Finished`].
    Run {
        /// The call.
        call: CallId,
        /// Where.
        instance: Instance,
    },
    /// Tell the caller that its call doesn't run.
    Refuse {
        /// The call.
        call: CallId,
        /// Why.
        refusal: Refusal,
    },
    /// End an instance that runs no call; answer with [`Event::Stopped`], however long that takes. Never asked of one that is starting.
    Stop {
        /// The instance.
        instance: Instance,
    },
}

/// Why a call doesn't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Lambda's 429, reason `ReservedFunctionConcurrentInvocationLimitExceeded`.
    #[error("the function's reserved concurrency of {limit} is reached")]
    FunctionConcurrency {
        /// Calls at the same time.
        limit: u32,
    },
    /// Lambda's 429, reason `ConcurrentInvocationLimitExceeded`.
    #[error("the account's unreserved concurrency of {limit} is reached")]
    AccountConcurrency {
        /// Calls at the same time of all functions without a reservation.
        limit: u32,
    },
    /// The host had no room in time, or too many calls wait: 429 with `Retry-After`.
    #[error("the host is busy; come back in {retry_after_s} s")]
    HostBusy {
        /// Seconds after which another try makes sense: 1 to 60.
        retry_after_s: u32,
    },
    /// One instance needs more memory than the whole host gives.
    #[error("an instance needs {needed_mb} MB of memory and the host gives {host_mb} MB in all")]
    ExceedsHost {
        /// Memory of one instance, in MB.
        needed_mb: u32,
        /// Memory for all instances, in MB.
        host_mb: u64,
    },
    /// No instance could be started; the driver knows why this one failed.
    #[error("no instance could be started")]
    StartFailed {
        /// The latest instance of the pool that failed.
        instance: Instance,
    },
    /// The pool is obsolete or unknown: resolve the function again and come back.
    #[error("the function was changed meanwhile")]
    Obsolete,
    /// The server ends.
    #[error("the server is shutting down")]
    Draining,
}
