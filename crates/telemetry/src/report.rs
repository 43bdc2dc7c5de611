//! Lambda's own log lines, in the words that it writes today and that log tools search for. A line's text has no line feed at its end.
//!
//! Source: "Understanding the Lambda execution environment lifecycle" in the developer guide, and lines recorded from CloudWatch Logs since the `Status` field came (2025).

use std::{fmt, time::Duration};

use warren_model::{CallRecord, RequestId, Timestamp};

/// `START RequestId: ... Version: $LATEST`.
pub fn start(request: &RequestId, version: impl fmt::Display) -> String {
    format!("START RequestId: {request} Version: {version}")
}

/// `END RequestId: ...`.
pub fn end(request: &RequestId) -> String {
    format!("END RequestId: {request}")
}

/// `2026-11-24T10:22:45.000Z ... Task timed out after 3.00 seconds`, between START and END.
pub fn timed_out(now: Timestamp, request: &RequestId, timeout: Duration) -> String {
    format!("{} {request} {}", now.rfc3339(), task_timed_out(timeout))
}

/// `Task timed out after 3.00 seconds`, which the caller's error message ends with, too.
pub fn task_timed_out(timeout: Duration) -> String {
    format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
}

/// `RequestId: ... Error: Runtime exited with error: exit status 1`, and the error type on a second line, between START and END.
pub fn exited(request: &RequestId, exit: &Exit) -> String {
    format!("{}\n{}", exit.message(request), Exit::ERROR_TYPE)
}

/// How the runtime's process ended, in Lambda's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with status 0.
    Unexplained,
    /// By itself, with this status.
    Status(i32),
    /// By a signal, named as Go's `os.Signal` prints it: `killed`, `segmentation fault`.
    Signal(String),
}

impl Exit {
    /// Lambda's `errorType` for it.
    pub const ERROR_TYPE: &str = "Runtime.ExitError";

    /// Lambda's `errorMessage` for it.
    pub fn message(&self, request: &RequestId) -> String {
        format!("RequestId: {request} Error: {self}")
    }

    /// From the number of a signal.
    pub fn signal(number: i32) -> Self {
        let name = match number {
            1 => "hangup",
            2 => "interrupt",
            3 => "quit",
            4 => "illegal instruction",
            5 => "trace/breakpoint trap",
            6 => "aborted",
            7 => "bus error",
            8 => "floating point exception",
            9 => "killed",
            10 => "user defined signal 1",
            11 => "segmentation fault",
            12 => "user defined signal 2",
            13 => "broken pipe",
            14 => "alarm clock",
            15 => "terminated",
            24 => "CPU time limit exceeded",
            25 => "file size limit exceeded",
            31 => "bad system call",
            _ => return Self::Signal(format!("signal {number}")),
        };
        Self::Signal(name.to_owned())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexplained | Self::Status(0) => {
                f.write_str("Runtime exited without providing a reason")
            }
            Self::Status(status) => write!(f, "Runtime exited with error: exit status {status}"),
            Self::Signal(name) => write!(f, "Runtime exited with error: signal: {name}"),
        }
    }
}

/// How an invocation or an Init ended, in the last fields of its line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// By an answer, also by an error that the handler raised: nothing is written.
    #[default]
    Success,
    /// `Status: timeout`.
    Timeout,
    /// `Status: error`, and the `Error Type` that the platform saw, such as `Runtime.ExitError` or `Runtime.OutOfMemory`.
    Error(String),
}

impl Status {
    fn append(&self, line: &mut String) {
        match self {
            Self::Success => {}
            Self::Timeout => line.push_str("Status: timeout"),
            Self::Error(kind) => {
                line.push_str("Status: error\tError Type: ");
                line.push_str(kind);
            }
        }
    }
}

/// The REPORT line of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    /// The invocation.
    pub request: &'a RequestId,
    /// From the event's hand-over to the answer; an Init that ran again inside is part of it.
    pub duration: Duration,
    /// Configured memory, in MB.
    pub memory_mb: u32,
    /// Most memory that the instance has used so far, in bytes.
    pub used_bytes: u64,
    /// Duration of the Init that this invocation waited for, if it was the first of its instance.
    pub init: Option<Duration>,
    /// How it ended.
    pub status: Status,
}

impl<'a> Report<'a> {
    /// Of a call's record.
    pub fn of(record: &'a CallRecord, memory_mb: u32, status: Status) -> Self {
        Self {
            request: &record.request,
            duration: Duration::from_micros(record.duration_us()),
            memory_mb,
            used_bytes: record.peak_bytes.unwrap_or(0),
            init: record.instance_init_us.map(Duration::from_micros),
            status,
        }
    }

    /// Milliseconds that Lambda would bill: duration and Init (since August 2025), rounded up together.
    pub fn billed_ms(&self) -> u64 {
        let billed = self.duration.saturating_add(self.init.unwrap_or_default());
        u64::try_from(billed.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Most memory used as the line shows it, in MB: rounded up, and not over what was configured.
    pub fn used_mb(&self) -> u64 {
        self.used_bytes
            .div_ceil(1 << 20)
            .min(u64::from(self.memory_mb))
    }

    /// The line. Its fields are separated by tabs; without a status it ends with one, as Lambda's does.
    pub fn line(&self) -> String {
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
            self.request,
            Millis(self.duration),
            self.billed_ms(),
            self.memory_mb,
            self.used_mb(),
        );
        if let Some(init) = self.init {
            line.push_str(&format!("Init Duration: {} ms\t", Millis(init)));
        }
        self.status.append(&mut line);
        line
    }
}

/// When an Init ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitPhase {
    /// Before the first invocation.
    Init,
    /// Again, inside an invocation.
    Invoke,
}

/// The INIT_REPORT line, which is written only for an Init that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitReport {
    /// How long it ran.
    pub duration: Duration,
    /// When.
    pub phase: InitPhase,
    /// How it ended.
    pub status: Status,
}

impl InitReport {
    /// The line.
    pub fn line(&self) -> String {
        let phase = match self.phase {
            InitPhase::Init => "init",
            InitPhase::Invoke => "invoke",
        };
        let mut line = format!(
            "INIT_REPORT Init Duration: {} ms\tPhase: {phase}\t",
            Millis(self.duration)
        );
        self.status.append(&mut line);
        line.truncate(line.trim_end_matches('\t').len());
        line
    }
}

/// Milliseconds with two digits after the point, rounded.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0.as_nanos() + 5_000) / 10_000;
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn id() -> RequestId {
        RequestId::new("8f5c")
    }

    #[test]
    fn start_end_and_report_of_a_warm_call() {
        assert_eq!(
            start(&id(), "$LATEST"),
            "START RequestId: 8f5c Version: $LATEST"
        );
        assert_eq!(end(&id()), "END RequestId: 8f5c");
        let report = Report {
            request: &id(),
            duration: 1_234 * MICRO,
            memory_mb: 128,
            used_bytes: 33 << 20 | 1,
            init: None,
            status: Status::Success,
        };
        assert_eq!(
            report.line(),
            "REPORT RequestId: 8f5c\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 34 MB\t"
        );
    }

    #[test]
    fn init_is_billed() {
        let report = Report {
            request: &id(),
            duration: 3_000_000 * MICRO,
            memory_mb: 128,
            used_bytes: 35 << 20,
            init: Some(67_490 * MICRO),
            status: Status::Timeout,
        };
        // The figures of a line recorded in September 2025.
        assert_eq!(
            report.line(),
            "REPORT RequestId: 8f5c\tDuration: 3000.00 ms\tBilled Duration: 3068 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB\tInit Duration: 67.49 ms\tStatus: timeout"
        );
    }

    #[test]
    fn an_error_names_its_type() {
        let report = Report {
            request: &id(),
            duration: 8_948_730 * MICRO,
            memory_mb: 2048,
            used_bytes: 3 << 30,
            init: None,
            status: Status::Error("Runtime.OutOfMemory".to_owned()),
        };
        assert_eq!(
            report.line(),
            "REPORT RequestId: 8f5c\tDuration: 8948.73 ms\tBilled Duration: 8949 ms\tMemory Size: 2048 MB\tMax Memory Used: 2048 MB\tStatus: error\tError Type: Runtime.OutOfMemory"
        );
    }

    #[test]
    fn billing_rounds_up_once() {
        let billed = |duration: u32, init: Option<u32>| {
            Report {
                request: &id(),
                duration: duration * MICRO,
                memory_mb: 128,
                used_bytes: 0,
                init: init.map(|init| init * MICRO),
                status: Status::Success,
            }
            .billed_ms()
        };
        assert_eq!(billed(1, None), 1);
        assert_eq!(billed(1_000, None), 1);
        assert_eq!(billed(1_001, None), 2);
        assert_eq!(billed(400, Some(400)), 1);
    }

    #[test]
    fn durations_are_rounded_to_two_digits() {
        for (micros, text) in [
            (0, "0.00"),
            (4, "0.00"),
            (5, "0.01"),
            (999_994, "999.99"),
            (999_995, "1000.00"),
        ] {
            assert_eq!(Millis(micros * MICRO).to_string(), text);
        }
    }

    #[test]
    fn init_reports() {
        let report = |phase, status| {
            InitReport {
                duration: 10_000_090 * MICRO,
                phase,
                status,
            }
            .line()
        };
        assert_eq!(
            report(InitPhase::Init, Status::Timeout),
            "INIT_REPORT Init Duration: 10000.09 ms\tPhase: init\tStatus: timeout"
        );
        assert_eq!(
            report(
                InitPhase::Invoke,
                Status::Error("Runtime.ExitError".to_owned())
            ),
            "INIT_REPORT Init Duration: 10000.09 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError"
        );
        assert_eq!(
            report(InitPhase::Init, Status::Success),
            "INIT_REPORT Init Duration: 10000.09 ms\tPhase: init"
        );
    }

    #[test]
    fn time_outs_and_exits() {
        assert_eq!(
            timed_out(
                Timestamp::from_millis(1_795_515_765_000),
                &id(),
                Duration::from_secs(1)
            ),
            "2026-11-24T10:22:45.000Z 8f5c Task timed out after 1.00 seconds"
        );
        assert_eq!(
            exited(&id(), &Exit::signal(9)),
            "RequestId: 8f5c Error: Runtime exited with error: signal: killed\nRuntime.ExitError"
        );
        assert_eq!(
            Exit::Status(1).message(&id()),
            "RequestId: 8f5c Error: Runtime exited with error: exit status 1"
        );
        assert_eq!(
            Exit::Status(0).message(&id()),
            "RequestId: 8f5c Error: Runtime exited without providing a reason"
        );
    }
}
