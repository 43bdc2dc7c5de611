//! `warren run`: the program's input, output and exit status are this command's own.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args as ClapArgs;
use futures_util::{Stream, stream::unfold};
use tokio::sync::mpsc;
use warren_client::{RunEvent, Running};
use warren_model::native::{CodeSpec, MAX_RUN_OUTPUT, NOT_THE_PROGRAM, RunEnd, RunResult, RunSpec};

use super::{
    connection::Connection,
    failure::Failure,
    flags::{self, parse_destination, parse_memory, parse_pair, parse_storage, parse_timeout},
    output::Output,
    program,
    source::Source,
};

/// 128 and SIGPIPE's number: the reader of the output went away.
const READER_GONE: i32 = 141;
/// Bytes of the input that are sent at a time, and pieces that wait to be sent.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

const EXAMPLES: &str = "\
Examples:
  warren run script.py < input.json
  warren run --engine runc --memory 256 --timeout 10 --network none script.py -- --verbose
  warren run --runtime nodejs24.x -c 'console.log(1 + 1)'
  warren run ./folder --entry main.py

The exit status is the program's own; 124: it was still running at its time limit, 125: Warren refused or could not run it, or it wrote more than its limit, 137: it needed more than its memory.";

/// `warren run`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File, folder or zip with the code
    #[arg(required_unless_present = "code")]
    path: Option<PathBuf>,
    /// The code itself; needs --runtime
    #[arg(
        short,
        long,
        value_name = "CODE",
        conflicts_with = "path",
        requires = "runtime",
        allow_hyphen_values = true
    )]
    code: Option<String>,
    /// Language, as an AWS runtime id (`warren runtimes` lists them) [default: the newest for the file's ending: .py, .js, .mjs, .cjs, .sh]
    #[arg(long, value_name = "ID")]
    runtime: Option<String>,
    /// The file that is run, in a folder or zip
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    entry: Option<String>,
    /// Isolation (`warren engines` lists them)
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Memory, in MB (128 to 10240) [default: 128]
    #[arg(long, value_name = "MB", value_parser = parse_memory, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Longest time, in seconds (1 to 900) [default: 3]
    #[arg(long, value_name = "SECONDS", value_parser = parse_timeout, allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Size of /tmp, in MB (512 to 10240) [default: 512]
    #[arg(long, value_name = "MB", value_parser = parse_storage, allow_negative_numbers = true)]
    storage: Option<i64>,
    /// What it may reach: none, internet (no private network, no host, no metadata address), or allow (what --allow names) [default: internet where the server's machine can enforce it]
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// A destination that it may reach, and nothing else, as of `warren deploy`; repeatable
    #[arg(long = "allow", value_name = "DESTINATION", value_parser = parse_destination)]
    allow: Vec<String>,
    /// Environment variable; repeatable
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_pair)]
    variables: Vec<(String, String)>,
    /// Most output, both streams together, in bytes [default: 67108864]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=MAX_RUN_OUTPUT))]
    max_output: Option<u64>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGUMENT")]
    args: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the program; gives its exit status.
pub(super) async fn run(args: &Args) -> Result<u8, Failure> {
    // None of these is the program's.
    let own = |failure: Failure| failure.status(NOT_THE_PROGRAM);
    let spec = spec(args).map_err(own)?;
    let client = args.connection.client().map_err(own)?;
    let running = client.run(&spec, standard_input()).await;
    let running = running.map_err(|error| own(error.into()))?;
    let outcome = match args.output.json() {
        true => gather(args, running).await,
        false => pass_on(running).await,
    };
    outcome.map_err(own)
}

fn spec(args: &Args) -> Result<RunSpec, Failure> {
    let (code, entry) = match (&args.path, &args.code) {
        (Some(path), _) => {
            let source = Source::read(path)?;
            let entry = match (&args.entry, source.names.len()) {
                (Some(entry), _) => Some(entry.clone()),
                (None, 1) => source.names.first().cloned(),
                (None, _) => {
                    return Err(Failure::usage(format!(
                        "{} has several files, and any could be the one that is run",
                        path.display()
                    ))
                    .hint("Name it with --entry FILE."));
                }
            };
            (CodeSpec::Zip(STANDARD.encode(&source.zip)), entry)
        }
        (None, code) => (CodeSpec::Source(code.clone().unwrap_or_default()), None),
    };
    Ok(RunSpec {
        runtime: args.runtime.clone(),
        entry,
        code: Some(code),
        args: args.args.clone(),
        environment: args.variables.iter().cloned().collect::<BTreeMap<_, _>>(),
        engine: args.engine.clone(),
        memory_mb: args.memory,
        timeout_s: args.timeout,
        ephemeral_storage_mb: args.storage,
        network: flags::policy(args.network.as_deref(), &args.allow)?,
        max_output_bytes: args.max_output,
        input: None,
        input_base64: None,
    })
}

/// This command's input. Read by a thread of its own, which nobody waits for: a terminal's input has no end.
fn standard_input() -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, input) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if pieces.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    unfold(input, |mut input| async move {
        let piece = input.recv().await?;
        Some((piece, input))
    })
}

/// Writes what comes where it belongs.
async fn pass_on(mut running: Running) -> Result<u8, Failure> {
    loop {
        match running.next().await? {
            RunEvent::Stdout(bytes) => write(io::stdout().lock(), &bytes)?,
            RunEvent::Stderr(bytes) => write(io::stderr().lock(), &bytes)?,
            RunEvent::End(end) => return Ok(ended(&end)),
        }
    }
}

/// Prints all in one document.
async fn gather(args: &Args, mut running: Running) -> Result<u8, Failure> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let end = loop {
        match running.next().await? {
            RunEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            RunEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            RunEvent::End(end) => break end,
        }
    };
    let status = end.exit_status;
    let result = RunResult::of(stdout, &stderr, end);
    args.output.print(&result, |_| String::new())?;
    Ok(status)
}

/// Says what happened, where the status alone does not.
fn ended(end: &RunEnd) -> u8 {
    if let Some(message) = &end.message {
        let message = program::commands(message);
        // The program's own words may end without a line feed; there is nothing to do where nothing can be written.
        let _ = writeln!(io::stderr(), "warren: {message}");
    }
    end.exit_status
}

fn write(mut to: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        // The server sees that nobody listens, and ends the run.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(READER_GONE),
        result => Ok(result?),
    }
}
