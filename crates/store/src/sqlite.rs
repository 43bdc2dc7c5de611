//! The store in one SQLite file.

mod open;
mod read;
mod write;

use std::path::Path;

use async_trait::async_trait;
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use warren_model::{Function, FunctionName, ServerId, Version, VersionId};

use crate::{Contents, Record, Store, StoreError, rows};

/// A [`Store`] in one SQLite file: write-ahead log, full synchronisation, one connection, which is the one writer.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there (its folder must be), and brings it to this program's schema. The file is readable by its owner alone.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            pool: open::open(file).await?,
        })
    }

    /// Waits until the file is closed; without it that happens some time after the drop.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Raises the global revision as the last step of a change, and commits.
async fn commit(mut transaction: Transaction<'static, Sqlite>) -> Result<u64, StoreError> {
    let row =
        sqlx::query("UPDATE meta SET revision = revision + 1 WHERE id = 1 RETURNING revision")
            .fetch_one(&mut *transaction)
            .await?;
    let revision = rows::number("meta", "1", "revision", row.try_get("revision")?)?;
    transaction.commit().await?;
    Ok(revision)
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Contents, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let contents = read::contents(&mut transaction).await?;
        transaction.commit().await?;
        Ok(contents)
    }

    async fn insert(&self, record: &Record) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::insert_function(&mut transaction, &record.function).await?;
        write::belongings(&mut transaction, &record.function, record.ready.as_ref()).await?;
        for version in &record.versions {
            write::version(&mut transaction, version, &version.id.to_string()).await?;
        }
        commit(transaction).await
    }

    async fn replace(
        &self,
        function: &Function,
        ready: Option<&Version>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::update_function(&mut transaction, function).await?;
        write::belongings(&mut transaction, function, ready).await?;
        commit(transaction).await
    }

    async fn publish(
        &self,
        function: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::update_function(&mut transaction, function).await?;
        write::belongings(&mut transaction, function, ready).await?;
        write::version(&mut transaction, version, &version.id.to_string()).await?;
        commit(transaction).await
    }

    async fn settle(
        &self,
        function: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::update_function(&mut transaction, function).await?;
        write::belongings(&mut transaction, function, ready).await?;
        for version in versions {
            write::states(&mut transaction, version).await?;
        }
        commit(transaction).await
    }

    async fn delete(&self, name: &FunctionName) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::delete_function(&mut transaction, name).await?;
        commit(transaction).await
    }

    async fn delete_version(&self, name: &FunctionName, number: u64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        write::delete_version(&mut transaction, name, VersionId::Number(number)).await?;
        commit(transaction).await
    }

    async fn server_id(&self) -> Result<ServerId, StoreError> {
        let row = sqlx::query(
            "UPDATE meta SET server_id = coalesce(server_id, ?) WHERE id = 1 RETURNING server_id",
        )
        .bind(ServerId::random().as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(ServerId::new(row.try_get::<String, _>("server_id")?))
    }
}

#[cfg(test)]
mod tests;
