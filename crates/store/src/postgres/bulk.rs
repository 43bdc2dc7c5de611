//! Many rows in few statements, for a whole store at once.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::StoreError;
use crate::statement::{Statement, Value};

/// Rows of one statement: some megabytes at most.
const ROWS: usize = 500;

/// Runs insertions, those of one table together, tables in the order of their first row.
pub(super) async fn insert(
    connection: &mut PgConnection,
    insertions: &[Statement],
) -> Result<(), StoreError> {
    let mut tables: Vec<(&str, Vec<&[Value]>)> = Vec::new();
    for insertion in insertions {
        // What an insertion removes before is not there yet.
        let Some((head, _)) = insertion.sql().split_once(" VALUES ") else {
            continue;
        };
        match tables.iter_mut().find(|(known, _)| *known == head) {
            Some((_, rows)) => rows.push(insertion.values()),
            None => tables.push((head, vec![insertion.values()])),
        }
    }
    for (head, rows) in tables {
        for rows in rows.chunks(ROWS) {
            insert_rows(connection, head, rows).await?;
        }
    }
    Ok(())
}

async fn insert_rows(
    connection: &mut PgConnection,
    head: &str,
    rows: &[&[Value]],
) -> Result<(), StoreError> {
    let columns: Vec<Vec<&Value>> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| &row[column]).collect())
        .collect();
    let arrays: Vec<String> = (1..)
        .zip(&columns)
        .map(|(place, values)| match values[0] {
            Value::Text(_) => format!("${place}::text[]"),
            Value::Number(_) => format!("${place}::bigint[]"),
        })
        .collect();
    let sql = format!("{head} SELECT * FROM unnest({})", arrays.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for values in columns {
        query = match values[0] {
            Value::Text(_) => query.bind(texts(&values)),
            Value::Number(_) => query.bind(numbers(&values)),
        };
    }
    query.execute(connection).await?;
    Ok(())
}

fn texts(values: &[&Value]) -> Vec<Option<String>> {
    let text = |value: &&Value| match value {
        Value::Text(text) => text.clone(),
        Value::Number(_) => None,
    };
    values.iter().map(text).collect()
}

fn numbers(values: &[&Value]) -> Vec<Option<i64>> {
    let number = |value: &&Value| match value {
        Value::Number(number) => *number,
        Value::Text(_) => None,
    };
    values.iter().map(number).collect()
}
