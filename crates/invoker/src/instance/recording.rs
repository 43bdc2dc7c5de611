//! The record of a call that an instance ran.

use std::time::Duration;

use tokio::time::Instant;
use warren_model::{CallEnd, CallRecord, Outcome};
use warren_protocol::ErrorObject;
use warren_telemetry::report::Status;

use super::{Ended, Instance, opening::waited};
use crate::{
    Invocation,
    arrival::{Arrival, micros},
};

/// Longest error object that its type is read from, in bytes: those of handlers are far shorter, and reading takes time.
const MAX_ERROR: usize = 64 << 10;
/// Longest type of an error that is kept, in characters: it is the function's own text.
const MAX_ERROR_TYPE: usize = 256;

impl Instance {
    /// What is known when the answer is there, which is now. The call ran since `begin`.
    pub(super) fn record(
        &mut self,
        arrival: &Arrival,
        invocation: &Invocation,
        begin: Instant,
        ended: &Ended,
    ) -> CallRecord {
        let timeout = self.pool.version.config.timeout.duration();
        let duration = begin.elapsed().min(timeout);
        let waited = waited(self.opening.take(), arrival.accepted, begin);
        let again = self.init_again.take().map(|again| again.min(timeout));
        let handler = duration.saturating_sub(again.unwrap_or_default());
        CallRecord {
            queued_us: micros(waited.queued),
            wait: waited.kind,
            wait_us: micros(waited.wait),
            init_us: micros(waited.init),
            init_again_us: again.map(micros),
            instance_init_us: self.init.take().map(micros),
            // Without Init, no event was handed over.
            handler_us: self.ready.then_some(micros(handler)),
            bytes_out: match &ended.outcome {
                Outcome::Answer(body) | Outcome::Error(body) => body.len() as u64,
                Outcome::Failed(_) => 0,
            },
            ..arrival.record(self.source.clone(), invocation, end(ended))
        }
    }

    /// Takes the last figures into the record, after the answer where nobody waits for them.
    pub(super) fn measure(&mut self, record: &mut CallRecord, ended: &Ended) {
        record.error_type = error_type(ended);
        let duration = Duration::from_micros(record.duration_us());
        let used = self.gauge.at_call_end(self.sandbox.as_ref(), duration);
        let limit = self.pool.version.config.memory.bytes();
        record.cpu = used.cpu;
        record.peak_bytes = match ended.memory_killed {
            true => Some(limit),
            // Peaks of several processes may lie at different times.
            false => used.peak_bytes.map(|peak| peak.min(limit)),
        };
    }
}

fn end(ended: &Ended) -> CallEnd {
    match &ended.outcome {
        Outcome::Answer(_) => CallEnd::Answer,
        Outcome::Error(_) => CallEnd::Error,
        Outcome::Failed(_) if ended.memory_killed => CallEnd::OutOfMemory,
        Outcome::Failed(failure) => failure.kind.into(),
    }
}

/// Lambda's `errorType`, if there is one: without control characters, as databases and terminals don't take all of them.
fn error_type(ended: &Ended) -> Option<String> {
    let text = match (&ended.outcome, &ended.status) {
        (Outcome::Answer(_), _) => return None,
        (Outcome::Failed(failure), _) => failure.error_type.clone(),
        (Outcome::Error(_), Status::Error(kind)) => kind.clone(),
        (Outcome::Error(body), _) if body.len() > MAX_ERROR => return None,
        (Outcome::Error(body), _) => ErrorObject::parse(body)?.error_type,
    };
    let shown = text.chars().filter(|c| !c.is_control());
    let cut: String = shown.take(MAX_ERROR_TYPE).collect();
    (!cut.is_empty()).then_some(cut)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn ended(outcome: Outcome<Bytes>, status: Status) -> Ended {
        Ended {
            outcome,
            mark: None,
            reusable: false,
            memory_killed: false,
            status,
        }
    }

    #[test]
    fn the_type_of_an_error_is_the_function_s_and_bounded() {
        let of = |body: String| {
            let body = Outcome::Error(Bytes::from(body));
            error_type(&ended(body, Status::Success))
        };
        let object = |kind: &str| format!("{{\"errorType\":\"{kind}\",\"errorMessage\":\"\"}}");
        assert_eq!(of(object("ValueError")).as_deref(), Some("ValueError"));
        assert_eq!(of(object("")), None);
        // Escapes of JSON: NUL, an escape sequence, a line.
        let hidden = object("a\\u0000b\\u001b[2J\\nc\\u0085");
        assert_eq!(of(hidden).as_deref(), Some("ab[2Jc"));
        assert_eq!(of(object("\\u0000")), None);
        assert_eq!(of("no object".to_owned()), None);
        assert_eq!(of(object(&"x".repeat(MAX_ERROR))), None);
        let long = of(object(&"\u{e4}".repeat(1_000))).unwrap();
        assert_eq!(long.chars().count(), MAX_ERROR_TYPE);
        let init = ended(
            Outcome::Error(Bytes::new()),
            Status::Error("Runtime.ImportModuleError".to_owned()),
        );
        assert_eq!(
            error_type(&init).as_deref(),
            Some("Runtime.ImportModuleError")
        );
    }
}
