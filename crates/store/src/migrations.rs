use sqlx::migrate::{MigrateError, Migrator};

use crate::StoreError;

/// Why a database could not be brought to this program's schema.
pub(crate) fn refusal(migrations: &Migrator, error: MigrateError) -> StoreError {
    let known = migrations.iter().map(|m| m.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            StoreError::NewerSchema { found, known }
        }
        error => StoreError::Unavailable(Box::new(error)),
    }
}
