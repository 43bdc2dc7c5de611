//! The store in a PostgreSQL database.

mod address;
mod keeper;
mod session;
mod tenure;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use warren_model::ServerId;

pub use self::address::Address;
use self::session::Session;
use self::tenure::{Mark, Tenure};
use crate::backend::Backend;
use crate::statement::Statement;
use crate::tables::{self, Tables};
use crate::{Contents, StoreError, changes, rows};

/// Connections for reads and changes; one more keeps the ownership.
const CONNECTIONS: u32 = 3;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time of a read or a change, after which nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What every connection for reads and changes asks of the server, in milliseconds: a change waits for no one longer than that, and a server that
/// vanishes in the middle of one holds up nobody for long.
const LIMITS: [(&str, &str); 4] = [
    // A change that was acknowledged is on the disk.
    ("synchronous_commit", "on"),
    ("lock_timeout", "5000"),
    ("statement_timeout", "9000"),
    ("idle_in_transaction_session_timeout", "9000"),
];

/// A [`Store`](crate::Store) in a PostgreSQL database (13 or newer), owned by this process: a second one is refused while this one lives.
///
/// The owner holds an advisory lock, for as long as its connection lives, and an epoch in the row `meta`, which every change checks. So an owner
/// whose connection was cut goes on where it was, unless another one took the database meanwhile: then it changes nothing any more.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    tenure: Arc<Tenure>,
    keeper: AbortHandle,
}

impl PostgresStore {
    /// Takes the database for `holder` (what others are told of the owner) and brings it to this program's schema. Must be called within tokio.
    ///
    /// # Errors
    /// [`StoreError::Owned`] if another process holds it, and still does after some seconds: a server that was just killed has let go by then.
    pub async fn open(address: &Address, holder: &str) -> Result<Self, StoreError> {
        let options = address.options().application_name("warren");
        let (session, tenure) = Session::begin(&options, holder).await?;
        let tenure = Arc::new(tenure);
        let pool = pool(options);
        let keeper = keeper::start(session, Arc::clone(&tenure));
        Ok(Self {
            pool,
            tenure,
            keeper,
        })
    }

    /// Lets go of the database and closes its connections; without it that happens some time after the drop.
    pub async fn close(&self) {
        self.keeper.abort();
        self.pool.close().await;
    }

    /// Fills an empty database with all that is in another store, under that one's id, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there are functions.
    pub async fn fill(&self, contents: &Contents, server: &ServerId) -> Result<u64, StoreError> {
        let mut statements = vec![Statement::of_one(
            "UPDATE meta SET server_id = $1 WHERE id = 1 AND NOT EXISTS (SELECT FROM functions)",
            vec![server.as_str().into()],
            "the empty database".to_owned(),
        )];
        for record in &contents.functions {
            statements.extend(changes::insert(record)?);
        }
        self.change(statements).await
    }

    /// Runs a change as far as its commit, and gives the revision.
    async fn run(
        &self,
        connection: &mut PgConnection,
        statements: &[Statement],
    ) -> Result<u64, StoreError> {
        // Locks the row: nobody else changes anything until the end.
        let mark: Mark =
            sqlx::query_as("SELECT revision, epoch, holder FROM meta WHERE id = 1 FOR UPDATE")
                .fetch_one(&mut *connection)
                .await?;
        self.tenure.admit(&mark)?;
        for statement in statements {
            let done = statement.query().execute(&mut *connection).await;
            statement.judge(done.map(|done| done.rows_affected()))?;
        }
        let revision: i64 = sqlx::query_scalar("SELECT revision FROM meta WHERE id = 1")
            .fetch_one(connection)
            .await?;
        rows::number("meta", "1", "revision", revision)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(CONNECT)
        .connect_lazy_with(options.options(LIMITS))
}

/// The work, for at most [`PATIENCE`].
async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                format!("no answer within {} s", PATIENCE.as_secs()).into(),
            ))
        })
}

#[async_trait]
impl Backend for PostgresStore {
    async fn tables(&self) -> Result<Tables, StoreError> {
        self.tenure.reachable()?;
        let tables = within(async {
            let mut transaction = self
                .pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
            let tables = tables::read!(&mut *transaction);
            transaction.commit().await?;
            Ok(tables)
        })
        .await?;
        self.tenure.read(tables.revision);
        Ok(tables)
    }

    async fn change(&self, statements: Vec<Statement>) -> Result<u64, StoreError> {
        self.tenure.reachable()?;
        let revision = within(async {
            let mut transaction = self.pool.begin().await?;
            let revision = self.run(&mut transaction, &statements).await?;
            transaction.commit().await?;
            Ok(revision)
        })
        .await?;
        self.tenure.wrote(revision);
        Ok(revision)
    }

    async fn id(&self) -> Result<ServerId, StoreError> {
        let id: String = sqlx::query_scalar(
            "UPDATE meta SET server_id = coalesce(server_id, $1) WHERE id = 1 RETURNING server_id",
        )
        .bind(ServerId::random().as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(ServerId::new(id))
    }

    fn watch(&self) -> Option<watch::Receiver<u64>> {
        Some(self.tenure.revisions())
    }
}

#[cfg(test)]
mod tests;
