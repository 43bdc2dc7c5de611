use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;

use super::failure::Failure;

/// How a command prints.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Whether JSON was asked for.
    pub(super) fn json(self) -> bool {
        self.json
    }

    /// Prints a value as JSON, or as text for people.
    pub(super) fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.json {
            true => {
                let json = serde_json::to_string_pretty(value)
                    .map_err(|error| Failure::failed(error.to_string()))?;
                line(&json)
            }
            false => line(&text(value)),
        }
    }
}

/// Prints a line, or several, to the standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut bytes = text.trim_end_matches('\n').as_bytes().to_vec();
    bytes.push(b'\n');
    raw(&bytes)
}

/// Prints bytes to the standard output; a reader that went away (`| head`) is no failure.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Whether somebody watches: then progress is shown, and questions are asked.
pub(super) fn on_terminal() -> bool {
    io::stderr().is_terminal()
}
