//! `warren migrate`: moves the functions of a data folder from SQLite to PostgreSQL. Their code stays in the folder.

use anyhow::{Context, anyhow, bail};
use warren_store::{Expected, Store};

use crate::{
    data_dir::{Bound, DataDir},
    database::{self, Database},
    serve,
    settings::Place,
};

/// Moves everything, or nothing.
pub(crate) fn migrate(place: Place) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("could not start the asynchronous runtime")?;
    runtime.block_on(run(place))
}

async fn run(place: Place) -> anyhow::Result<()> {
    let Database::Postgres(address) = &place.database else {
        bail!("where to? Name the database with --database postgres://... or WARREN_DATABASE");
    };
    // Locks the folder: a server over it has ended.
    let data = DataDir::open(&place.data_dir)?;
    let bound = data.bound()?;
    if !database::has_sqlite(&data) {
        bail!("{}", nothing_to_move(&data, bound.as_ref()));
    }
    let aside = database::aside(&data)?;
    // Before anything is brought up to date there.
    if let Some(bound) = &bound {
        let seen = database::glance_at_sqlite(&data).await?;
        let (server, revision) = seen.map_or((None, 0), |seen| (seen.server, seen.revision));
        refuse_other(&data, bound, server.as_deref(), revision)?;
    }
    let from = database::open_sqlite(&data).await?;
    let (contents, server) = (from.load().await?, from.server_id().await?);
    if let Some(damaged) = contents.damaged.first() {
        bail!(
            "the function {} can't be moved: {}. Correct or delete it first",
            damaged.name,
            damaged.problem
        );
    }
    let node = serve::node_name();
    let expected = Expected::EmptyOrOf(&server);
    let to = database::open_postgres(address, &data, &node, expected).await;
    let to = to.map_err(|error| match database::foreign(&error) {
        None => error,
        Some(found) => anyhow!(
            "functions are moved into an empty database only, and {address} has {found}: make one with createdb, or a schema of its own (docs/postgresql.md), and name that. To serve the functions that are there, start 'warren serve' with that database and with the data folder that has their code"
        ),
    })?;
    let there = to.load().await?;
    match there.functions.len() + there.damaged.len() {
        0 => to.fill(&contents, &server).await?,
        // An earlier move that was cut off behind its commit.
        _ if there == contents => {}
        count => {
            bail!(
                "the database {address} has {count} functions of this data folder already, other than those in SQLite: an earlier move, and changes since. To go on with those, put {} elsewhere and serve with that database; to move these, name an empty one",
                data.file(database::FILE).display()
            )
        }
    }
    to.close().await;
    // From here on the functions are in both, the same; which one counts is decided by the file's name.
    from.close_whole().await?;
    database::put_sqlite_aside(&data, &aside)?;
    data.bind(&place.database.bound(&server, contents.revision))?;
    println!(
        "moved {} functions to {address}; {} is what they were before, and is not used any more",
        contents.functions.len(),
        aside.display()
    );
    println!(
        "from now on: warren serve --data-dir {} with the same database",
        data.path().display()
    );
    Ok(())
}

/// Why there is nothing, and where the functions are.
fn nothing_to_move(data: &DataDir, bound: Option<&Bound>) -> String {
    let folder = data.path().display();
    let moved = data.file(database::MOVED);
    let place = bound.and_then(|bound| bound.database.as_deref());
    match place {
        Some(place) if moved.exists() => format!(
            "the functions of the data folder {folder} were moved already: they are in {place} ({} is what they were before). Start 'warren serve' with that database",
            moved.display()
        ),
        Some(place) => format!(
            "the data folder {folder} has no functions in SQLite: those that it has the code of are in {place}. There is nothing to move"
        ),
        None => format!(
            "the data folder {folder} has no functions in SQLite: there is nothing to move. If another folder is meant, name it with --data-dir"
        ),
    }
}

/// Refuses a file of SQLite that is not the one that the folder was last used with: to bind the folder to it would forget that there was a newer state.
fn refuse_other(
    data: &DataDir,
    bound: &Bound,
    server: Option<&str>,
    revision: u64,
) -> anyhow::Result<()> {
    if server != Some(&bound.server) {
        return Err(data.elsewhere(bound));
    }
    if bound.revision > revision {
        bail!(
            "the functions in SQLite are older than the data folder {}: their revision is {revision}, the last one seen was {}. Put the newer file back. Whoever knows that the older state is the right one starts 'warren serve' with it once before",
            data.path().display(),
            bound.revision
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use warren_model::ServerId;

    use super::*;

    #[test]
    fn only_the_state_that_was_last_seen_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let (server, other) = (ServerId::random(), ServerId::random());
        let bound = Bound {
            server: server.to_string(),
            database: None,
            revision: 7,
        };
        let refused = |server: &ServerId, revision| {
            let refused = refuse_other(&data, &bound, Some(server.as_str()), revision);
            refused.err().map(|error| error.to_string())
        };
        assert_eq!(refused(&server, 7), None);
        assert_eq!(refused(&server, 8), None);
        assert!(refused(&server, 6).unwrap().contains("older"));
        assert!(refused(&other, 7).unwrap().contains("another database"));
    }
}
