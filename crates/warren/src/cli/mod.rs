//! The commands beside `serve`: a client of the native API and nothing else, so each works from another machine too.
//!
//! One file per command. A command returns a `Failure`, which `main` prints with its hint apart from it.

mod calls;
mod completions;
mod connection;
mod delete;
mod deploy;
mod deployed;
mod doctor;
mod engines;
mod env;
mod failure;
mod flags;
mod function;
mod get;
mod guess;
mod invoke;
mod list;
mod logs;
mod output;
mod package;
mod program;
mod routes;
mod run;
mod runtimes;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod update;
mod wait;

use std::process::ExitCode;

use clap::Subcommand;

use self::failure::Failure;

/// A command that asks a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a function from a folder, file or zip, or bring one up to date
    Deploy(deploy::Args),
    /// Call a function and print its answer
    Invoke(invoke::Args),
    /// Run a program once in a fresh sandbox, without making a function
    Run(Box<run::Args>),
    /// List functions
    List(list::Args),
    /// Show a function
    Get(get::Args),
    /// Change a function's settings
    Update(update::Args),
    /// Delete a function
    Delete(delete::Args),
    /// Show a function's log, or follow it
    Logs(logs::Args),
    /// List calls: what each waited for, how long it took, what it used
    Calls(calls::Args),
    /// List HTTP routes
    Routes(routes::Args),
    /// List languages
    Runtimes(runtimes::Args),
    /// List engines and whether they work on the server's host
    Engines(engines::Args),
    /// Check the server and this machine, and say what is missing
    Doctor(doctor::Args),
    /// Print the variables that point any AWS client to the server
    Env(env::Args),
    /// Print a script that completes these commands in a shell
    Completions(completions::Args),
}

/// Runs a command to its exit status: 0, 1 (failed) or 2 (usage); `warren run` has its program's.
pub(crate) fn run(command: Command) -> ExitCode {
    let outcome = match command {
        Command::Completions(args) => completions::run(&args),
        Command::Run(args) => {
            let status = block_on(run::run(&args));
            return status.map_or_else(|failure| failure.report(), ExitCode::from);
        }
        other => block_on(ask(other)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(future))
}

async fn ask(command: Command) -> Result<(), Failure> {
    match command {
        Command::Deploy(args) => deploy::run(&args).await,
        Command::Invoke(args) => invoke::run(&args).await,
        Command::List(args) => list::run(&args).await,
        Command::Get(args) => get::run(&args).await,
        Command::Update(args) => update::run(&args).await,
        Command::Delete(args) => delete::run(&args).await,
        Command::Logs(args) => logs::run(&args).await,
        Command::Calls(args) => calls::run(&args).await,
        Command::Routes(args) => routes::run(&args).await,
        Command::Runtimes(args) => runtimes::run(&args).await,
        Command::Engines(args) => engines::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Env(args) => env::run(&args).await,
        Command::Run(args) => run::run(&args).await.map(drop),
        Command::Completions(args) => completions::run(&args),
    }
}
