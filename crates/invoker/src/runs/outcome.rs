use std::time::Duration;

use warren_model::native::{NOT_THE_PROGRAM, RunEnd, RunOutcome};
use warren_protocol::Exited;
use warren_runtimes::Recipe;

use super::RunRequest;

/// As timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// 128 and SIGKILL's number.
const KILLED: u8 = 137;
/// The signal that the kernel ends a process with for memory.
const SIGKILL: i32 = 9;
/// What is said where output is missing, whatever else is.
const CUT: &str = "The last of its output may be missing: it did not come through in time.";

/// Why an exchange is over.
#[derive(Debug)]
pub(super) enum Cause {
    /// The program ended, or could not be started.
    Exited(Exited),
    /// The time was over.
    Deadline,
    /// It wrote more than its limit.
    Output,
    /// The client is gone.
    Abandoned,
    /// The agent ended or broke the protocol, or its streams failed.
    Lost(String),
}

/// An exchange that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) cause: Cause,
    /// Whether a process in the sandbox was killed for memory.
    pub(super) memory_killed: bool,
    /// Whether the last of the output may be missing, for another reason than its limit.
    pub(super) cut: bool,
    pub(super) duration: Duration,
    pub(super) peak_bytes: u64,
}

impl Ended {
    /// What the client is told.
    pub(super) fn told(&self, request: &RunRequest, recipe: &Recipe, start: Duration) -> RunEnd {
        let (outcome, exit_status, message) = self.judge(request);
        let words = [message, self.cut.then(|| CUT.to_owned())];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        RunEnd {
            outcome,
            exit_status,
            message: (!words.is_empty()).then(|| words.join(" ")),
            duration_ms: millis(self.duration),
            start_ms: millis(start),
            memory_used_mb: self.peak_bytes.div_ceil(1 << 20),
            engine: request.config.engine.to_string(),
            runtime: recipe.id.clone(),
        }
    }

    fn judge(&self, request: &RunRequest) -> (RunOutcome, u8, Option<String>) {
        let config = &request.config;
        let memory = config.memory.get();
        let out_of_memory = || {
            let message = format!(
                "It needed more than its {memory} MB of memory and was killed. memory_mb (--memory) gives it more."
            );
            (RunOutcome::OutOfMemory, KILLED, Some(message))
        };
        match &self.cause {
            // A shell reports the end of its last child as its own.
            Cause::Exited(Exited::Signal(SIGKILL) | Exited::Code(137)) | Cause::Lost(_)
                if self.memory_killed =>
            {
                out_of_memory()
            }
            Cause::Exited(Exited::Code(code)) => {
                let status = u8::try_from(*code).unwrap_or(u8::MAX);
                let message = self.memory_killed.then(|| format!(
                    "A process of it needed more than the {memory} MB of memory and was killed. memory_mb (--memory) gives it more."
                ));
                (RunOutcome::Exited, status, message)
            }
            Cause::Exited(Exited::Signal(signal)) => {
                let status = u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX);
                let message = format!("It was ended by signal {signal}.");
                (RunOutcome::Signaled, status, Some(message))
            }
            Cause::Exited(Exited::Spawn(why)) => (
                RunOutcome::Failed,
                NOT_THE_PROGRAM,
                Some(format!("The program could not be started: {why}.")),
            ),
            Cause::Deadline => {
                let message = format!(
                    "It was still running after {} s, its time limit, and was ended. timeout_s (--timeout) gives it more, up to 900.",
                    config.timeout.get()
                );
                (RunOutcome::TimedOut, TIMED_OUT, Some(message))
            }
            Cause::Output => {
                let message = format!(
                    "It wrote more than {} bytes, its limit of output, and was ended. max_output_bytes (--max-output) allows more.",
                    request.max_output
                );
                (RunOutcome::TooMuchOutput, NOT_THE_PROGRAM, Some(message))
            }
            Cause::Abandoned => (RunOutcome::Abandoned, NOT_THE_PROGRAM, None),
            Cause::Lost(why) => (
                RunOutcome::Failed,
                NOT_THE_PROGRAM,
                Some(format!("Its sandbox ended before it did: {why}.")),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use warren_model::{Config, Timeout};
    use warren_runtimes::Catalogue;

    use super::*;

    fn request() -> RunRequest {
        RunRequest {
            config: Config {
                runtime: "python3.13".to_owned(),
                handler: "run".to_owned(),
                role: String::new(),
                description: String::new(),
                timeout: Timeout::new(7).unwrap(),
                memory: Default::default(),
                ephemeral_storage: Default::default(),
                environment: Default::default(),
                engine: Default::default(),
                network: Default::default(),
                snap_start: false,
                inert: Default::default(),
            },
            zip: Bytes::new(),
            entry: "main.py".to_owned(),
            args: Vec::new(),
            environment: BTreeMap::new(),
            max_output: 99,
        }
    }

    fn ended(cause: Cause, memory_killed: bool, cut: bool) -> Ended {
        Ended {
            cause,
            memory_killed,
            cut,
            duration: Duration::ZERO,
            peak_bytes: 0,
        }
    }

    fn judged(cause: Cause, memory_killed: bool) -> (RunOutcome, u8, String) {
        let (outcome, status, message) = ended(cause, memory_killed, false).judge(&request());
        (outcome, status, message.unwrap_or_default())
    }

    #[test]
    fn whatever_the_end_missing_output_is_told() {
        let catalogue = Catalogue::built_in().unwrap();
        let recipe = catalogue.resolve("python3.13").unwrap().recipe;
        for (cause, words) in [
            (Cause::Exited(Exited::Code(0)), ""),
            (Cause::Exited(Exited::Signal(11)), "signal 11. "),
            (Cause::Deadline, "--timeout"),
            (Cause::Output, "--max-output"),
            (
                Cause::Lost("its agent is gone".to_owned()),
                "agent is gone. ",
            ),
        ] {
            let ended = ended(cause, false, true);
            let message = ended.told(&request(), &recipe, Duration::ZERO).message;
            let message = message.unwrap();
            assert!(message.contains(words), "{message}");
            assert!(message.ends_with(CUT), "{message}");
        }
        let whole = ended(Cause::Exited(Exited::Code(0)), false, false);
        let told = whole.told(&request(), &recipe, Duration::ZERO);
        assert_eq!(told.message, None);
    }

    #[test]
    fn limits_are_named_with_their_flag() {
        for (cause, memory_killed, outcome, status, words) in [
            (
                Cause::Deadline,
                false,
                RunOutcome::TimedOut,
                124,
                "after 7 s",
            ),
            (
                Cause::Deadline,
                false,
                RunOutcome::TimedOut,
                124,
                "--timeout",
            ),
            (
                Cause::Output,
                false,
                RunOutcome::TooMuchOutput,
                125,
                "99 bytes",
            ),
            (
                Cause::Output,
                false,
                RunOutcome::TooMuchOutput,
                125,
                "--max-output",
            ),
            (
                Cause::Exited(Exited::Signal(9)),
                true,
                RunOutcome::OutOfMemory,
                137,
                "128 MB of memory",
            ),
            (
                Cause::Lost("gone".to_owned()),
                true,
                RunOutcome::OutOfMemory,
                137,
                "--memory",
            ),
            (
                Cause::Exited(Exited::Code(137)),
                true,
                RunOutcome::OutOfMemory,
                137,
                "--memory",
            ),
            (
                Cause::Exited(Exited::Code(1)),
                true,
                RunOutcome::Exited,
                1,
                "A process of it",
            ),
            (
                Cause::Exited(Exited::Code(3)),
                false,
                RunOutcome::Exited,
                3,
                "",
            ),
            (
                Cause::Exited(Exited::Code(-1)),
                false,
                RunOutcome::Exited,
                255,
                "",
            ),
            (
                Cause::Exited(Exited::Signal(11)),
                false,
                RunOutcome::Signaled,
                139,
                "signal 11",
            ),
            (
                Cause::Exited(Exited::Signal(9)),
                false,
                RunOutcome::Signaled,
                137,
                "signal 9",
            ),
            (
                Cause::Exited(Exited::Spawn("exec".to_owned())),
                false,
                RunOutcome::Failed,
                125,
                "exec",
            ),
        ] {
            let name = format!("{cause:?} {memory_killed}");
            let (found, code, message) = judged(cause, memory_killed);
            assert_eq!((found, code), (outcome, status), "{name}");
            assert!(message.contains(words), "{name}: {message}");
        }
    }
}
