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

    /// Records that the call is refused. One whose version was replaced is begun anew by the caller, and recorded then.
    pub(crate) fn refused(&self, records: &Records, invocation: &Invocation, error: &InvokeError) {
        let end = match error {
            InvokeError::FunctionConcurrency { .. } => CallEnd::FunctionConcurrency,
            InvokeError::AccountConcurrency { .. } => CallEnd::AccountConcurrency,
            InvokeError::HostBusy { .. } => CallEnd::HostBusy,
            InvokeError::Unavailable(_) | InvokeError::EngineUnavailable { .. } => {
                CallEnd::NoInstance
            }
            InvokeError::Stopping => CallEnd::Stopping,
            InvokeError::Changed => return,
        };
        let source = records.refused_source(&invocation.version);
        let mut call = self.record(source, invocation, end);
        call.queued_us = micros(self.accepted.elapsed());
        records.answered(&call, self.received.elapsed());
        records.keep(call);
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
