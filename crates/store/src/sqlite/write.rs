//! The statements of a change; each is a step within the caller's transaction.

use sqlx::SqliteConnection;
use warren_model::{Function, FunctionName, Version, VersionId};

use crate::StoreError;
use crate::rows::{READY, VersionRow};

/// A unique key that is taken is a [`StoreError::Conflict`]; all else is as sqlx says.
fn taken(error: sqlx::Error, what: impl FnOnce() -> String) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            StoreError::Conflict { what: what() }
        }
        _ => error.into(),
    }
}

/// A change that must have met one row.
fn met(rows: u64, what: impl FnOnce() -> String) -> Result<(), StoreError> {
    match rows {
        1 => Ok(()),
        _ => Err(StoreError::Conflict { what: what() }),
    }
}

fn next_version(function: &Function) -> i64 {
    i64::try_from(function.next_version).unwrap_or(i64::MAX)
}

pub(super) async fn insert_function(
    connection: &mut SqliteConnection,
    function: &Function,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO functions (name, next_version, reserved_concurrency, created_ms) VALUES (?, ?, ?, ?)",
    )
    .bind(function.name().as_str())
    .bind(next_version(function))
    .bind(function.reserved_concurrency.map(i64::from))
    .bind(function.created.as_millis())
    .execute(connection)
    .await
    .map_err(|error| taken(error, || format!("the function {}", function.name())))?;
    Ok(())
}

pub(super) async fn update_function(
    connection: &mut SqliteConnection,
    function: &Function,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE functions SET next_version = ?, reserved_concurrency = ? WHERE name = ?",
    )
    .bind(next_version(function))
    .bind(function.reserved_concurrency.map(i64::from))
    .bind(function.name().as_str())
    .execute(connection)
    .await?;
    met(done.rows_affected(), || {
        format!("the function {}", function.name())
    })
}

/// `$LATEST`, the ready version, tags and routes, in place of those that are there.
pub(super) async fn belongings(
    connection: &mut SqliteConnection,
    function: &Function,
    ready: Option<&Version>,
) -> Result<(), StoreError> {
    let name = function.name().as_str();
    for statement in [
        "DELETE FROM versions WHERE function = ? AND version IN ('$LATEST', '$READY')",
        "DELETE FROM tags WHERE function = ?",
        "DELETE FROM routes WHERE function = ?",
    ] {
        sqlx::query(statement)
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    version(connection, &function.latest, &VersionId::Latest.to_string()).await?;
    if let Some(ready) = ready {
        version(connection, ready, READY).await?;
    }
    for (key, value) in &function.tags {
        sqlx::query("INSERT INTO tags (function, key, value) VALUES (?, ?, ?)")
            .bind(name)
            .bind(key)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    for (position, route) in (0_i64..).zip(&function.routes) {
        sqlx::query("INSERT INTO routes (method, path, function, position) VALUES (?, ?, ?, ?)")
            .bind(route.method().as_str())
            .bind(route.path())
            .bind(name)
            .bind(position)
            .execute(&mut *connection)
            .await
            .map_err(|error| taken(error, || format!("the route {route}")))?;
    }
    Ok(())
}

/// One row of `versions`; `slot` is its column `version`.
pub(super) async fn version(
    connection: &mut SqliteConnection,
    version: &Version,
    slot: &str,
) -> Result<(), StoreError> {
    let row = VersionRow::of(version, slot)?;
    sqlx::query(
        "INSERT INTO versions (function, version, revision, runtime, handler, role, description, timeout_s, memory_mb, storage_mb, environment, \
         engine, network, inert, code_digest, code_size, state, state_reason_code, state_reason_message, last_update, last_update_reason_code, \
         last_update_reason_message, modified_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.function)
    .bind(&row.version)
    .bind(&row.revision)
    .bind(&row.runtime)
    .bind(&row.handler)
    .bind(&row.role)
    .bind(&row.description)
    .bind(row.timeout_s)
    .bind(row.memory_mb)
    .bind(row.storage_mb)
    .bind(&row.environment)
    .bind(&row.engine)
    .bind(&row.network)
    .bind(&row.inert)
    .bind(&row.code_digest)
    .bind(row.code_size)
    .bind(&row.state)
    .bind(&row.state_reason_code)
    .bind(&row.state_reason_message)
    .bind(&row.last_update)
    .bind(&row.last_update_reason_code)
    .bind(&row.last_update_reason_message)
    .bind(row.modified_ms)
    .execute(connection)
    .await
    .map_err(|error| taken(error, || format!("the version {}:{slot}", row.function)))?;
    Ok(())
}

/// The states of a published version, and nothing else of it.
pub(super) async fn states(
    connection: &mut SqliteConnection,
    version: &Version,
) -> Result<(), StoreError> {
    let row = VersionRow::of(version, &version.id.to_string())?;
    let done = sqlx::query(
        "UPDATE versions SET state = ?, state_reason_code = ?, state_reason_message = ?, last_update = ?, last_update_reason_code = ?, \
         last_update_reason_message = ? WHERE function = ? AND version = ?",
    )
    .bind(&row.state)
    .bind(&row.state_reason_code)
    .bind(&row.state_reason_message)
    .bind(&row.last_update)
    .bind(&row.last_update_reason_code)
    .bind(&row.last_update_reason_message)
    .bind(&row.function)
    .bind(&row.version)
    .execute(connection)
    .await?;
    met(done.rows_affected(), || {
        format!("the version {}:{}", row.function, row.version)
    })
}

pub(super) async fn delete_function(
    connection: &mut SqliteConnection,
    name: &FunctionName,
) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM functions WHERE name = ?")
        .bind(name.as_str())
        .execute(connection)
        .await?;
    met(done.rows_affected(), || format!("the function {name}"))
}

pub(super) async fn delete_version(
    connection: &mut SqliteConnection,
    name: &FunctionName,
    id: VersionId,
) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM versions WHERE function = ? AND version = ?")
        .bind(name.as_str())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    met(done.rows_affected(), || format!("the version {name}:{id}"))
}
