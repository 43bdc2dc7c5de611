//! The store in one SQLite file.

mod open;

use std::path::Path;

use async_trait::async_trait;
use sqlx::{Row, SqlitePool};
use warren_model::ServerId;

pub(crate) use self::open::keep_private;
use crate::backend::Backend;
use crate::statement::Statement;
use crate::tables::{self, Tables};
use crate::{Glance, StoreError, rows};

/// A [`Store`](crate::Store) in one SQLite file: write-ahead log, full synchronisation, one connection, which is the one writer.
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

    /// What is in the file; none if it is not there, or nothing of Warren's is in it. Changes nothing, and brings no schema up to date.
    pub async fn glance(file: &Path) -> Result<Option<Glance>, StoreError> {
        open::glance(file).await
    }

    /// Waits until the file is closed; without it that happens some time after the drop.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Moves everything from the write-ahead log into the file, so that the file alone is the database, and closes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another process reads the file.
    pub async fn close_whole(&self) -> Result<(), StoreError> {
        let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&self.pool)
            .await?;
        if busy != 0 {
            return Err(StoreError::Unavailable(
                "another process reads the file; end it, and try again".into(),
            ));
        }
        self.close().await;
        Ok(())
    }
}

#[async_trait]
impl Backend for SqliteStore {
    async fn tables(&self) -> Result<Tables, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let tables = tables::read!(&mut *transaction);
        transaction.commit().await?;
        Ok(tables)
    }

    async fn change(&self, based_on: u64, statements: Vec<Statement>) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let raised: Option<i64> = sqlx::query_scalar(
            "UPDATE meta SET revision = revision + 1 WHERE id = 1 AND revision = $1 RETURNING revision",
        )
        .bind(i64::try_from(based_on).unwrap_or(i64::MAX))
        .fetch_optional(&mut *transaction)
        .await?;
        let raised = raised.ok_or_else(|| StoreError::Conflict {
            what: "the revision".to_owned(),
        })?;
        for statement in &statements {
            let done = statement.query().execute(&mut *transaction).await;
            statement.judge(done.map(|done| done.rows_affected()))?;
        }
        transaction.commit().await?;
        rows::number("meta", "1", "revision", raised)
    }

    async fn id(&self) -> Result<ServerId, StoreError> {
        let row = sqlx::query(
            "UPDATE meta SET server_id = coalesce(server_id, $1) WHERE id = 1 RETURNING server_id",
        )
        .bind(ServerId::random().as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(ServerId::new(row.try_get::<String, _>("server_id")?))
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }
}

#[cfg(test)]
mod tests;
