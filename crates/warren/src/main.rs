#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cli;
mod data_dir;
mod database;
mod migrate;
mod serve;
mod settings;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::{EnvFilter, fmt};

/// Your own Lambda in one binary.
#[derive(Debug, Parser)]
#[command(name = "warren", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until it is told to stop (Ctrl-C, SIGTERM).
    Serve(Box<settings::ServeFlags>),
    /// Move the functions of a data folder from SQLite to PostgreSQL, while no server runs
    Migrate(settings::PlaceFlags),
    #[command(flatten)]
    Client(Box<cli::Command>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(flags) => {
            log_to_stderr();
            settings::Settings::load(*flags).and_then(serve::serve)
        }
        Command::Migrate(flags) => {
            log_to_stderr();
            settings::Place::load(flags).and_then(migrate::migrate)
        }
        Command::Client(command) => return cli::run(*command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln!, which panics where standard error can't be written.
            let error = warren_model::chain(error.as_ref());
            let _ = writeln!(io::stderr(), "warren: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Levels by `WARREN_LOG` (such as `debug` or `warren_invoker=debug`), `info` without it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("WARREN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false)
        // Nothing can be said where a line can't be written (a full disk), and to try would panic.
        .log_internal_errors(false)
        .init();
}
