use clap::Args as ClapArgs;
use warren_model::native::RuntimeList;

use super::{connection::Connection, failure::Failure, output::Output, table::table};

/// `warren runtimes`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let list = args.connection.client()?.runtimes().await?;
    args.output.print(&list, text)
}

fn text(list: &RuntimeList) -> String {
    let rows: Vec<_> = list
        .runtimes
        .iter()
        .map(|runtime| {
            let tree = match runtime.built {
                true => format!("built, {} MB", runtime.size_mb),
                false => format!(
                    "not built: about {} MB to download, {} MB on disk",
                    runtime.download_mb, runtime.size_mb
                ),
            };
            [
                runtime.id.clone(),
                runtime.title.clone(),
                runtime.stands_in_for.join(", "),
                tree,
            ]
        })
        .collect();
    let mut text = table(
        ["ID", "LANGUAGE", "STANDS IN FOR", "ROOT FILE SYSTEM"],
        &rows,
    );
    for rejected in &list.rejected {
        text.push_str(&format!("\nLeft out: {rejected}\n"));
    }
    text
}
