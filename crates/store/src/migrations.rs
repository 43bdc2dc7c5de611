use sqlx::migrate::{MigrateError, Migrator};

use crate::StoreError;

/// Why a database could not be brought to this program's schema.
pub(crate) fn refusal(migrations: &Migrator, error: MigrateError) -> StoreError {
    let known = migrations.iter().map(|m| m.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            StoreError::NewerSchema { found, known }
        }
        MigrateError::VersionMismatch(found) => StoreError::Refused {
            problem: format!(
                "the database was made by another build of Warren (its migration {found} differs): use that one, or an empty database"
            ),
            value: false,
            source: Box::new(error),
        },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => StoreError::Unavailable(Box::new(error)),
    }
}
