use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::Value;
use warren_client::{InvokeRequest, Invoked};
use warren_model::native::InvokeOutcome;

use super::{connection::Connection, failure::Failure, output, output::Output};

const EXAMPLES: &str = "\
Examples:
  warren invoke hello --data '{\"name\": \"Ada\"}'
  warren invoke hello --file event.json --logs
  echo '{}' | warren invoke hello -

The exit status is 1 if the function failed.";

/// `warren invoke`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function
    name: String,
    /// '-' reads the event from the standard input
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true, conflicts_with_all = ["data", "file"])]
    input: Option<String>,
    /// The event itself, as JSON [default: {}]
    #[arg(short, long, value_name = "JSON", conflicts_with = "file")]
    data: Option<String>,
    /// File with the event
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A published version
    #[arg(long, value_name = "VERSION")]
    qualifier: Option<String>,
    /// Isolation of this one call; nothing about the function changes
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Print the end of the call's log to the standard error
    #[arg(short, long)]
    logs: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    outcome: InvokeOutcome,
    request_id: String,
    duration_ms: f64,
    /// The answer or the error; text if it is no JSON.
    body: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_tail: Option<String>,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let call = InvokeRequest {
        payload: payload(args)?,
        qualifier: args.qualifier.clone(),
        engine: args.engine.clone(),
        tail: args.logs,
    };
    let invoked = args.connection.client()?.invoke(&args.name, call).await?;
    let log = invoked
        .log_tail
        .as_ref()
        .map(|log| String::from_utf8_lossy(log).into_owned());
    if args.output.json() {
        let report = Report {
            outcome: invoked.outcome,
            request_id: invoked.request_id.clone(),
            duration_ms: invoked.duration_ms,
            body: value(&invoked.body),
            log_tail: log,
        };
        args.output.print(&report, |_| String::new())?;
    } else {
        if let Some(log) = log {
            eprint!("{log}");
        }
        if invoked.outcome == InvokeOutcome::Answer {
            print_answer(&invoked.body)?;
        }
    }
    match invoked.outcome {
        InvokeOutcome::Answer => Ok(()),
        InvokeOutcome::Error | InvokeOutcome::Failed => Err(failure(&args.name, &invoked)),
    }
}

fn payload(args: &Args) -> Result<Bytes, Failure> {
    let read = |path: &Path| match path == Path::new("-") {
        true => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => fs::read(path),
    };
    let path = match (&args.input, &args.file, &args.data) {
        (Some(_), ..) => Path::new("-"),
        (_, Some(file), _) => file,
        (.., Some(data)) => {
            // As curl and the aws CLI name files; no JSON begins so.
            let file = ["@", "fileb://", "file://"]
                .into_iter()
                .find_map(|sign| data.strip_prefix(sign));
            return match file {
                Some(file) => Err(Failure::usage(format!(
                    "--data {data} is no JSON; --data has the event itself"
                ))
                .hint(format!("--file {file} reads the event from that file."))),
                None => Ok(Bytes::from(data.clone())),
            };
        }
        (None, None, None) => return Ok(Bytes::new()),
    };
    read(path)
        .map(Bytes::from)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The bytes as they are; on a terminal with the line feed that keeps the prompt apart.
fn print_answer(body: &[u8]) -> Result<(), Failure> {
    output::raw(body)?;
    match io::stdout().is_terminal() && !body.ends_with(b"\n") {
        true => output::raw(b"\n"),
        false => Ok(()),
    }
}

fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).into_owned()))
}

/// The function's own words: type, message and stack, if its error has Lambda's members.
fn failure(name: &str, invoked: &Invoked) -> Failure {
    let error = value(&invoked.body);
    let text = |member: &str| error[member].as_str();
    let mut message = match (text("errorType"), text("errorMessage")) {
        (Some(kind), Some(message)) => format!("{name} failed: {kind}: {message}"),
        (None, Some(words)) | (Some(words), None) => format!("{name} failed: {words}"),
        (None, None) => format!("{name} failed: {error}"),
    };
    let stack = error["stackTrace"].as_array().or(error["trace"].as_array());
    let lines = stack.into_iter().flatten().filter_map(Value::as_str);
    let stack: Vec<_> = lines.map(str::trim_end).collect();
    let mut stack = stack.join("\n");
    // JavaScript's begins with type and message once more.
    if let Some((_, said)) = message.split_once(" failed: ")
        && let Some(rest) = stack.strip_prefix(said)
        && (rest.is_empty() || rest.starts_with('\n'))
    {
        stack = rest.trim_start_matches('\n').to_owned();
    }
    if !stack.is_empty() {
        message.push_str(&format!("\n{stack}"));
    }
    let failure = Failure::failed(message);
    if invoked.log_tail.is_some() {
        return failure;
    }
    failure.hint(format!(
        "`warren logs {name} --request {}` shows what it wrote.",
        invoked.request_id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_speaks_the_function_s_own_words() {
        let failed = |body: &'static str| failed_with(body, None);
        fn failed_with(body: &'static str, log_tail: Option<Vec<u8>>) -> String {
            let invoked = Invoked {
                outcome: InvokeOutcome::Error,
                body: Bytes::from_static(body.as_bytes()),
                request_id: "r1".to_owned(),
                duration_ms: 1.0,
                log_tail,
            };
            failure("f", &invoked).text()
        }
        let python = failed(
            r#"{"errorMessage":"no","errorType":"ValueError","stackTrace":["  File \"a\"\n"]}"#,
        );
        assert!(
            python.starts_with("f failed: ValueError: no\n  File \"a\" | "),
            "{python}"
        );
        let node = failed(
            r#"{"errorType":"Error","errorMessage":"a\nb","trace":["Error: a","b","    at x"]}"#,
        );
        assert!(
            node.starts_with("f failed: Error: a\nb\n    at x | "),
            "{node}"
        );
        let node = failed(r#"{"errorType":"Error","errorMessage":"no","trace":["Error: no"]}"#);
        assert!(node.starts_with("f failed: Error: no | "), "{node}");
        // Who saw the log is not sent to it.
        assert_eq!(failed_with("[1]", Some(Vec::new())), "f failed: [1] | ");
        assert!(failed("[1]").starts_with("f failed: [1] | `warren logs f --request r1`"));
    }
}
