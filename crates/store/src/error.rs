use std::error::Error;

use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database was written by a newer Warren.
    #[error(
        "the database has migration {found}, this Warren knows up to {known}; start the Warren that wrote it, or a newer one"
    )]
    NewerSchema {
        /// A migration that was applied to the database.
        found: i64,
        /// The last migration of this program.
        known: i64,
    },
    /// What is stored is not what the caller believes: another writer was there. Nothing was changed.
    #[error("{what} is not as expected in the database; another writer changed it")]
    Conflict {
        /// The function, version or route.
        what: String,
    },
    /// Another process owns the database.
    #[error(
        "the database belongs to another Warren ({holder}): end that one first, or name another database, or another schema in this one"
    )]
    Owned {
        /// Who that is, as it called itself.
        holder: String,
    },
    /// The database is not the one that was expected. Nothing in it was changed.
    #[error("the database is another than expected: it has {found}")]
    Foreign {
        /// What was found there.
        found: String,
    },
    /// The database can be reached and does not do it, now or later, until somebody puts that right. Nothing was changed.
    #[error("{problem}")]
    Refused {
        /// What is wrong, in words that hold nothing secret, and the next step.
        problem: String,
        /// Whether it is a value of the change that it can't take: the same change without it may succeed.
        value: bool,
        /// The database's own words.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no room on the database's disk. Nothing was changed.
    #[error("the database's disk is full")]
    NoRoom(#[source] Box<dyn Error + Send + Sync>),
    /// A database's address that is none. The address itself is not shown: it may hold a password.
    #[error("the address of the database is not in order: {problem}")]
    Address {
        /// What is wrong with it.
        problem: String,
    },
    /// A row that can't be read as what it stands for.
    #[error("the row '{row}' of the table {table} is damaged in the column {column}: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// The column.
        column: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The database can't be reached, read or written. Whether a change took place is unknown.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        if matches!(code.as_deref(), Some(POSTGRES_FULL | SQLITE_FULL)) {
            return Self::NoRoom(words(error));
        }
        match code.as_deref().and_then(refusal) {
            Some(problem) => Self::Refused {
                problem: problem.to_owned(),
                value: matches!(code.as_deref().and_then(class), Some("22" | "23")),
                source: words(error),
            },
            None => Self::Unavailable(Box::new(error)),
        }
    }
}

/// What the database said; sqlx adds where in the database's own source it was said.
pub(crate) fn words(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error.as_database_error() {
        Some(said) => said.message().into(),
        None => Box::new(error),
    }
}

const POSTGRES_FULL: &str = "53100";
const SQLITE_FULL: &str = "13";

/// What does not pass by itself, by PostgreSQL's five characters (appendix A of its manual) or SQLite's number.
fn refusal(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => {
            "the database takes no changes (a stand-by, or set to read-only): name the primary, or end its read-only mode"
        }
        "42501" => {
            "the database's user may not do this: make it the owner of the database or of its schema"
        }
        "42P01" | "42703" | "42883" | "3F000" => {
            "a table, column, function or schema of Warren's is missing in the database: put back what was removed, or restore a backup"
        }
        "3D000" => "there is no database of this name on that server: make it with createdb",
        "8" => "the database's file can't be written: make it writable for this user",
        _ => match class(code)? {
            "28" => {
                "the database refuses the login: look at user and password, and at the server's pg_hba.conf"
            }
            "23" => "a rule of the database's tables forbids the change: Warren's log says which",
            "22" => "the database can't hold a value of the change: Warren's log says which",
            _ => return None,
        },
    })
}

/// PostgreSQL's class of a code; SQLite has none.
fn class(code: &str) -> Option<&str> {
    code.get(..2).filter(|_| code.len() == 5)
}

/// Whether the database undid the change for the sake of another one, so that the same may succeed at once.
pub(crate) fn undone_for_another(error: &StoreError) -> bool {
    let StoreError::Unavailable(source) = error else {
        return false;
    };
    let code = source
        .downcast_ref::<sqlx::Error>()
        .and_then(|error| error.as_database_error()?.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
