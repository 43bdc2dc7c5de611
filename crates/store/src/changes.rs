//! The changes that a store makes, as statements.

use std::sync::LazyLock;

use warren_model::{Function, FunctionName, Version, VersionId};

use crate::rows::{READY, VersionRow};
use crate::statement::{Statement, Value};
use crate::{Record, StoreError};

type Change = Result<Vec<Statement>, StoreError>;

static INSERT_VERSION: LazyLock<String> = LazyLock::new(|| {
    let columns = VersionRow::COLUMNS.join(", ");
    let places: Vec<String> = (1..=VersionRow::COLUMNS.len())
        .map(|place| format!("${place}"))
        .collect();
    format!(
        "INSERT INTO versions ({columns}) VALUES ({})",
        places.join(", ")
    )
});

/// A new function with its versions.
pub(crate) fn insert(record: &Record) -> Change {
    let mut change = vec![insert_function(&record.function)];
    change.extend(belongings(&record.function, record.ready.as_ref())?);
    for published in &record.versions {
        change.push(version(published, &published.id.to_string())?);
    }
    Ok(change)
}

/// The function's row, `$LATEST`, the ready version, tags and routes, in place of those that are there.
pub(crate) fn replace(function: &Function, ready: Option<&Version>) -> Change {
    let mut change = vec![update_function(function)];
    change.extend(belongings(function, ready)?);
    Ok(change)
}

/// [`replace`], and one more version.
pub(crate) fn publish(function: &Function, ready: Option<&Version>, published: &Version) -> Change {
    let mut change = replace(function, ready)?;
    change.push(version(published, &published.id.to_string())?);
    Ok(change)
}

/// [`replace`], and the states of published versions.
pub(crate) fn settle(function: &Function, ready: Option<&Version>, versions: &[Version]) -> Change {
    let mut change = replace(function, ready)?;
    for version in versions {
        change.push(states(version)?);
    }
    Ok(change)
}

/// The function with all that belongs to it.
pub(crate) fn delete(name: &FunctionName) -> Vec<Statement> {
    vec![Statement::of_one(
        "DELETE FROM functions WHERE name = $1",
        vec![name.as_str().into()],
        format!("the function {name}"),
    )]
}

/// One published version.
pub(crate) fn delete_version(name: &FunctionName, number: u64) -> Vec<Statement> {
    let id = VersionId::Number(number);
    vec![Statement::of_one(
        "DELETE FROM versions WHERE function = $1 AND version = $2",
        vec![name.as_str().into(), id.to_string().into()],
        format!("the version {name}:{id}"),
    )]
}

fn next_version(function: &Function) -> Value {
    i64::try_from(function.next_version)
        .unwrap_or(i64::MAX)
        .into()
}

fn reserved(function: &Function) -> Value {
    function.reserved_concurrency.map(i64::from).into()
}

fn insert_function(function: &Function) -> Statement {
    let name = function.name();
    Statement::new(
        "INSERT INTO functions (name, next_version, reserved_concurrency, created_ms) VALUES ($1, $2, $3, $4)",
        vec![
            name.as_str().into(),
            next_version(function),
            reserved(function),
            function.created.as_millis().into(),
        ],
        format!("the function {name}"),
    )
}

fn update_function(function: &Function) -> Statement {
    let name = function.name();
    Statement::of_one(
        "UPDATE functions SET next_version = $1, reserved_concurrency = $2 WHERE name = $3",
        vec![
            next_version(function),
            reserved(function),
            name.as_str().into(),
        ],
        format!("the function {name}"),
    )
}

fn belongings(function: &Function, ready: Option<&Version>) -> Change {
    let name = function.name().as_str();
    let what = || format!("the function {name}");
    let mut change: Vec<Statement> = [
        "DELETE FROM versions WHERE function = $1 AND version IN ('$LATEST', '$READY')",
        "DELETE FROM tags WHERE function = $1",
        "DELETE FROM routes WHERE function = $1",
    ]
    .map(|sql| Statement::new(sql, vec![name.into()], what()))
    .into();
    change.push(version(&function.latest, &VersionId::Latest.to_string())?);
    if let Some(ready) = ready {
        change.push(version(ready, READY)?);
    }
    for (key, value) in &function.tags {
        change.push(Statement::new(
            "INSERT INTO tags (function, key, value) VALUES ($1, $2, $3)",
            vec![name.into(), key.as_str().into(), value.as_str().into()],
            what(),
        ));
    }
    for (position, route) in (0_i64..).zip(&function.routes) {
        change.push(Statement::new(
            "INSERT INTO routes (method, path, function, position) VALUES ($1, $2, $3, $4)",
            vec![
                route.method().as_str().into(),
                route.path().into(),
                name.into(),
                position.into(),
            ],
            format!("the route {route}"),
        ));
    }
    Ok(change)
}

/// One row of `versions`; `slot` is its column `version`.
fn version(version: &Version, slot: &str) -> Result<Statement, StoreError> {
    let row = VersionRow::of(version, slot)?;
    let what = format!("the version {}:{slot}", row.function);
    Ok(Statement::new(&INSERT_VERSION, row.into_values(), what))
}

/// The states of a published version, and nothing else of it.
fn states(version: &Version) -> Result<Statement, StoreError> {
    let row = VersionRow::of(version, &version.id.to_string())?;
    let what = format!("the version {}:{}", row.function, row.version);
    Ok(Statement::of_one(
        "UPDATE versions SET state = $1, state_reason_code = $2, state_reason_message = $3, last_update = $4, last_update_reason_code = $5, \
         last_update_reason_message = $6 WHERE function = $7 AND version = $8",
        vec![
            row.state.into(),
            row.state_reason_code.into(),
            row.state_reason_message.into(),
            row.last_update.into(),
            row.last_update_reason_code.into(),
            row.last_update_reason_message.into(),
            row.function.into(),
            row.version.into(),
        ],
        what,
    ))
}
