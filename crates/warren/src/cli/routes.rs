use clap::Args as ClapArgs;
use serde::Serialize;

use super::{
    connection::Connection, failure::Failure, function::RoutesAddress, output::Output, program,
    table::table,
};

/// `warren routes`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What `--json` prints of each route.
#[derive(Debug, Serialize)]
struct Row {
    method: String,
    path: String,
    url: String,
    function: String,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let list = client.routes().await?;
    let address = RoutesAddress::of(&client, &list);
    let rows: Vec<Row> = list
        .routes
        .into_iter()
        .map(|route| Row {
            url: address.url(&route.path),
            method: route.method,
            path: route.path,
            function: route.function,
        })
        .collect();
    args.output.print(&rows, |rows| text(rows))
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return program::commands(
            "There are no routes yet. `warren deploy FOLDER --route 'GET /path'` makes one.",
        );
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|row| [row.method.clone(), row.url.clone(), row.function.clone()])
        .collect();
    table(["METHOD", "URL", "FUNCTION"], &rows)
}
