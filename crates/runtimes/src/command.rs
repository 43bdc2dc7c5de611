//! Runs one command of a build: output to the log, progress from it, the last lines into the error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::lock::Lock;

/// How many lines of the log an error carries.
const TAIL_LINES: usize = 15;
/// The end of the log that is looked at for them.
const TAIL_BYTES: u64 = 8 << 10;
/// Begins the line above each step's output.
const HEADING: &str = "== ";
/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{program} could not be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} failed ({status})")]
    Failed { program: String, status: ExitStatus },
    #[error("{path}: {source}", path = path.display())]
    Log { path: PathBuf, source: io::Error },
}

/// The log file of one build.
#[derive(Debug, Clone)]
pub(crate) struct Log(PathBuf);

impl Log {
    /// Begins an empty log.
    pub(crate) fn create(path: PathBuf) -> Result<Log, CommandError> {
        File::create(&path).map_err(|source| CommandError::Log {
            path: path.clone(),
            source,
        })?;
        Ok(Log(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> Result<File, CommandError> {
        OpenOptions::new()
            .append(true)
            .open(&self.0)
            .map_err(|source| CommandError::Log {
                path: self.0.clone(),
                source,
            })
    }

    /// A heading in the log.
    pub(crate) fn line(&self, text: &str) -> Result<(), CommandError> {
        use std::io::Write;
        let mut file = self.open()?;
        writeln!(file, "{HEADING}{text}").map_err(|source| CommandError::Log {
            path: self.0.clone(),
            source,
        })
    }

    /// The last lines that say something, of the step at hand only.
    pub(crate) fn tail(&self) -> Vec<String> {
        let Ok(text) = self.end() else {
            return Vec::new();
        };
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect();
        let heading = lines.iter().rposition(|line| line.starts_with(HEADING));
        let begin = heading.map_or(0, |line| line + 1);
        let from = begin.max(lines.len().saturating_sub(TAIL_LINES));
        lines[from..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }

    /// The last line that says something.
    pub(crate) fn last_line(&self) -> String {
        self.tail().pop().unwrap_or_default()
    }

    fn end(&self) -> io::Result<String> {
        let mut file = File::open(&self.0)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        // Progress bars overwrite their line.
        Ok(String::from_utf8_lossy(&bytes).replace('\r', "\n"))
    }
}

/// Runs `command` to its end. It holds the lock as long as it lives, and is killed when the caller goes away.
pub(crate) async fn run(
    mut command: Command,
    lock: &Lock,
    log: &Log,
    mut tick: impl FnMut(String),
) -> Result<(), CommandError> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let start = |source| CommandError::Start {
        program: program.clone(),
        source,
    };
    let output = log.open()?;
    let errors = output.try_clone().map_err(start)?;
    let mut child = command
        .stdin(lock.stdin().map_err(start)?)
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let mut ticker = tokio::time::interval(TICK);
    ticker.tick().await;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(start)?,
            _ = ticker.tick() => tick(log.last_line()),
        }
    };
    if status.success() {
        Ok(())
    } else {
        Err(CommandError::Failed { program, status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (tempfile::TempDir, Lock, Log) {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::try_take(&folder.path().join("lock"))
            .unwrap()
            .unwrap();
        let log = Log::create(folder.path().join("log")).unwrap();
        (folder, lock, log)
    }

    #[tokio::test]
    async fn output_and_errors_end_up_in_the_log() {
        let (_folder, lock, log) = scene();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = run(command, &lock, &log, |_| ()).await.unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed (exit status: 3)");
        assert_eq!(log.tail(), ["one", "two"]);
    }

    #[tokio::test]
    async fn the_error_carries_only_the_end_of_a_long_log() {
        let (_folder, lock, log) = scene();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "for i in $(seq 2000); do echo line $i; done"]);
        run(command, &lock, &log, |_| ()).await.unwrap();
        assert_eq!(log.tail().len(), TAIL_LINES);
        assert_eq!(log.last_line(), "line 2000");
        log.line("the next step").unwrap();
        assert!(log.tail().is_empty());
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let (_folder, lock, log) = scene();
        let error = run(Command::new("/no/such/program"), &lock, &log, |_| ())
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/no/such/program could not be started"),
            "{error}"
        );
    }
}
