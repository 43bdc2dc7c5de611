//! One-shot runs: what is asked for, how it is answered, and the frames of an answer that streams.
//!
//! A request is either JSON (a [`RunSpec`], its input within), or [`RUN_TYPE`]: the [`RunSpec`] as JSON on one line, a line feed, and then the program's
//! standard input to the end of the body, byte for byte. An answer is a [`RunResult`] as JSON, or [`RUN_TYPE`] where the client accepts that: frames of
//! one byte of kind, four bytes of length (big-endian) and the payload.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CodeSpec;

/// The media type of requests and answers that stream.
pub const RUN_TYPE: &str = "application/vnd.warren.run";
/// Bytes before the payload of a frame.
pub const RUN_FRAME_HEADER: usize = 5;
/// Most payload bytes of a frame.
pub const MAX_RUN_FRAME: usize = 1 << 20;
/// Most output, both streams together, of a run whose answer streams and whose request does not say, in bytes.
pub const DEFAULT_RUN_OUTPUT: u64 = 64 << 20;
/// Most output of a run whose answer is one JSON document, in bytes: it is held in memory until the end.
pub const MAX_RUN_OUTPUT_JSON: u64 = 6 << 20;
/// The exit status where not the program but what runs it ended the run or failed, as `docker run` has it.
pub const NOT_THE_PROGRAM: u8 = 125;
/// The largest output that a request may ask for, in bytes.
pub const MAX_RUN_OUTPUT: u64 = 16 << 30;

/// A program to run once. What is absent takes its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// An id of `GET /runtimes`, or one that a runtime there stands in for; by default the newest one for the entry's ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "python3.13")]
    pub runtime: Option<String>,
    /// The file that is run; needed where the code is more than one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "main.py")]
    pub entry: Option<String>,
    /// The code, which is at `/var/task`, read-only; also the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeSpec>,
    /// Arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The isolation that runs it: a name of `GET /engines`; the server's default engine by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "docker")]
    pub engine: Option<String>,
    /// Memory limit and processor share, in MiB: 128 to 10240; 128 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<i64>,
    /// Longest time, in seconds: 1 to 900; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<i64>,
    /// Size of `/tmp`, in MiB: 512 to 10240; 512 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_mb: Option<i64>,
    /// What it may reach: `none`, `internet` (the default where the machine can enforce it), or `allow:` with destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "none")]
    pub network: Option<String>,
    /// Most bytes of output, both streams together; 64 MiB by default, 6 MiB where the answer is one JSON document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    /// Its standard input, as text. Only in a request of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Its standard input, in base64. Only in a request of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_base64: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// The program ended by itself; `exit_status` is its own.
    Exited,
    /// A signal ended the program; `exit_status` is 128 and the signal's number.
    Signaled,
    /// It was still running at its time limit; `exit_status` is 124.
    TimedOut,
    /// It used more than its memory; `exit_status` is 137.
    OutOfMemory,
    /// It wrote more than its limit of output; `exit_status` is 125.
    TooMuchOutput,
    /// The client went away; nobody reads this. `exit_status` is 125.
    Abandoned,
    /// Warren or its engine failed, or the program could not be started; `exit_status` is 125.
    Failed,
}

impl RunOutcome {
    /// Whether the program ended by itself or by a signal, and not by a limit or a fault of Warren's.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Exited | Self::Signaled)
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// How it ended.
    pub outcome: RunOutcome,
    /// The program's own, 0 to 255, or what stands for the outcome.
    pub exit_status: u8,
    /// What happened, with the limit and the next step, where it did not simply exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Milliseconds that the program ran, by the host's clock.
    pub duration_ms: f64,
    /// Milliseconds before: waiting for room and the start of the sandbox.
    pub start_ms: f64,
    /// The most memory that it was seen to use, in MiB, by the host's figures.
    pub memory_used_mb: u64,
    /// What ran it.
    pub engine: String,
    /// What it ran on.
    pub runtime: String,
}

/// A run that ended, and its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunResult {
    /// Its standard output as text; where that is no UTF-8, with replacement characters.
    pub stdout: String,
    /// Its standard output in base64, only where it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// Its standard error as text, with replacement characters where it is no UTF-8.
    pub stderr: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: RunEnd,
}

impl RunResult {
    /// The result of a run that wrote these bytes.
    pub fn of(stdout: Vec<u8>, stderr: &[u8], end: RunEnd) -> Self {
        let (stdout, stdout_base64) = match String::from_utf8(stdout) {
            Ok(text) => (text, None),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                (text, Some(STANDARD.encode(error.as_bytes())))
            }
        };
        Self {
            stdout,
            stdout_base64,
            stderr: String::from_utf8_lossy(stderr).into_owned(),
            end,
        }
    }
}

/// What a frame of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RunFrame {
    /// Bytes of the standard output.
    Stdout = 1,
    /// Bytes of the standard error.
    Stderr = 2,
    /// Nothing happened; empty. Comes each second, so that both sides notice when the other is gone.
    Alive = 3,
    /// A [`RunEnd`] as JSON; the last frame.
    End = 4,
}

impl RunFrame {
    /// The header before a payload of this length.
    pub fn header(self, length: usize) -> [u8; RUN_FRAME_HEADER] {
        let [a, b, c, d] = (length as u32).to_be_bytes();
        [self as u8, a, b, c, d]
    }

    /// Reads a header: the kind and the length of the payload.
    pub fn parse(header: [u8; RUN_FRAME_HEADER]) -> Result<(Self, usize), BadRunFrame> {
        let [kind, a, b, c, d] = header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let known = [Self::Stdout, Self::Stderr, Self::Alive, Self::End];
        match known.into_iter().find(|frame| *frame as u8 == kind) {
            Some(frame) if length <= MAX_RUN_FRAME => Ok((frame, length)),
            _ => Err(BadRunFrame { kind, length }),
        }
    }
}

/// A frame that this version does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of kind {kind} and {length} bytes")]
pub struct BadRunFrame {
    kind: u8,
    length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back() {
        for frame in [
            RunFrame::Stdout,
            RunFrame::Stderr,
            RunFrame::Alive,
            RunFrame::End,
        ] {
            assert_eq!(RunFrame::parse(frame.header(513)), Ok((frame, 513)));
        }
        assert!(RunFrame::parse([9, 0, 0, 0, 0]).is_err());
        assert!(RunFrame::parse([1, 0xff, 0, 0, 0]).is_err());
    }

    #[test]
    fn output_that_is_no_text_comes_in_base64_as_well() {
        let end = RunEnd {
            outcome: RunOutcome::Exited,
            exit_status: 0,
            message: None,
            duration_ms: 1.0,
            start_ms: 1.0,
            memory_used_mb: 1,
            engine: String::new(),
            runtime: String::new(),
        };
        // A replacement character that the program wrote itself is text.
        for (stdout, text, base64) in [
            ("h\u{fffd}".as_bytes(), "h\u{fffd}", None),
            (b"h\xff", "h\u{fffd}", Some("aP8=")),
            (b"", "", None),
        ] {
            let result = RunResult::of(stdout.to_vec(), b"e\xff", end.clone());
            assert_eq!(result.stdout, text);
            assert_eq!(result.stdout_base64.as_deref(), base64);
            assert_eq!(result.stderr, "e\u{fffd}");
        }
    }

    #[test]
    fn misspelt_members_are_refused() {
        let error = serde_json::from_str::<RunSpec>(r#"{"timeout":3}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `timeout`"),
            "{error}"
        );
        assert_eq!(serde_json::to_string(&RunSpec::default()).unwrap(), "{}");
    }
}
