//! The one connection that owns the database: it holds the lock and hears of changes.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection, Executor, Postgres};
use tokio::time::{Instant, timeout};
use warren_model::ServerId;

use super::Address;
use super::tenure::{Mark, Tenure};
use crate::{Glance, StoreError, migrations, rows};

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
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// A change is noticed after this time even if no notice of it comes.
pub(super) const POLL: Duration = Duration::from_millis(800);
const LIMITS: [(&str, &str); 6] = [
    // That the table of migrations is there already is no news.
    ("client_min_messages", "warning"),
    // The server notices within some 15 s that this host vanished, and frees the lock. Without effect on a Unix socket.
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    ("tcp_user_timeout", "15000"),
    // Migrations wait for no one longer than that; in milliseconds.
    ("lock_timeout", "5000"),
];

/// What the database must be, or else nothing in it is changed.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'e> {
    /// Any one.
    Any,
    /// The one of this server.
    Of(&'e ServerId),
    /// One without functions, or with those of this server.
    EmptyOrOf(&'e ServerId),
}

/// A connection with the notices of changes, and perhaps the lock.
pub(super) struct Session {
    address: Address,
    listener: PgListener,
    poll: Duration,
    locked: bool,
}

impl Session {
    /// Takes the database, if it is the one expected: lock, migrations, and a mark of its own.
    pub(super) async fn begin(
        address: &Address,
        holder: &str,
        expected: Expected<'_>,
        poll: Duration,
    ) -> Result<(Self, Tenure), StoreError> {
        let mut session = Self::open(address, poll).await?;
        session.examine(expected).await?;
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
        // Again: the one who held it may have changed it.
        session.examine(expected).await?;
        MIGRATIONS
            .run(&mut session.listener)
            .await
            .map_err(|error| migrations::refusal(&MIGRATIONS, error))?;
        let take = sqlx::query_as(
            "UPDATE meta SET owner = gen_random_uuid()::text, holder = $1 WHERE id = 1 RETURNING revision, owner, holder",
        )
        .bind(holder)
        .fetch_one(&mut session.listener);
        let mark: Mark = answered(take).await?;
        Ok((session, Tenure::new(&mark)))
    }

    /// Looks whether the database is the one expected; changes nothing.
    async fn examine(&mut self, expected: Expected<'_>) -> Result<(), StoreError> {
        let schema = sqlx::query_scalar("SELECT current_schema()").fetch_one(&mut self.listener);
        let schema: Option<String> = answered(schema).await?;
        if schema.is_none() {
            return Err(StoreError::Refused {
                problem: "the database has none of the schemas of its search_path: make it with CREATE SCHEMA, or correct `options` in the address".to_owned(),
                value: false,
                source: "current_schema() is null".into(),
            });
        }
        let seen = glance(&mut self.listener).await?;
        let (server, functions) = seen.map_or((None, 0), |seen| (seen.server, seen.functions));
        let fits = match expected {
            Expected::Any => true,
            Expected::Of(id) => server.as_deref() == Some(id.as_str()),
            Expected::EmptyOrOf(id) => functions == 0 || server.as_deref() == Some(id.as_str()),
        };
        match fits {
            true => Ok(()),
            false => Err(StoreError::Foreign {
                found: match server {
                    Some(server) => format!("{functions} functions of the server {server}"),
                    None => "no functions of any server".to_owned(),
                },
            }),
        }
    }

    /// Another connection in place of one that was lost; the lock is still to be taken.
    pub(super) async fn again(&self) -> Result<Self, StoreError> {
        Self::open(&self.address, self.poll).await
    }

    async fn open(address: &Address, poll: Duration) -> Result<Self, StoreError> {
        address.reach().await?.close().await?;
        // A pool of its own: a connection that went wrong, and what it holds, ends with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER)
            .connect_lazy_with(address.options().options(LIMITS));
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        answered(listener.listen(CHANNEL)).await?;
        Ok(Self {
            address: address.clone(),
            listener,
            poll,
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
        let mark = sqlx::query_as("SELECT revision, owner, holder FROM meta WHERE id = 1")
            .fetch_one(&mut self.listener);
        answered(mark).await
    }

    /// Waits for the notice of a change, or as long as none is needed. A notice carries the revision; the row is what counts.
    pub(super) async fn news(&mut self) -> Result<(), StoreError> {
        match timeout(self.poll, self.listener.try_recv()).await {
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

/// What there is; none if there are no tables of Warren's.
pub(super) async fn glance<'c, C>(connection: &'c mut C) -> Result<Option<Glance>, StoreError>
where
    for<'e> &'e mut C: Executor<'e, Database = Postgres>,
{
    let there = sqlx::query_scalar(
        "SELECT to_regclass(quote_ident(current_schema()) || '.meta') IS NOT NULL",
    )
    .fetch_one(&mut *connection);
    // Null where there is no schema.
    let there: Option<bool> = answered(there).await?;
    if there != Some(true) {
        return Ok(None);
    }
    let found = sqlx::query_as(
        "SELECT server_id, revision, (SELECT count(*) FROM functions), holder FROM meta WHERE id = 1",
    )
    .fetch_one(&mut *connection);
    let (server, revision, functions, holder): (_, i64, i64, String) = answered(found).await?;
    Ok(Some(Glance {
        server,
        revision: rows::number("meta", "1", "revision", revision)?,
        functions: functions.unsigned_abs(),
        holder: Some(holder).filter(|holder| !holder.is_empty()),
    }))
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
