//! What works and what is missing: the server if it runs, and this machine, which needs no server to be looked at.

mod database;
mod machine;
mod network;

use clap::Args as ClapArgs;
use serde::Serialize;
use warren_client::Client;

use super::{connection::Connection, engines, failure::Failure, output::Output, program};
use crate::settings::Place;

/// `warren doctor`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "The exit status is 1 if something that Warren needs is missing.")]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Database to look at, as `warren serve` is told [default: the one of warren.toml, else sqlite in the data folder]
    #[arg(
        long,
        value_name = "URL",
        env = "WARREN_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// In order.
    Ok,
    /// Missing, but not needed by everybody.
    Warning,
    /// Missing, and needed.
    Missing,
}

/// One part and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    part: String,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
}

impl Check {
    fn ok(part: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            next_step: None,
        }
    }

    fn bad(
        part: impl Into<String>,
        verdict: Verdict,
        found: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            part: part.into(),
            verdict,
            found: found.into(),
            next_step: Some(next_step.into()),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    server: Vec<Check>,
    this_machine: Vec<Check>,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let report = Report {
        server: server(&args.connection).await,
        this_machine: this_machine(args).await,
    };
    args.output.print(&report, text)?;
    let missing = report.server.iter().chain(&report.this_machine);
    match missing
        .filter(|check| check.verdict == Verdict::Missing)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::failed("one part is missing")),
        several => Err(Failure::failed(format!("{several} parts are missing"))),
    }
}

async fn this_machine(args: &Args) -> Vec<Check> {
    let data_dir = args.connection.data_dir();
    let mut checks = machine::checks(data_dir).await;
    let name_servers = match Place::seen(data_dir, args.database.clone()) {
        Ok((place, name_servers)) => {
            checks.push(database::check(data_dir, &place.database).await);
            name_servers
        }
        Err(error) => {
            checks.push(Check::bad(
                "settings",
                Verdict::Missing,
                warren_model::chain(error.as_ref()),
                "correct them: a server does not start with them",
            ));
            Vec::new()
        }
    };
    checks.extend(network::checks(data_dir, &name_servers).await);
    checks
}

/// The server, and its engines if the key opens it.
async fn server(connection: &Connection) -> Vec<Check> {
    let (address, explicit) = connection.address();
    // One that nobody named need not run yet.
    let verdict = match explicit {
        true => Verdict::Missing,
        false => Verdict::Warning,
    };
    let health = match Client::new(&address, None) {
        Ok(client) => client.health().await,
        Err(error) => Err(error),
    };
    let health = match health {
        Ok(health) => health,
        Err(error) => {
            return vec![Check::bad(
                "server",
                verdict,
                error.to_string(),
                "start it with `warren serve`, or say where it is with --server",
            )];
        }
    };
    let mut checks = vec![Check::ok(
        "server",
        format!(
            "{address}, version {}, functions: {}",
            health.version, health.functions
        ),
    )];
    if !health.database.is_empty() && health.problems.iter().all(|it| it.part != "database") {
        checks.push(Check::ok(
            "database",
            format!("{} answers", health.database),
        ));
    }
    checks.extend(health.problems.into_iter().map(|problem| {
        Check::bad(
            problem.part,
            Verdict::Warning,
            problem.found,
            problem.next_step,
        )
    }));
    let client = match connection.client() {
        Ok(client) => client,
        Err(failure) => {
            checks.push(Check::bad(
                "key",
                Verdict::Warning,
                failure.message(),
                failure.hint_text().unwrap_or("say it with --key"),
            ));
            return checks;
        }
    };
    match client.engines().await {
        Ok(list) => checks.extend(list.engines.iter().map(|engine| {
            let part = format!("engine {}", engine.name);
            match engine.usable {
                true => Check::ok(part, engines::found(engine)),
                false => Check::bad(
                    part,
                    Verdict::Missing,
                    engine.reason.clone().unwrap_or_default(),
                    engine.next_step.clone().unwrap_or_default(),
                ),
            }
        })),
        Err(error) => {
            let next = error
                .problem()
                .and_then(|problem| problem.next_step.clone());
            let next = next.unwrap_or_else(|| "look at the server's log".to_owned());
            checks.push(Check::bad("engines", verdict, error.to_string(), next));
        }
    }
    checks
}

fn text(report: &Report) -> String {
    let section = |title: &str, checks: &[Check]| {
        let widest = checks.iter().map(|check| check.part.len()).max();
        let width = widest.unwrap_or(0);
        let lines = checks.iter().map(|check| {
            let mark = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Missing => "MISSING",
            };
            let mut line = format!("  {mark}  {:width$}  {}\n", check.part, check.found);
            if let Some(next) = &check.next_step {
                line.push_str(&format!(
                    "           {:width$}  next: {}\n",
                    "",
                    program::commands(next)
                ));
            }
            line
        });
        format!("{title}\n{}", lines.collect::<String>())
    };
    format!(
        "{}\n{}",
        section("Server", &report.server),
        section("This machine", &report.this_machine)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_to_do_next() {
        let report = Report {
            server: vec![Check::bad(
                "server",
                Verdict::Warning,
                "no Warren answers at http://127.0.0.1:7070",
                "start it",
            )],
            this_machine: vec![
                Check::ok("tar", "/usr/bin/tar"),
                Check::bad("mmdebstrap", Verdict::Missing, "not found", "install it"),
            ],
        };
        insta::assert_snapshot!(text(&report));
    }
}
