//! The beginning of a call's record, and the records of calls that no instance took.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use warren_model::{CallEnd, CallRecord, CallSource, Wait};
use warren_telemetry::Records;

use crate::{Invocation, InvokeError};

/// When a call came, and how often it was given to an instance since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The head of its request came.
    pub(crate) received: Instant,
    /// The invoker took it.
    pub(crate) accepted: Instant,
    /// The same, in microseconds since 1970-01-01 UTC.
    arrived_us: u64,
    pub(crate) attempts: u32,
}

impl Arrival {
    /// Of a call that is taken now.
    pub(crate) fn now(received: Instant) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            received,
            accepted: Instant::now(),
            arrived_us: micros(epoch.unwrap_or_default()),
            attempts: 0,
        }
    }

    /// A record with what is known from the beginning.
    pub(crate) fn record(
        &self,
        source: Arc<CallSource>,
        invocation: &Invocation,
        end: CallEnd,
    ) -> CallRecord {
        let trace = invocation.trace.as_ref();
        CallRecord {
            source,
            request: invocation.request_id.clone(),
            arrived_us: self.arrived_us,
            attempts: self.attempts,
            queued_us: 0,
            wait: Wait::None,
            wait_us: 0,
            init_us: 0,
            init_again_us: None,
            instance_init_us: None,
            handler_us: None,
            closing_us: 0,
            bytes_in: invocation.payload.len() as u64,
            bytes_out: 0,
            cpu: None,
            peak_bytes: None,
            end,
            error_type: None,
            trace: trace.map(|trace| trace.as_str().to_owned()),
        }
    }

    /// Records that the call is refused. One whose version was replaced may be begun anew, and is recorded by whoever does not.
    pub(crate) fn refuse(
        &self,
        records: &Records,
        invocation: &Invocation,
        error: InvokeError,
    ) -> Unserved {
        let end = match &error {
            InvokeError::FunctionConcurrency { .. } => CallEnd::FunctionConcurrency,
            InvokeError::AccountConcurrency { .. } => CallEnd::AccountConcurrency,
            InvokeError::HostBusy { .. } => CallEnd::HostBusy,
            InvokeError::Unavailable(_) | InvokeError::EngineUnavailable { .. } => {
                CallEnd::NoInstance
            }
            InvokeError::Stopping => CallEnd::Stopping,
            InvokeError::Changed => CallEnd::Changed,
        };
        let source = records.refused_source(&invocation.version, invocation.engine());
        let mut call = self.record(source, invocation, end);
        call.queued_us = micros(self.accepted.elapsed());
        let unserved = Unserved {
            unkept: Some(Box::new((call, self.received))),
            error,
        };
        match unserved.error {
            InvokeError::Changed => unserved,
            _ => unserved.given_up(records),
        }
    }
}

/// A call that no instance took. Whoever does not begin it anew [gives it up](crate::Invoker::give_up).
#[derive(Debug)]
pub struct Unserved {
    /// Why.
    pub error: InvokeError,
    /// Its record, until it is kept, and when the head of its request came.
    unkept: Option<Box<(CallRecord, Instant)>>,
}

impl Unserved {
    /// One that is counted and recorded, or lost, already.
    pub(crate) fn recorded(error: InvokeError) -> Self {
        Self {
            error,
            unkept: None,
        }
    }

    /// Counts and records that it was refused, if that was not done.
    pub(crate) fn given_up(mut self, records: &Records) -> Self {
        if let Some(unkept) = self.unkept.take() {
            let (call, received) = *unkept;
            records.answered(&call, received.elapsed());
            records.keep(call);
        }
        self
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
