//! Records as rows, for every database.

use std::sync::{Arc, LazyLock};

use sqlx::query::Query;
use sqlx::{Database, Encode, Type};
use warren_model::{
    CallCpu, CallEnd, CallRecord, CallSource, InstanceId, RequestId, RevisionId, Wait,
};

use super::{CallFilter, Counted, PlacedCall};
use crate::StoreError;

const TABLE: &str = "calls";

const COLUMNS: [&str; 21] = [
    "id",
    "source",
    "request",
    "attempts",
    "queued_us",
    "wait",
    "wait_us",
    "init_us",
    "init_again_us",
    "instance_init_us",
    "handler_us",
    "closing_us",
    "bytes_in",
    "bytes_out",
    "cpu_us",
    "cpu_calls",
    "peak_bytes",
    "outcome",
    "reason",
    "error_type",
    "trace",
];

/// Rows of one statement, so that each statement is prepared once.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// How a database writes the places of values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placeholders {
    /// `?`: SQLite looks names up one after the other.
    Plain,
    /// `$1`, `$2`, ...
    Numbered,
}

/// A statement for so many rows.
type Insertion = (usize, String);

static PLAIN: LazyLock<[Insertion; 4]> = LazyLock::new(|| insertions(Placeholders::Plain));
static NUMBERED: LazyLock<[Insertion; 4]> = LazyLock::new(|| insertions(Placeholders::Numbered));

fn insertions(placeholders: Placeholders) -> [Insertion; 4] {
    SIZES.map(|rows| {
        let row = |row: usize| {
            let places = (1..=COLUMNS.len()).map(|column| match placeholders {
                Placeholders::Plain => "?".to_owned(),
                Placeholders::Numbered => format!("${}", row * COLUMNS.len() + column),
            });
            format!("({})", places.collect::<Vec<_>>().join(","))
        };
        let all: Vec<_> = (0..rows).map(row).collect();
        let sql = format!(
            "INSERT INTO {TABLE} ({}) VALUES {} ON CONFLICT (id) DO NOTHING",
            COLUMNS.join(", "),
            all.join(",")
        );
        (rows, sql)
    })
}

/// The fewest statements that insert these rows.
pub(super) fn pieces<T>(
    mut rows: &[T],
    placeholders: Placeholders,
) -> impl Iterator<Item = (&'static str, &[T])> {
    let insertions = match placeholders {
        Placeholders::Plain => &*PLAIN,
        Placeholders::Numbered => &*NUMBERED,
    };
    std::iter::from_fn(move || {
        let (count, sql) = insertions.iter().find(|(count, _)| *count <= rows.len())?;
        let (piece, rest) = rows.split_at(*count);
        rows = rest;
        Some((sql.as_str(), piece))
    })
}

/// Binds one row, in the order of the columns.
pub(super) fn bind<'q, DB: Database>(
    query: Query<'q, DB, DB::Arguments>,
    source: i64,
    placed: &'q PlacedCall,
) -> Query<'q, DB, DB::Arguments>
where
    &'q str: Encode<'q, DB> + Type<DB>,
    Option<&'q str>: Encode<'q, DB> + Type<DB>,
    i64: Encode<'q, DB> + Type<DB>,
    Option<i64>: Encode<'q, DB> + Type<DB>,
{
    let call = &placed.call;
    let (outcome, reason) = call.end.words();
    let wait = (call.wait != Wait::None).then(|| call.wait.as_str());
    query
        .bind(placed.id)
        .bind(source)
        .bind(call.request.as_str())
        .bind(i64::from(call.attempts))
        .bind(number(call.queued_us))
        .bind(wait)
        .bind(number(call.wait_us))
        .bind(number(call.init_us))
        .bind(call.init_again_us.map(number))
        .bind(call.instance_init_us.map(number))
        .bind(call.handler_us.map(number))
        .bind(number(call.closing_us))
        .bind(number(call.bytes_in))
        .bind(number(call.bytes_out))
        .bind(call.cpu.map(|cpu| number(cpu.us)))
        .bind(call.cpu.map(|cpu| i64::from(cpu.calls)))
        .bind(call.peak_bytes.map(number))
        .bind(outcome)
        .bind(reason)
        .bind(call.error_type.as_deref())
        .bind(call.trace.as_deref())
}

pub(super) const INSERT_SOURCE: &str = "INSERT INTO call_sources (function, version, revision, engine, instance, node, boot, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
pub(super) const EXTEND_SOURCE: &str = "UPDATE call_sources SET until = $1 WHERE id = $2";

/// Finds the rows of the calls' sources among those that are known, and writes those that are missing or end too early. Gives what it wrote, and each call
/// with its source's id.
macro_rules! write_sources {
    ($transaction:expr, $known:expr, $calls:expr) => {{
        let mut fresh = crate::records::sources::Sources::default();
        let mut placed = Vec::with_capacity($calls.len());
        for call in $calls {
            let source = &call.call.source;
            let known = fresh.row(source).or_else(|| $known.row(source));
            let id = match known {
                Some(row) if call.id <= row.until => row.id,
                known => {
                    let until = crate::records::sources::until(call.id);
                    let id = match known {
                        Some(row) => {
                            sqlx::query(crate::records::rows::EXTEND_SOURCE)
                                .bind(until)
                                .bind(row.id)
                                .execute(&mut *$transaction)
                                .await?;
                            row.id
                        }
                        None => {
                            sqlx::query_scalar::<_, i64>(crate::records::rows::INSERT_SOURCE)
                                .bind(source.function.as_str())
                                .bind(source.version.as_str())
                                .bind(source.revision.as_str())
                                .bind(source.engine.as_str())
                                .bind(source.instance.as_ref().map(|id| id.as_str()))
                                .bind(source.node.as_str())
                                .bind(i64::try_from(source.boot).unwrap_or(i64::MAX))
                                .bind(until)
                                .fetch_one(&mut *$transaction)
                                .await?
                        }
                    };
                    fresh.insert(source, crate::records::sources::Row { id, until });
                    id
                }
            };
            placed.push((id, call));
        }
        (fresh, placed)
    }};
}
pub(super) use write_sources;

/// Writes calls with their sources' ids, and gives how many were new.
macro_rules! write_calls {
    ($database:ty, $placeholders:expr, $transaction:expr, $placed:expr) => {{
        let mut new = 0;
        for (sql, piece) in crate::records::rows::pieces(&$placed, $placeholders) {
            let query = piece
                .iter()
                .fold(sqlx::query::<$database>(sql), |query, (source, call)| {
                    crate::records::rows::bind(query, *source, call)
                });
            new += query.execute(&mut *$transaction).await?.rows_affected();
        }
        new
    }};
}
pub(super) use write_calls;

/// The casts are for PostgreSQL, which must know the type of a value that is null.
pub(super) const FIND: &str = "SELECT calls.*, function, version, revision, engine, instance, node, boot FROM calls JOIN call_sources ON call_sources.id = calls.source \
     WHERE (CAST($1 AS TEXT) IS NULL OR function = $1) AND (CAST($2 AS TEXT) IS NULL OR engine = $2) AND (CAST($3 AS TEXT) IS NULL OR outcome = $3) \
     AND calls.id >= $4 AND calls.id < $5 ORDER BY calls.id DESC LIMIT $6";

/// Makes the query of [`FIND`] for a database.
macro_rules! find {
    ($filter:expr) => {{
        let filter: &crate::records::CallFilter = $filter;
        let (least, below) = crate::records::rows::range(filter);
        sqlx::query_as::<_, crate::records::rows::CallRow>(crate::records::rows::FIND)
            .bind(filter.function.as_ref().map(|name| name.as_str()))
            .bind(filter.engine.as_ref().map(warren_model::EngineName::as_str))
            .bind(filter.outcome.as_deref())
            .bind(least)
            .bind(below)
            .bind(i64::from(filter.limit))
    }};
}
pub(super) use find;

/// The least place of a filter, and the one that all are below.
pub(super) fn range(filter: &CallFilter) -> (i64, i64) {
    let least = filter.since_us.map_or(0, |since| super::place(since, 0));
    (least, filter.before.unwrap_or(i64::MAX))
}

pub(super) const COUNT: &str = "SELECT count(*), min(id) FROM (SELECT id FROM calls WHERE id < $1 ORDER BY id DESC LIMIT $2) AS step";
pub(super) const REMOVE: &str =
    "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE id < $1 ORDER BY id LIMIT $2)";
pub(super) const OLDEST: &str = "SELECT min(id) FROM calls";
pub(super) const SWEEP: &str = "DELETE FROM call_sources WHERE id IN (SELECT id FROM call_sources WHERE until < $1 ORDER BY until LIMIT $2)";

/// Answers [`count_before`](crate::RecordStore::count_before) over a connection or pool.
macro_rules! count_before {
    ($place:expr, $most:expr, $on:expr) => {
        sqlx::query_as::<_, (i64, Option<i64>)>(crate::records::rows::COUNT)
            .bind($place)
            .bind(i64::from($most))
            .fetch_one($on)
            .await
            .map(crate::records::rows::counted)
    };
}
pub(super) use count_before;

pub(super) fn counted((number, from): (i64, Option<i64>)) -> Counted {
    Counted {
        number: number.unsigned_abs(),
        from,
    }
}

/// Answers [`remove_before`](crate::RecordStore::remove_before), or sweeps sources, over a pool.
macro_rules! remove {
    ($sql:expr, $place:expr, $most:expr, $on:expr) => {
        sqlx::query($sql)
            .bind($place)
            .bind(i64::from($most))
            .execute($on)
            .await
            .map(|removed| removed.rows_affected())
    };
}
pub(super) use remove;

/// Answers [`sweep`](crate::RecordStore::sweep) over a pool.
macro_rules! sweep {
    ($known:expr, $most:expr, $on:expr) => {{
        let oldest: Option<i64> = sqlx::query_scalar(crate::records::rows::OLDEST)
            .fetch_one($on)
            .await?;
        let oldest = oldest.unwrap_or(i64::MAX);
        // Ahead of the removal, of which it may stay unknown whether it took place.
        $known.forget_before(oldest);
        crate::records::rows::remove!(crate::records::rows::SWEEP, oldest, $most, $on)
    }};
}
pub(super) use sweep;

/// One row of `calls` with its row of `call_sources`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct CallRow {
    id: i64,
    request: String,
    arrived_us: i64,
    attempts: i64,
    queued_us: i64,
    wait: Option<String>,
    wait_us: i64,
    init_us: i64,
    init_again_us: Option<i64>,
    instance_init_us: Option<i64>,
    handler_us: Option<i64>,
    closing_us: i64,
    bytes_in: i64,
    bytes_out: i64,
    cpu_us: Option<i64>,
    cpu_calls: Option<i64>,
    peak_bytes: Option<i64>,
    outcome: String,
    reason: Option<String>,
    error_type: Option<String>,
    trace: Option<String>,
    function: String,
    version: String,
    revision: String,
    engine: String,
    instance: Option<String>,
    node: String,
    boot: i64,
}

impl CallRow {
    pub(super) fn into_call(self) -> Result<PlacedCall, StoreError> {
        let row = self.id.to_string();
        let corrupt = |column, problem: String| StoreError::Corrupt {
            table: TABLE,
            row: row.clone(),
            column,
            problem,
        };
        let end = CallEnd::of_words(&self.outcome, self.reason.as_deref()).ok_or_else(|| {
            corrupt(
                "outcome",
                format!("'{}' with {:?} is none", self.outcome, self.reason),
            )
        })?;
        let wait = match self.wait {
            None => Wait::None,
            Some(name) => {
                Wait::named(&name).ok_or_else(|| corrupt("wait", format!("'{name}' is none")))?
            }
        };
        let function = self.function.parse();
        let engine = self.engine.parse();
        let source = CallSource {
            function: function
                .map_err(|error: warren_model::Invalid| corrupt("source", error.to_string()))?,
            version: self.version,
            revision: RevisionId::new(self.revision),
            engine: engine
                .map_err(|error: warren_model::Invalid| corrupt("source", error.to_string()))?,
            instance: self.instance.map(InstanceId::new),
            node: self.node,
            boot: self.boot.unsigned_abs(),
        };
        let call = CallRecord {
            source: Arc::new(source),
            request: RequestId::new(self.request),
            arrived_us: self.arrived_us.unsigned_abs(),
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            queued_us: self.queued_us.unsigned_abs(),
            wait,
            wait_us: self.wait_us.unsigned_abs(),
            init_us: self.init_us.unsigned_abs(),
            init_again_us: self.init_again_us.map(i64::unsigned_abs),
            instance_init_us: self.instance_init_us.map(i64::unsigned_abs),
            handler_us: self.handler_us.map(i64::unsigned_abs),
            closing_us: self.closing_us.unsigned_abs(),
            bytes_in: self.bytes_in.unsigned_abs(),
            bytes_out: self.bytes_out.unsigned_abs(),
            cpu: self.cpu_us.map(|us| CallCpu {
                us: us.unsigned_abs(),
                calls: self
                    .cpu_calls
                    .and_then(|calls| u32::try_from(calls).ok())
                    .unwrap_or(1),
            }),
            peak_bytes: self.peak_bytes.map(i64::unsigned_abs),
            end,
            error_type: self.error_type,
            trace: self.trace,
        };
        Ok(PlacedCall { id: self.id, call })
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
