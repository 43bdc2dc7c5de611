use std::collections::{BTreeMap, HashMap};

use sqlx::{FromRow, Row, SqliteConnection};
use warren_model::{Function, Route, Tags, Timestamp, Version, VersionId};

use crate::rows::{self, READY, VersionRow};
use crate::{Contents, Record, StoreError};

/// The versions of one function.
#[derive(Default)]
struct Versions {
    latest: Option<Version>,
    ready: Option<Version>,
    published: BTreeMap<VersionId, Version>,
}

pub(super) async fn contents(connection: &mut SqliteConnection) -> Result<Contents, StoreError> {
    let revision: i64 = sqlx::query("SELECT revision FROM meta WHERE id = 1")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let mut versions = versions(connection).await?;
    let mut routes = routes(connection).await?;
    let mut tags = tags(connection).await?;
    let mut functions = Vec::new();
    for row in sqlx::query(
        "SELECT name, next_version, reserved_concurrency, created_ms FROM functions ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?
    {
        let name: String = row.try_get("name")?;
        let Versions {
            latest,
            ready,
            published,
        } = versions.remove(&name).unwrap_or_default();
        let latest =
            latest.ok_or_else(|| rows::damaged("functions", &name, "name", "it has no $LATEST"))?;
        let reserved: Option<i64> = row.try_get("reserved_concurrency")?;
        functions.push(Record {
            function: Function {
                latest,
                next_version: rows::number(
                    "functions",
                    &name,
                    "next_version",
                    row.try_get("next_version")?,
                )?,
                tags: tags.remove(&name).unwrap_or_default(),
                routes: routes.remove(&name).unwrap_or_default(),
                reserved_concurrency: reserved
                    .map(|n| rows::number("functions", &name, "reserved_concurrency", n))
                    .transpose()?,
                created: Timestamp::from_millis(row.try_get("created_ms")?),
            },
            ready,
            versions: published.into_values().collect(),
        });
    }
    Ok(Contents {
        revision: rows::number("meta", "1", "revision", revision)?,
        functions,
    })
}

async fn versions(
    connection: &mut SqliteConnection,
) -> Result<HashMap<String, Versions>, StoreError> {
    let mut found: HashMap<String, Versions> = HashMap::new();
    for row in sqlx::query("SELECT * FROM versions")
        .fetch_all(connection)
        .await?
    {
        let row = VersionRow::from_row(&row)?;
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

async fn routes(
    connection: &mut SqliteConnection,
) -> Result<HashMap<String, Vec<Route>>, StoreError> {
    let mut found: HashMap<String, Vec<Route>> = HashMap::new();
    for row in sqlx::query("SELECT method, path, function FROM routes ORDER BY function, position")
        .fetch_all(connection)
        .await?
    {
        let (method, path): (String, String) = (row.try_get("method")?, row.try_get("path")?);
        let text = format!("{method} {path}");
        let route = rows::parse("routes", &text, "path", &text)?;
        found
            .entry(row.try_get("function")?)
            .or_default()
            .push(route);
    }
    Ok(found)
}

async fn tags(connection: &mut SqliteConnection) -> Result<HashMap<String, Tags>, StoreError> {
    let mut found: HashMap<String, Tags> = HashMap::new();
    for row in sqlx::query("SELECT function, key, value FROM tags")
        .fetch_all(connection)
        .await?
    {
        found
            .entry(row.try_get("function")?)
            .or_default()
            .insert(row.try_get("key")?, row.try_get("value")?);
    }
    Ok(found)
}
