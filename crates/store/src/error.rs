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
    #[error("the database is in use by another Warren ({holder})")]
    Owned {
        /// Who that is, as it called itself.
        holder: String,
    },
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
        Self::Unavailable(Box::new(error))
    }
}
