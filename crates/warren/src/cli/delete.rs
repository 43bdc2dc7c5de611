use std::io::{self, IsTerminal};

use clap::Args as ClapArgs;
use serde_json::json;

use super::{connection::Connection, failure::Failure, output::Output};

/// `warren delete`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The function
    name: String,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = args.connection.client()?;
    if !args.yes {
        // Somebody who is asked wants to know that it is there.
        let function = client.function(&args.name).await?;
        confirm(&function.name, function.versions.len())?;
    }
    client.delete(&args.name).await?;
    args.output.print(&json!({ "deleted": args.name }), |_| {
        format!(
            "{0} is deleted. Its log stays: a new function of the name {0} goes on with it.",
            args.name
        )
    })
}

fn confirm(name: &str, versions: usize) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked whether to delete it")
            .hint("Add --yes to delete it unasked."));
    }
    let with = match versions {
        0 => String::new(),
        1 => " with its published version".to_owned(),
        several => format!(" with its {several} published versions"),
    };
    eprint!("Delete {name}{with}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was deleted")),
    }
}
