use clap::Args as ClapArgs;
use warren_model::native::Function;

use super::{connection::Connection, failure::Failure, output::Output, program, table::table};

/// `warren list`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let functions = args.connection.client()?.functions().await?;
    args.output.print(&functions, |functions| text(functions))
}

fn text(functions: &[Function]) -> String {
    if functions.is_empty() {
        return program::commands("There are no functions yet. `warren deploy FOLDER` makes one.");
    }
    let rows: Vec<_> = functions
        .iter()
        .map(|function| {
            [
                function.name.clone(),
                state(function),
                function.engine.clone(),
                function.runtime.clone(),
                format!("{} MB", function.memory_mb),
                function.modified.clone(),
                function.routes.join(", "),
            ]
        })
        .collect();
    table(
        [
            "NAME", "STATE", "ENGINE", "RUNTIME", "MEMORY", "MODIFIED", "ROUTES",
        ],
        &rows,
    )
}

fn state(function: &Function) -> String {
    match function.in_preparation() {
        true => "pending".to_owned(),
        false => function.state.to_string(),
    }
}
