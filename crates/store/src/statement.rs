//! A change as data: statements with their values, which each database runs in a transaction of its own. Placeholders are `$1`, `$2`, ..., which every
//! database here understands.

use sqlx::query::Query;
use sqlx::{Database, Encode, Type};

use crate::StoreError;

/// The value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

/// One step of a change.
#[derive(Debug)]
pub(crate) struct Statement {
    sql: &'static str,
    values: Vec<Value>,
    /// What it is about: named where it conflicts.
    what: String,
    /// Whether it must meet exactly one row.
    one: bool,
}

impl Statement {
    /// May meet any number of rows.
    pub(crate) fn new(sql: &'static str, values: Vec<Value>, what: String) -> Self {
        Self {
            sql,
            values,
            what,
            one: false,
        }
    }

    /// Conflicts where it does not meet one row.
    pub(crate) fn of_one(sql: &'static str, values: Vec<Value>, what: String) -> Self {
        Self {
            one: true,
            ..Self::new(sql, values, what)
        }
    }

    pub(crate) fn sql(&self) -> &'static str {
        self.sql
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// As sqlx runs it.
    pub(crate) fn query<'q, DB: Database>(&'q self) -> Query<'q, DB, DB::Arguments>
    where
        &'q Option<String>: Encode<'q, DB> + Type<DB>,
        Option<i64>: Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query(self.sql);
        self.values.iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(*number),
        })
    }

    /// What came of it, given the rows that it met: a key that is taken, or a row that should be there and is not, is a [`StoreError::Conflict`].
    pub(crate) fn judge(&self, met: Result<u64, sqlx::Error>) -> Result<(), StoreError> {
        let conflict = || {
            Err(StoreError::Conflict {
                what: self.what.clone(),
            })
        };
        match met {
            Ok(rows) if self.one && rows != 1 => conflict(),
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => conflict(),
            Err(error) => Err(error.into()),
        }
    }
}
