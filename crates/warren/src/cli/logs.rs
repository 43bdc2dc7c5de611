use clap::Args as ClapArgs;
use serde::Serialize;
use warren_client::LogQuery;
use warren_model::native::{LogEvent, LogLine, Since};

use super::{connection::Connection, failure::Failure, output, output::Output};

const EXAMPLES: &str = "\
Examples:
  warren logs hello --follow
  warren logs hello --since 10m --limit 100
  warren logs hello --request 7f3c...

With --json each line is one JSON object.";

/// `warren logs`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function
    name: String,
    /// Go on with each further line, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Lines not older than this: 30s, 10m, 2h, 1d, or a moment such as 2026-11-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// This many lines at most, the latest ones [default: 1000; with --follow 10]
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// Lines of this call only
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Lines from before that following begins with, if nothing else is asked for.
const BEFORE: usize = 10;

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let mut query = LogQuery {
        since: args.since,
        limit: args.limit,
        request_id: args.request.clone(),
    };
    if !args.follow {
        for line in client.logs(&args.name, &query).await? {
            print(args.output, &line, text)?;
        }
        return Ok(());
    }
    if query.limit.is_none() && query.since.is_none() && query.request_id.is_none() {
        query.limit = Some(BEFORE);
    }
    let mut follow = client.follow_logs(&args.name, &query).await?;
    while let Some(event) = follow.next().await? {
        match event {
            LogEvent::Line(line) => print(args.output, &line, text)?,
            LogEvent::Missed { missed } => {
                print(args.output, &event, |_| {
                    format!("({missed} lines are missing: this client is too slow)")
                })?;
            }
        }
    }
    Ok(())
}

fn print<T: Serialize>(
    output: Output,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match output.json() {
        true => {
            let json =
                serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?;
            output::line(&json)
        }
        false => output::line(&text(value)),
    }
}

fn text(line: &LogLine) -> String {
    format!("{} {}", line.time, line.text.trim_end())
}
