//! The store in a PostgreSQL database.

mod address;
mod bulk;
mod keeper;
mod session;
mod tenure;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use warren_model::ServerId;

pub use self::address::Address;
pub use self::session::Expected;
use self::session::{POLL, Session};
use self::tenure::{Mark, Tenure};
use crate::backend::Backend;
use crate::statement::Statement;
use crate::tables::{self, Tables};
use crate::{Contents, Glance, Sighting, Standing, StoreError, changes, error, rows};

/// Connections for reads and changes; one more keeps the ownership.
const CONNECTIONS: u32 = 3;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time of a read or a change, after which nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for everything of another store.
const FILLING: Duration = Duration::from_secs(15 * 60);
/// How often a change is made that the database undid for the sake of another one.
const TRIES: u32 = 4;
/// Each change reads what is committed by now, whatever the database's own setting is: after the wait for a lock too.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
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
/// The owner holds an advisory lock, for as long as its connection lives, and has a random id in the row `meta`, which every change locks and checks in its
/// own transaction. So an owner whose connection was cut goes on where it was, unless another one took the database meanwhile: then it reads and changes
/// nothing any more.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    tenure: Arc<Tenure>,
    keeper: AbortHandle,
}

impl PostgresStore {
    /// Takes the database for `holder` (what others are told of the owner) and brings it to this program's schema, if it is the one expected. Must be called
    /// within tokio.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if it is another one; nothing in it was changed then. [`StoreError::Owned`] if another process holds it, and still does after
    /// some seconds: a server that was just killed has let go by then.
    pub async fn open(
        address: &Address,
        holder: &str,
        expected: Expected<'_>,
    ) -> Result<Self, StoreError> {
        Self::open_polling(address, holder, expected, POLL).await
    }

    /// [`open`](Self::open), with another time after which changes are seen without a notice.
    async fn open_polling(
        address: &Address,
        holder: &str,
        expected: Expected<'_>,
        poll: Duration,
    ) -> Result<Self, StoreError> {
        let (session, tenure) = Session::begin(address, holder, expected, poll).await?;
        let tenure = Arc::new(tenure);
        let pool = pool(address.options());
        let keeper = keeper::start(session, Arc::clone(&tenure));
        Ok(Self {
            pool,
            tenure,
            keeper,
        })
    }

    /// What is in the database at this address, whoever owns it; none if there is nothing of Warren's. Takes and changes nothing.
    pub async fn glance(address: &Address) -> Result<Option<Glance>, StoreError> {
        let mut connection = address.reach().await?;
        let seen = session::glance(&mut connection).await?;
        connection.close().await?;
        Ok(seen)
    }

    /// Lets go of the database and closes its connections; without it that happens some time after the drop.
    pub async fn close(&self) {
        self.keeper.abort();
        self.pool.close().await;
    }

    /// Fills an empty database with all that is in another store, under that one's id and revision, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there are functions.
    pub async fn fill(&self, contents: &Contents, server: &ServerId) -> Result<(), StoreError> {
        self.tenure.usable()?;
        let mut statements = Vec::new();
        for record in &contents.functions {
            statements.extend(changes::insert(record)?);
        }
        let revision = i64::try_from(contents.revision).unwrap_or(i64::MAX);
        within(FILLING, async {
            let mut transaction = self.pool.begin_with(BEGIN).await?;
            let limit = format!("SET LOCAL statement_timeout = {}", FILLING.as_millis());
            sqlx::query(AssertSqlSafe(limit))
                .execute(&mut *transaction)
                .await?;
            let mark = mark(&mut transaction).await?;
            self.tenure.own(&mark)?;
            // The trigger raises no revision that this transaction set itself.
            Statement::of_one(
                "UPDATE meta SET server_id = $1, revision = $2, changed_in = pg_current_xact_id()::text WHERE id = 1 AND NOT EXISTS (SELECT FROM functions)",
                vec![server.as_str().into(), revision.into()],
                "the empty database".to_owned(),
            )
            .run(&mut transaction)
            .await?;
            bulk::insert(&mut transaction, &statements).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Makes a change in one transaction, and gives the revision.
    async fn make(&self, based_on: u64, statements: &[Statement]) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let mark = mark(&mut transaction).await?;
        self.tenure.admit(&mark, based_on)?;
        for statement in statements {
            statement.run(&mut transaction).await?;
        }
        let revision: i64 = sqlx::query_scalar("SELECT revision FROM meta WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        rows::number("meta", "1", "revision", revision)
    }
}

/// The row `meta`, locked: nobody else changes anything until the end of the transaction.
async fn mark(connection: &mut PgConnection) -> Result<Mark, StoreError> {
    let mark = sqlx::query_as("SELECT revision, owner, holder FROM meta WHERE id = 1 FOR UPDATE");
    Ok(mark.fetch_one(connection).await?)
}

impl Statement {
    async fn run(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let done = self.query().execute(connection).await;
        self.judge(done.map(|done| done.rows_affected()))
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

/// The work, for at most this time.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(
            format!("no answer within {} s", limit.as_secs()).into(),
        ))
    })
}

#[async_trait]
impl Backend for PostgresStore {
    async fn tables(&self) -> Result<Tables, StoreError> {
        self.tenure.usable()?;
        within(PATIENCE, async {
            let mut transaction = self
                .pool
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
            let mark = sqlx::query_as("SELECT revision, owner, holder FROM meta WHERE id = 1");
            self.tenure.own(&mark.fetch_one(&mut *transaction).await?)?;
            let tables = tables::read!(&mut *transaction);
            transaction.commit().await?;
            Ok(tables)
        })
        .await
    }

    async fn change(&self, based_on: u64, statements: Vec<Statement>) -> Result<u64, StoreError> {
        self.tenure.usable()?;
        within(PATIENCE, async {
            for _ in 1..TRIES {
                match self.make(based_on, &statements).await {
                    Err(error) if error::undone_for_another(&error) => {}
                    made => return made,
                }
            }
            self.make(based_on, &statements).await
        })
        .await
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

    fn name(&self) -> &'static str {
        "postgres"
    }

    fn watch(&self) -> Option<watch::Receiver<Sighting>> {
        Some(self.tenure.sightings())
    }

    fn stands(&self) -> Standing {
        self.tenure.standing()
    }
}

#[cfg(test)]
pub(crate) mod tests;
