//! The one connection that owns the database: it holds the lock and hears of changes.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{Instant, timeout};

use super::tenure::{Mark, Tenure};
use crate::{StoreError, migrations};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// What changes are told on; the database's trigger names it too.
const CHANNEL: &str = "warren";
/// First half of the advisory lock's key ("WARR"); the second is the schema's, so that servers with a schema each can share a database.
const LOCK: i32 = 0x5741_5252;
/// How long a database that another process holds is asked for again: a connection of a process that was just killed may live a moment longer.
const TAKING: Duration = Duration::from_secs(5);
/// Between two tries to take it.
const RETRY: Duration = Duration::from_millis(200);
/// Longest wait for a connection, and for an answer to a small question.
const ANSWER: Duration = Duration::from_secs(3);
/// A change is noticed after this time even if no notice of it comes.
const POLL: Duration = Duration::from_millis(800);
/// The server notices within some 15 s that this host vanished, and frees the lock. Without effect on a Unix socket.
const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
];

/// A connection with the notices of changes, and perhaps the lock.
pub(super) struct Session {
    options: PgConnectOptions,
    listener: PgListener,
    locked: bool,
}

impl Session {
    /// Takes the database: lock, migrations, and an epoch of its own.
    pub(super) async fn begin(
        options: &PgConnectOptions,
        holder: &str,
    ) -> Result<(Self, Tenure), StoreError> {
        let mut session = Self::open(options).await?;
        let begun = Instant::now();
        while !session.lock().await? {
            if begun.elapsed() > TAKING {
                // A database that is held but has no such row is being made.
                let mark = session.mark().await;
                return Err(StoreError::Owned {
                    holder: mark.map_or_else(|_| "not named yet".to_owned(), |mark| mark.holder),
                });
            }
            tokio::time::sleep(RETRY).await;
        }
        MIGRATIONS
            .run(&mut session.listener)
            .await
            .map_err(|error| migrations::refusal(&MIGRATIONS, error))?;
        let mark: Mark = sqlx::query_as(
            "UPDATE meta SET epoch = epoch + 1, holder = $1 WHERE id = 1 RETURNING revision, epoch, holder",
        )
        .bind(holder)
        .fetch_one(&mut session.listener)
        .await?;
        Ok((session, Tenure::new(&mark)))
    }

    /// Another connection in place of one that was lost; the lock is still to be taken.
    pub(super) async fn again(&self) -> Result<Self, StoreError> {
        Self::open(&self.options).await
    }

    async fn open(options: &PgConnectOptions) -> Result<Self, StoreError> {
        // A pool of its own: a connection that went wrong, and what it holds, ends with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER)
            .connect_lazy_with(options.clone().options(KEEPALIVE));
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        answered(listener.listen(CHANNEL)).await?;
        Ok(Self {
            options: options.clone(),
            listener,
            locked: false,
        })
    }

    /// Takes the lock if it is free.
    async fn lock(&mut self) -> Result<bool, StoreError> {
        let lock =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext(current_schema()))")
                .bind(LOCK)
                .fetch_one(&mut self.listener);
        self.locked = answered(lock).await?;
        Ok(self.locked)
    }

    /// Lets go of the lock.
    async fn unlock(&mut self) -> Result<(), StoreError> {
        let unlock = sqlx::query("SELECT pg_advisory_unlock($1, hashtext(current_schema()))")
            .bind(LOCK)
            .execute(&mut self.listener);
        answered(unlock).await?;
        self.locked = false;
        Ok(())
    }

    /// The lock as it should be: held by the owner, and by no other.
    pub(super) async fn settle(&mut self, ours: bool) -> Result<(), StoreError> {
        match (ours, self.locked) {
            (true, false) => self.lock().await.map(|_| ()),
            (false, true) => self.unlock().await,
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// The row `meta` now.
    pub(super) async fn mark(&mut self) -> Result<Mark, StoreError> {
        let mark = sqlx::query_as("SELECT revision, epoch, holder FROM meta WHERE id = 1")
            .fetch_one(&mut self.listener);
        answered(mark).await
    }

    /// Waits for the notice of a change, or as long as none is needed. A notice carries the revision; the row is what counts.
    pub(super) async fn news(&mut self) -> Result<(), StoreError> {
        match timeout(POLL, self.listener.try_recv()).await {
            Err(_) => Ok(()),
            Ok(Ok(Some(_))) => {
                // One look answers all the notices that are there.
                while self.listener.next_buffered().is_some() {}
                Ok(())
            }
            Ok(Ok(None)) => Err(StoreError::Unavailable("the connection was closed".into())),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

/// An answer that is not there in time is none.
async fn answered<T>(
    question: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match timeout(ANSWER, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Unavailable(
            format!("no answer within {} s", ANSWER.as_secs()).into(),
        )),
    }
}
