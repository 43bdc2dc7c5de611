//! The log lines of one instance: START, END and REPORT around the output of each call.
//!
//! Output comes over the control stream, answers over the call stream; marks (docs/protocol.md) tell whether output of a finished call is still on its way.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{sync::watch, time::timeout};
use warren_model::{CallRecord, Failure, FailureKind, FunctionName, Outcome, RequestId, Version};
use warren_protocol::{LogRecord, OutputStream};
use warren_telemetry::{
    CallLog, FunctionLogs, LineSplitter, LogLine, Source,
    report::{self, InitPhase, InitReport, Report, Status},
};

pub(crate) struct Recorder {
    logs: FunctionLogs,
    function: FunctionName,
    version: String,
    memory_mb: u32,
    log_stream: Arc<str>,
    state: Mutex<State>,
    /// Bytes of output so far, modulo 2^32.
    mark: watch::Sender<u32>,
}

#[derive(Default)]
struct State {
    /// The call in progress or, between calls, the one before: late output is its own.
    request: Option<RequestId>,
    stdout: LineSplitter,
    stderr: LineSplitter,
    tail: Option<CallLog>,
}

/// What END and REPORT are made of.
pub(crate) struct Closing<'a> {
    pub(crate) record: &'a CallRecord,
    pub(crate) timeout: Duration,
    pub(crate) outcome: &'a Outcome<Bytes>,
    pub(crate) status: Status,
}

impl Recorder {
    pub(crate) fn new(logs: FunctionLogs, version: &Version, log_stream: String) -> Self {
        Self {
            logs,
            function: version.function.clone(),
            version: version.id.to_string(),
            memory_mb: version.config.memory.get(),
            log_stream: log_stream.into(),
            state: Mutex::default(),
            mark: watch::Sender::new(0),
        }
    }

    pub(crate) fn log_stream(&self) -> &str {
        &self.log_stream
    }

    /// A runtime begins; the one before, if any, has ended. Marks count from each runtime's start.
    pub(crate) fn runtime_begins(&self) {
        self.runtime_goes_on(0);
    }

    /// A runtime goes on that had written this much before it was restored, as [`mark`](Self::mark) said then.
    pub(crate) fn runtime_goes_on(&self, mark: u32) {
        self.finish_lines(&mut self.lock());
        self.mark.send_replace(mark);
    }

    /// Bytes of output that came so far.
    pub(crate) fn mark(&self) -> u32 {
        *self.mark.borrow()
    }

    /// A call begins; its lines are gathered as well if the caller wants the tail.
    pub(crate) fn begin(&self, request: &RequestId, tail: bool) {
        let mut state = self.lock();
        state.request = Some(request.clone());
        state.tail = tail.then(CallLog::default);
        self.platform(&mut state, report::start(request, &self.version));
    }

    /// Output of the runtime, as it came.
    pub(crate) fn output(&self, record: &LogRecord, mark: u32) {
        let mut state = self.lock();
        let mut lines = Vec::new();
        let source = match record.stream {
            OutputStream::Stdout => {
                state.stdout.push(&record.output, |line| lines.push(line));
                Source::Stdout
            }
            OutputStream::Stderr => {
                state.stderr.push(&record.output, |line| lines.push(line));
                Source::Stderr
            }
        };
        for line in lines {
            self.line(&mut state, source, line);
        }
        drop(state);
        self.mark.send_replace(mark);
    }

    /// Waits until output up to this mark has come, at most this long. The mark is the sandbox's word: a wrong one costs only the wait.
    pub(crate) async fn reached(&self, mark: u32, limit: Duration) {
        let there = |seen: &u32| seen.wrapping_sub(mark) < u32::MAX / 2;
        if there(&self.mark.borrow()) {
            return;
        }
        let mut seen = self.mark.subscribe();
        // Late output is written when it comes.
        let _ = timeout(limit, seen.wait_for(there)).await;
    }

    /// A call has ended: its last lines, and its tail if it was gathered.
    pub(crate) fn end(&self, call: &Closing<'_>) -> Option<Vec<u8>> {
        let request = &call.record.request;
        let mut state = self.lock();
        self.finish_lines(&mut state);
        if let Outcome::Failed(failure) = call.outcome {
            self.failure(&mut state, request, call, failure);
        }
        self.platform(&mut state, report::end(request));
        let report = Report::of(call.record, self.memory_mb, call.status.clone());
        self.platform(&mut state, report.line());
        state.tail.take().map(|tail| tail.into_tail().into())
    }

    /// The call that began did not reach the runtime, which had ended: another instance begins it anew.
    pub(crate) fn not_taken(&self, request: &RequestId) {
        let mut state = self.lock();
        self.finish_lines(&mut state);
        let text = format!(
            "RequestId: {request} The runtime had ended before this call; another instance takes it."
        );
        self.platform(&mut state, text);
        state.tail = None;
    }

    /// Init failed, before a call or again inside one.
    pub(crate) fn init_failed(&self, phase: InitPhase, duration: Duration, status: Status) {
        let mut state = self.lock();
        self.finish_lines(&mut state);
        let line = InitReport {
            duration,
            phase,
            status,
        };
        self.platform(&mut state, line.line());
    }

    /// What the network refused, told some seconds later: of no call that is known.
    pub(crate) fn refused(&self, text: String) {
        let line = LogLine::platform(
            SystemTime::now(),
            None,
            Some(Arc::clone(&self.log_stream)),
            text,
        );
        self.logs.append(&self.function, line);
    }

    /// What happened, between START and END.
    fn failure(
        &self,
        state: &mut State,
        request: &RequestId,
        call: &Closing<'_>,
        failure: &Failure,
    ) {
        let text = match failure.kind {
            FailureKind::TimedOut => {
                report::timed_out(SystemTime::now().into(), request, call.timeout)
            }
            _ => failure.message.clone(),
        };
        self.platform(state, text);
        if failure.kind == FailureKind::Exited {
            self.platform(state, failure.error_type.clone());
        }
    }

    /// Lines that the call began and did not end.
    fn finish_lines(&self, state: &mut State) {
        if let Some(line) = state.stdout.finish() {
            self.line(state, Source::Stdout, line);
        }
        if let Some(line) = state.stderr.finish() {
            self.line(state, Source::Stderr, line);
        }
    }

    fn platform(&self, state: &mut State, text: String) {
        self.line(state, Source::Platform, text.into());
    }

    fn line(&self, state: &mut State, source: Source, text: Bytes) {
        if let Some(tail) = &mut state.tail {
            tail.push(&text);
        }
        // The host's clock: the sandbox's could be set by nobody, but need not be believed.
        let mut line = LogLine::platform(
            SystemTime::now(),
            state.request.clone(),
            Some(Arc::clone(&self.log_stream)),
            String::new(),
        );
        line.source = source;
        line.text = text;
        self.logs.append(&self.function, line);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}
