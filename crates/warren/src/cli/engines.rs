use clap::Args as ClapArgs;
use warren_model::native::{Engine, EngineList};

use super::{connection::Connection, failure::Failure, output::Output, table::table};

/// `warren engines`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let list = args.connection.client()?.engines().await?;
    args.output.print(&list, text)
}

fn text(list: &EngineList) -> String {
    let rows: Vec<_> = list
        .engines
        .iter()
        .map(|engine| {
            let usable = if engine.usable { "yes" } else { "no" };
            let default = if engine.default { " (default)" } else { "" };
            [
                format!("{}{default}", engine.name),
                usable.to_owned(),
                found(engine),
            ]
        })
        .collect();
    table(["ENGINE", "USABLE", "FOUND"], &rows)
}

/// What an engine is, or why it is not usable and what helps.
pub(super) fn found(engine: &Engine) -> String {
    let sentence = |text: &Option<String>| {
        text.as_ref()
            .map(|text| text.trim_end_matches('.').to_owned())
    };
    [&engine.detail, &engine.reason, &engine.next_step]
        .into_iter()
        .filter_map(sentence)
        .collect::<Vec<_>>()
        .join(". ")
}
