//! All rows of a database, and the contents that they stand for.

use std::collections::{BTreeMap, HashMap};

use warren_model::{Function, Route, Tags, Timestamp, Version, VersionId};

use crate::rows::{self, READY, VersionRow};
use crate::{Contents, Record, StoreError};

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
    pub(crate) fn into_contents(self) -> Result<Contents, StoreError> {
        let mut versions = versions(self.versions)?;
        let mut routes = routes(self.routes)?;
        let mut tags = tags(self.tags);
        let mut functions = Vec::new();
        for row in self.functions {
            let of_function = versions.remove(&row.name).unwrap_or_default();
            let routes = routes.remove(&row.name).unwrap_or_default();
            let tags = tags.remove(&row.name).unwrap_or_default();
            functions.push(record(row, of_function, routes, tags)?);
        }
        // Not left to the database: each sorts texts in its own way.
        functions.sort_by(|a, b| a.function.name().cmp(b.function.name()));
        Ok(Contents {
            revision: rows::number("meta", "1", "revision", self.revision)?,
            functions,
        })
    }
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

fn versions(rows: Vec<VersionRow>) -> Result<HashMap<String, Versions>, StoreError> {
    let mut found: HashMap<String, Versions> = HashMap::new();
    for row in rows {
        let of_function = found.entry(row.function.clone()).or_default();
        let ready = row.version == READY;
        let version = row.into_version()?;
        match version.id {
            _ if ready => of_function.ready = Some(version),
            VersionId::Latest => of_function.latest = Some(version),
            id @ VersionId::Number(_) => {
                of_function.published.insert(id, version);
            }
        }
    }
    Ok(found)
}

fn routes(rows: Vec<RouteRow>) -> Result<HashMap<String, Vec<Route>>, StoreError> {
    let mut found: HashMap<String, Vec<Route>> = HashMap::new();
    for row in rows {
        let text = format!("{} {}", row.method, row.path);
        let route = rows::parse("routes", &text, "path", &text)?;
        found.entry(row.function).or_default().push(route);
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
