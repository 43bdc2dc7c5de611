//! The database that functions are kept in, as the settings name it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use warren_model::ServerId;
use warren_registry::Ledger;
use warren_store::{
    Address, Expected, Glance, PostgresRecords, PostgresStore, RecordStore, SqliteRecords,
    SqliteStore, Store, StoreError,
};

use crate::data_dir::{Bound, DataDir};

/// The file of SQLite in the data folder.
pub(crate) const FILE: &str = "warren.db";
/// The file of records, beside SQLite's.
const RECORDS: &str = "records.db";
/// What `warren migrate` makes of it.
pub(crate) const MOVED: &str = "warren.db.moved";

/// Which one.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// SQLite, in the data folder.
    Sqlite,
    /// PostgreSQL.
    Postgres(Box<Address>),
}

impl Database {
    /// `sqlite`, or the URL of a PostgreSQL database. Errors do not have the text: it may hold a password.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            url if url.starts_with("postgres") => {
                let address = url
                    .parse()
                    .context("the setting `database` is not in order")?;
                Ok(Self::Postgres(Box::new(address)))
            }
            _ => bail!(
                "the setting `database` is neither 'sqlite' nor a URL that begins with postgres://; other databases are not served"
            ),
        }
    }

    /// Opens it as this server's own, if the data folder has its code. One that is older than it was when the folder was last used stops the removal of
    /// code.
    pub(crate) async fn open(
        &self,
        data: &DataDir,
        node: &str,
        ledger: &Ledger,
    ) -> anyhow::Result<Arc<dyn Store>> {
        let bound = data.bound()?;
        let store: Arc<dyn Store> = match (self, &bound) {
            (Self::Sqlite, Some(bound)) if !has_sqlite(data) => return Err(data.elsewhere(bound)),
            (Self::Sqlite, bound) => {
                // Before anything is brought up to date there.
                if let Some(bound) = bound {
                    let seen = glance_at_sqlite(data).await?;
                    if seen.and_then(|seen| seen.server).as_ref() != Some(&bound.server) {
                        return Err(data.elsewhere(bound));
                    }
                }
                Arc::new(open_sqlite(data).await?)
            }
            (Self::Postgres(_), _) if has_sqlite(data) => bail!(
                "the data folder {} holds the code of functions in SQLite: move them with 'warren migrate' first (also to go on with a move that was cut off), or choose another folder with --data-dir",
                data.path().display()
            ),
            (Self::Postgres(address), Some(bound)) => {
                let id = ServerId::new(bound.server.clone());
                match open_postgres(address, data, node, Expected::Of(&id)).await {
                    Err(error) if foreign(&error).is_some() => return Err(data.elsewhere(bound)),
                    opened => Arc::new(opened?),
                }
            }
            (Self::Postgres(address), None) => {
                Arc::new(open_postgres(address, data, node, Expected::Any).await?)
            }
        };
        let server = store.server_id().await?;
        let contents = store.load().await?;
        match &bound {
            Some(bound) if bound.server != server.as_str() => return Err(data.elsewhere(bound)),
            // Before the folder forgets the higher revision.
            Some(bound) if bound.revision > contents.revision => ledger
                .stop(&format!(
                    "the database is older than the data folder: its revision is {}, the last one seen was {}",
                    contents.revision, bound.revision
                ))
                .context("could not write down that the database is older than its code, which must not be removed now")?,
            _ => {}
        }
        data.bind(&self.bound(&server, contents.revision))?;
        Ok(store)
    }

    /// Where the records of calls are kept, after [`open`](Self::open): in a file of their own beside SQLite's, or in the PostgreSQL database.
    pub(crate) async fn records(&self, data: &DataDir) -> anyhow::Result<Arc<dyn RecordStore>> {
        let Self::Postgres(address) = self else {
            let file = data.file(RECORDS);
            let records = SqliteRecords::open(&file).await.with_context(|| {
                format!(
                    "could not open the records of calls, {}; put the file elsewhere to begin with none, or start with --records off",
                    file.display()
                )
            })?;
            return Ok(Arc::new(records));
        };
        Ok(Arc::new(PostgresRecords::new(address)))
    }

    /// What a data folder remembers of it.
    pub(crate) fn bound(&self, server: &ServerId, revision: u64) -> Bound {
        Bound {
            server: server.to_string(),
            database: Some(self.to_string()),
            revision,
        }
    }
}

/// What was found, if it is another database than the one that was expected.
pub(crate) fn foreign(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(StoreError::Foreign { found }) => Some(found.as_str()),
        _ => None,
    })
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => write!(f, "sqlite"),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

/// The store in the data folder; made if it is not there.
pub(crate) async fn open_sqlite(data: &DataDir) -> anyhow::Result<SqliteStore> {
    let file = data.file(FILE);
    SqliteStore::open(&file)
        .await
        .with_context(|| format!("could not open the database {}", file.display()))
}

/// What is in the data folder's SQLite, without opening it as its own.
pub(crate) async fn glance_at_sqlite(data: &DataDir) -> anyhow::Result<Option<Glance>> {
    let file = data.file(FILE);
    SqliteStore::glance(&file)
        .await
        .with_context(|| format!("could not look into the database {}", file.display()))
}

/// The store at this address, owned by this process.
pub(crate) async fn open_postgres(
    address: &Address,
    data: &DataDir,
    node: &str,
    expected: Expected<'_>,
) -> anyhow::Result<PostgresStore> {
    let holder = format!(
        "process {} on {node}, data folder {}",
        std::process::id(),
        data.path().display()
    );
    PostgresStore::open(address, &holder, expected)
        .await
        .with_context(|| format!("could not open the database {address}"))
}

/// Whether the data folder has functions in SQLite.
pub(crate) fn has_sqlite(data: &DataDir) -> bool {
    data.file(FILE).exists()
}

/// Where the file of SQLite can be put aside: a name that no server opens, and that is free.
pub(crate) fn aside(data: &DataDir) -> anyhow::Result<PathBuf> {
    let aside = data.file(MOVED);
    if aside.exists() {
        bail!(
            "{} is there from an earlier move: remove it, or put it elsewhere",
            aside.display()
        );
    }
    Ok(aside)
}

/// Puts the file of SQLite, which must be closed, aside.
pub(crate) fn put_sqlite_aside(data: &DataDir, aside: &Path) -> anyhow::Result<()> {
    std::fs::rename(data.file(FILE), aside)
        .and_then(|()| std::fs::File::open(data.path())?.sync_all())
        .with_context(|| format!("could not rename {} to {MOVED}", data.file(FILE).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_is_taken() {
        assert!(matches!(
            Database::parse("sqlite").unwrap(),
            Database::Sqlite
        ));
        let database = Database::parse("postgresql://ada:s3cret@db/warren").unwrap();
        assert_eq!(database.to_string(), "postgres://ada@db:5432/warren");
        for wrong in ["mysql://ada:s3cret@db/warren", "postgres:/ada:s3cret@db"] {
            let error = format!("{:#}", Database::parse(wrong).unwrap_err());
            assert!(error.contains("postgres://"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
