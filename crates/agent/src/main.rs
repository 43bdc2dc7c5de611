#![doc = include_str!("../README.md")]

mod channel;
mod child;
mod control;
mod deadline;
mod descriptors;
mod filter;
mod frames;
mod hardening;
mod launch;
mod loopback;
mod outbox;
mod output;
mod program;
mod readiness;
mod report;
mod runtime;
mod runtime_api;
mod signals;
mod stand_in;
mod supervisor;
mod threads;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use warren_protocol::CHANNEL_FOLDER;

use crate::channel::Channel;
use crate::report::report;
use crate::supervisor::Supervisor;

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(CHANNEL_FOLDER), PathBuf::from);
    let Err(error) = run(folder);
    report(error);
    ExitCode::FAILURE
}

fn run(folder: PathBuf) -> Result<Infallible, String> {
    hardening::apply()?;
    // Before any thread, so that all of them inherit the mask.
    let signals = signals::block();
    let mut channel = Channel::open(&folder)?;
    let supervisor = Arc::new(Supervisor::new()?);
    signals::start(signals, Arc::clone(&supervisor))?;
    deadline::start(Arc::clone(&supervisor))?;
    loop {
        channel.accept(&supervisor)?;
        // A checkpoint is taken from here on; whoever is restored from it finds a start file of his own.
        drop(channel);
        supervisor.let_go()?;
        channel = Channel::open_when_there(&folder)?;
    }
}
