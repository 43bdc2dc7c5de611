use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use tokio::time::timeout;
use warren_client::Client;
use warren_model::Account;

use super::{connection::Connection, failure::Failure, output::Output};

/// How long the server may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  eval \"$(warren env)\"                    then: aws lambda list-functions
  warren env --shell fish | source";

/// `warren env`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Whose syntax is printed
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    shell: Shell,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh
    Sh,
    /// fish
    Fish,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let chosen = args.connection.chosen()?;
    warn(&chosen.server).await;
    let region = Account::default().region;
    let variables = [
        ("AWS_ENDPOINT_URL", chosen.server.as_str()),
        ("AWS_ACCESS_KEY_ID", chosen.key.id()),
        ("AWS_SECRET_ACCESS_KEY", chosen.key.secret()),
        ("AWS_REGION", region.as_str()),
        ("AWS_DEFAULT_REGION", region.as_str()),
    ];
    let map: serde_json::Map<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    args.output.print(&map, |_| {
        let lines = variables.map(|(name, value)| assignment(args.shell, name, value));
        lines.concat()
    })
}

/// Says so where nobody serves: a server may be started later, or elsewhere.
async fn warn(server: &str) {
    let asked = async { Client::new(server, None)?.health().await };
    let why = match timeout(PATIENCE, asked).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("{server} does not answer"),
    };
    eprintln!(
        "warning: {why}. The variables are for {server} all the same; --server or WARREN_SERVER names another."
    );
}

fn assignment(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        Shell::Sh => format!("export {name}='{}'\n", value.replace('\'', r"'\''")),
        Shell::Fish => {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            format!("set -gx {name} '{value}'\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted() {
        assert_eq!(
            assignment(Shell::Sh, "A", "b+/'c"),
            "export A='b+/'\\''c'\n"
        );
        assert_eq!(
            assignment(Shell::Fish, "A", "b'c\\"),
            "set -gx A 'b\\'c\\\\'\n"
        );
    }
}
