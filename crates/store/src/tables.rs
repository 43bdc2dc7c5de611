//! All rows of a database, and the contents that they stand for.

use std::collections::{BTreeMap, HashMap};

use warren_model::{Function, Route, Tags, Timestamp, Version, VersionId};

use crate::rows::{self, READY, VersionRow};
use crate::{Contents, Damaged, Record, StoreError};

/// The rows, as they were at one moment.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) revision: i64,
    pub(crate) functions: Vec<FunctionRow>,
    pub(crate) versions: Vec<VersionRow>,
    pub(crate) routes: Vec<RouteRow>,
    pub(crate) tags: Vec<TagRow>,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FunctionRow {
    name: String,
    next_version: i64,
    reserved_concurrency: Option<i64>,
    created_ms: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct RouteRow {
    method: String,
    path: String,
    function: String,
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct TagRow {
    function: String,
    key: String,
    value: String,
}

/// Reads all rows over a connection of any database, within the caller's transaction.
macro_rules! read {
    ($connection:expr) => {{
        let connection = $connection;
        crate::tables::Tables {
            revision: sqlx::query_scalar("SELECT revision FROM meta WHERE id = 1")
                .fetch_one(&mut *connection)
                .await?,
            functions: sqlx::query_as(
                "SELECT name, next_version, reserved_concurrency, created_ms FROM functions",
            )
            .fetch_all(&mut *connection)
            .await?,
            versions: sqlx::query_as("SELECT * FROM versions")
                .fetch_all(&mut *connection)
                .await?,
            routes: sqlx::query_as(
                "SELECT method, path, function FROM routes ORDER BY function, position",
            )
            .fetch_all(&mut *connection)
            .await?,
            tags: sqlx::query_as("SELECT function, key, value FROM tags")
                .fetch_all(&mut *connection)
                .await?,
        }
    }};
}
pub(crate) use read;

/// The versions of one function.
#[derive(Default)]
struct Versions {
    latest: Option<Version>,
    ready: Option<Version>,
    published: BTreeMap<VersionId, Version>,
}

impl Tables {
    /// What the rows stand for. A row that stands for nothing damages its function, and no other.
    pub(crate) fn into_contents(self) -> Result<Contents, StoreError> {
        let mut versions = by_function(self.versions, |row| &row.function);
        let mut routes = by_function(self.routes, |row| &row.function);
        let mut tags = tags(self.tags);
        let (mut functions, mut damaged) = (Vec::new(), Vec::new());
        for row in self.functions {
            let name = row.name.clone();
            let versions = versions.remove(&name).unwrap_or_default();
            let tags = tags.remove(&name).unwrap_or_default();
            let routes = routes.remove(&name).unwrap_or_default();
            let routes: Vec<_> = routes.iter().map(RouteRow::route).collect();
            let read = routes.iter().filter_map(|route| route.as_ref().ok());
            let read = read.cloned().collect();
            let code = versions
                .iter()
                .filter_map(|row| row.code_digest.parse().ok());
            let code = code.collect();
            let reserved = row.reserved_concurrency;
            let reserved = reserved.and_then(|reserved| reserved.try_into().ok());
            let record = (|| {
                let routes = routes.into_iter().collect::<Result<_, StoreError>>()?;
                record(row, self::versions(versions)?, routes, tags)
            })();
            match record {
                Ok(record) => functions.push(record),
                Err(error) => damaged.push(Damaged {
                    name,
                    routes: read,
                    code,
                    reserved,
                    problem: error.to_string(),
                }),
            }
        }
        // Not left to the database: each sorts texts in its own way.
        functions.sort_by(|a, b| a.function.name().cmp(b.function.name()));
        damaged.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Contents {
            revision: rows::number("meta", "1", "revision", self.revision)?,
            functions,
            damaged,
        })
    }
}

impl RouteRow {
    fn route(&self) -> Result<Route, StoreError> {
        let text = format!("{} {}", self.method, self.path);
        rows::parse("routes", &text, "path", &text)
    }
}

fn by_function<R>(rows: Vec<R>, function: impl Fn(&R) -> &String) -> HashMap<String, Vec<R>> {
    let mut found: HashMap<String, Vec<R>> = HashMap::new();
    for row in rows {
        found.entry(function(&row).clone()).or_default().push(row);
    }
    found
}

fn record(
    row: FunctionRow,
    versions: Versions,
    routes: Vec<Route>,
    tags: Tags,
) -> Result<Record, StoreError> {
    let name = &row.name;
    let number = |column, number| rows::number("functions", name, column, number);
    let latest = versions
        .latest
        .ok_or_else(|| rows::damaged("functions", name, "name", "it has no $LATEST"))?;
    Ok(Record {
        function: Function {
            latest,
            next_version: rows::number("functions", name, "next_version", row.next_version)?,
            tags,
            routes,
            reserved_concurrency: row
                .reserved_concurrency
                .map(|reserved| number("reserved_concurrency", reserved))
                .transpose()?,
            created: Timestamp::from_millis(row.created_ms),
        },
        ready: versions.ready,
        versions: versions.published.into_values().collect(),
    })
}

/// The versions of one function.
fn versions(rows: Vec<VersionRow>) -> Result<Versions, StoreError> {
    let mut found = Versions::default();
    for row in rows {
        let ready = row.version == READY;
        let version = row.into_version()?;
        match version.id {
            _ if ready => found.ready = Some(version),
            VersionId::Latest => found.latest = Some(version),
            id @ VersionId::Number(_) => {
                found.published.insert(id, version);
            }
        }
    }
    Ok(found)
}

fn tags(rows: Vec<TagRow>) -> HashMap<String, Tags> {
    let mut found: HashMap<String, Tags> = HashMap::new();
    for row in rows {
        let of_function = found.entry(row.function).or_default();
        of_function.insert(row.key, row.value);
    }
    found
}
