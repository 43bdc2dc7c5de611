//! The database that the data folder's functions are in, and whether it answers.

use std::{io, path::Path};

use warren_model::chain;
use warren_store::{Address, Glance, PostgresStore, SqliteStore};

use super::{Check, Verdict};
use crate::{
    data_dir::{Bound, DataDir},
    database::{self, Database},
};

const PART: &str = "database";

/// `database` is the one that the settings name.
pub(super) async fn check(data_dir: &Path, database: &Database) -> Check {
    if let Err(error) = std::fs::read_dir(data_dir)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Check::bad(
            PART,
            Verdict::Warning,
            format!("{} can't be looked into: {error}", data_dir.display()),
            "run this as the user that runs the server",
        );
    }
    let bound = match DataDir::bound_in(data_dir) {
        Ok(bound) => bound,
        Err(error) => {
            return Check::bad(
                PART,
                Verdict::Missing,
                chain(error.as_ref()),
                "put that file back from a backup of the data folder",
            );
        }
    };
    match database {
        Database::Sqlite => sqlite(data_dir, bound.as_ref()).await,
        Database::Postgres(address) => postgres(data_dir, address, bound.as_ref()).await,
    }
}

async fn sqlite(data_dir: &Path, bound: Option<&Bound>) -> Check {
    let file = data_dir.join(database::FILE);
    if !file.exists() {
        return match bound.and_then(|bound| bound.database.as_deref()) {
            Some(elsewhere) => Check::bad(
                PART,
                Verdict::Warning,
                format!(
                    "the functions of {} are in {elsewhere}; it was not looked at",
                    data_dir.display()
                ),
                "name it with --database or WARREN_DATABASE, password included, to have it looked at",
            ),
            None => Check::ok(
                PART,
                format!("sqlite, made in {} at the first start", data_dir.display()),
            ),
        };
    }
    match SqliteStore::glance(&file).await {
        Ok(seen) => seen_at(&format!("sqlite, {}", file.display()), seen.as_ref(), bound),
        Err(error) => Check::bad(
            PART,
            Verdict::Missing,
            format!("sqlite, {}: {}", file.display(), chain(&error)),
            "see that this user may read it, or put it back from a backup",
        ),
    }
}

async fn postgres(data_dir: &Path, address: &Address, bound: Option<&Bound>) -> Check {
    if data_dir.join(database::FILE).exists() {
        return Check::bad(
            PART,
            Verdict::Missing,
            format!(
                "the functions of {} are in SQLite, and the settings name {address}",
                data_dir.display()
            ),
            "move them with `warren migrate`, or leave the setting out",
        );
    }
    match PostgresStore::glance(address).await {
        Ok(seen) => seen_at(&address.to_string(), seen.as_ref(), bound),
        Err(error) => Check::bad(
            PART,
            Verdict::Missing,
            format!("{address}: {}", chain(&error)),
            "a server does not start without it; one that runs calls functions as before and changes nothing. Correct the address (--database), or what it names",
        ),
    }
}

/// A database that answered.
fn seen_at(place: &str, seen: Option<&Glance>, bound: Option<&Bound>) -> Check {
    let Some(seen) = seen else {
        return match bound {
            None => Check::ok(PART, format!("{place}: answers, and is empty")),
            Some(_) => Check::bad(
                PART,
                Verdict::Missing,
                format!("{place}: empty, while the data folder has the code of another one"),
                "name that one with --database, or put it back from a backup",
            ),
        };
    };
    let found = format!(
        "{place}: answers, functions: {}, revision {}{}",
        seen.functions,
        seen.revision,
        seen.holder
            .as_deref()
            .map_or(String::new(), |holder| format!(", last taken by {holder}"))
    );
    match bound {
        Some(bound) if seen.server.as_deref() != Some(&bound.server) => Check::bad(
            PART,
            Verdict::Missing,
            format!("{found}; not the one that the data folder has the code of"),
            format!(
                "name the other one with --database{}",
                bound
                    .database
                    .as_deref()
                    .map_or(String::new(), |place| format!(" ({place})"))
            ),
        ),
        Some(bound) if seen.revision < bound.revision => Check::bad(
            PART,
            Verdict::Warning,
            format!(
                "{found}; older than the data folder, which saw revision {}",
                bound.revision
            ),
            "put the newer state back, if there is one, before the server is started",
        ),
        _ => Check::ok(PART, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(server: &str, revision: u64) -> Glance {
        Glance {
            server: Some(server.to_owned()),
            revision,
            functions: 2,
            holder: None,
        }
    }

    #[test]
    fn another_or_older_database_is_told_apart() {
        let bound = Bound {
            server: "us".to_owned(),
            database: Some("postgres://ada@db:5432/warren".to_owned()),
            revision: 7,
        };
        let verdict = |seen: Option<&Glance>, bound| seen_at("x", seen, bound).verdict;
        assert_eq!(verdict(Some(&glance("us", 7)), Some(&bound)), Verdict::Ok);
        assert_eq!(verdict(Some(&glance("us", 7)), None), Verdict::Ok);
        assert_eq!(verdict(None, None), Verdict::Ok);
        assert_eq!(verdict(None, Some(&bound)), Verdict::Missing);
        let older = seen_at("x", Some(&glance("us", 6)), Some(&bound));
        assert_eq!(older.verdict, Verdict::Warning);
        let other = seen_at("x", Some(&glance("them", 9)), Some(&bound));
        assert_eq!(other.verdict, Verdict::Missing);
        assert!(other.next_step.unwrap().contains("ada@db"));
    }

    #[tokio::test]
    async fn a_folder_that_was_never_served_is_well() {
        let folder = tempfile::tempdir().unwrap();
        let check = check(folder.path(), &Database::Sqlite).await;
        assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
        assert!(check.found.contains("first start"));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
