use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to the agent's own standard error, which the engine keeps beside the instance. A full or closed pipe is no reason to fail.
pub(crate) fn report(message: impl Display) {
    let _ = writeln!(io::stderr(), "warren-agent: {message}");
}
