//! A version as columns, and back: the same for every database.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use warren_model::{
    Code, Config, FunctionName, LastUpdate, RevisionId, State, StateReason, Timestamp, Version,
    VersionId,
};

use crate::StoreError;
use crate::statement::Value;

/// What the column `version` says of the last `$LATEST` that was prepared.
pub(crate) const READY: &str = "$READY";

/// Declares the row once: its members are the columns, their order is that of the values.
macro_rules! row {
    ($(#[$attribute:meta])* $name:ident { $($column:ident: $kind:ty,)+ }) => {
        $(#[$attribute])*
        pub(crate) struct $name {
            $(pub(crate) $column: $kind,)+
        }

        impl $name {
            /// The names of the columns.
            pub(crate) const COLUMNS: &[&str] = &[$(stringify!($column),)+];

            /// Their values.
            pub(crate) fn into_values(self) -> Vec<Value> {
                vec![$(self.$column.into(),)+]
            }
        }
    };
}

row! {
    /// The columns of `versions` as the database gives them.
    #[derive(Debug, sqlx::FromRow)]
    VersionRow {
        function: String,
        version: String,
        revision: String,
        runtime: String,
        handler: String,
        role: String,
        description: String,
        timeout_s: i64,
        memory_mb: i64,
        storage_mb: i64,
        environment: String,
        engine: String,
        network: String,
        snap_start: i64,
        inert: String,
        code_digest: String,
        code_size: i64,
        state: String,
        state_reason_code: Option<String>,
        state_reason_message: Option<String>,
        last_update: Option<String>,
        last_update_reason_code: Option<String>,
        last_update_reason_message: Option<String>,
        modified_ms: i64,
    }
}

/// Where a damaged value was found.
struct Place<'r> {
    table: &'static str,
    row: &'r str,
}

impl Place<'_> {
    fn corrupt(&self, column: &'static str, problem: impl Display) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            row: self.row.to_owned(),
            column,
            problem: problem.to_string(),
        }
    }

    fn parse<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        text.parse().map_err(|error| self.corrupt(column, error))
    }

    fn number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
        number: i64,
    ) -> Result<T, StoreError> {
        T::try_from(number).map_err(|error| self.corrupt(column, error))
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| self.corrupt(column, error))
    }
}

impl VersionRow {
    /// `slot` is the value of the column `version`: the version's id, or [`READY`].
    pub(crate) fn of(version: &Version, slot: &str) -> Result<Self, StoreError> {
        let place = Place {
            table: "versions",
            row: slot,
        };
        let json = |column, value: serde_json::Result<String>| {
            value.map_err(|error| place.corrupt(column, error))
        };
        let config = &version.config;
        let (state_reason_code, state_reason_message) = split(version.state_reason.as_ref());
        let (last_update_reason_code, last_update_reason_message) =
            split(version.last_update_reason.as_ref());
        Ok(Self {
            function: version.function.to_string(),
            version: slot.to_owned(),
            revision: version.revision.to_string(),
            runtime: config.runtime.clone(),
            handler: config.handler.clone(),
            role: config.role.clone(),
            description: config.description.clone(),
            timeout_s: config.timeout.into(),
            memory_mb: config.memory.into(),
            storage_mb: config.ephemeral_storage.into(),
            environment: json("environment", serde_json::to_string(&config.environment))?,
            engine: config.engine.to_string(),
            network: config.network.to_string(),
            snap_start: config.snap_start.into(),
            inert: json("inert", serde_json::to_string(&config.inert))?,
            code_digest: version.code.digest.to_string(),
            code_size: i64::try_from(version.code.size)
                .map_err(|error| place.corrupt("code_size", error))?,
            state: state_name(version.state).to_owned(),
            state_reason_code,
            state_reason_message,
            last_update: version.last_update.map(|u| last_update_name(u).to_owned()),
            last_update_reason_code,
            last_update_reason_message,
            modified_ms: version.modified.as_millis(),
        })
    }

    /// The version that these columns stand for.
    pub(crate) fn into_version(self) -> Result<Version, StoreError> {
        let row = format!("{}:{}", self.function, self.version);
        let at = Place {
            table: "versions",
            row: &row,
        };
        Ok(Version {
            function: at.parse::<FunctionName>("function", &self.function)?,
            id: match self.version.as_str() {
                READY => VersionId::Latest,
                text => at.parse("version", text)?,
            },
            revision: RevisionId::new(self.revision),
            config: Config {
                runtime: self.runtime,
                handler: self.handler,
                role: self.role,
                description: self.description,
                timeout: at.number("timeout_s", self.timeout_s)?,
                memory: at.number("memory_mb", self.memory_mb)?,
                ephemeral_storage: at.number("storage_mb", self.storage_mb)?,
                environment: at.json("environment", &self.environment)?,
                engine: at.parse("engine", &self.engine)?,
                network: at.parse("network", &self.network)?,
                snap_start: self.snap_start != 0,
                inert: at.json("inert", &self.inert)?,
            },
            code: Code {
                digest: at.parse("code_digest", &self.code_digest)?,
                size: at.number("code_size", self.code_size)?,
            },
            state: [State::Pending, State::Active, State::Failed]
                .into_iter()
                .find(|state| state_name(*state) == self.state)
                .ok_or_else(|| at.corrupt("state", &self.state))?,
            state_reason: join(self.state_reason_code, self.state_reason_message),
            last_update: self
                .last_update
                .map(|text| {
                    [
                        LastUpdate::InProgress,
                        LastUpdate::Successful,
                        LastUpdate::Failed,
                    ]
                    .into_iter()
                    .find(|update| last_update_name(*update) == text)
                    .ok_or_else(|| at.corrupt("last_update", &text))
                })
                .transpose()?,
            last_update_reason: join(
                self.last_update_reason_code,
                self.last_update_reason_message,
            ),
            modified: Timestamp::from_millis(self.modified_ms),
        })
    }
}

/// A value of the table `functions`, `routes` or `tags` that is not text by nature.
pub(crate) fn parse<T: FromStr<Err: Display>>(
    table: &'static str,
    row: &str,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    Place { table, row }.parse(column, text)
}

/// A number of the table `functions` or `meta`.
pub(crate) fn number<T: TryFrom<i64, Error: Display>>(
    table: &'static str,
    row: &str,
    column: &'static str,
    number: i64,
) -> Result<T, StoreError> {
    Place { table, row }.number(column, number)
}

/// A row that should be there, or should not.
pub(crate) fn damaged(
    table: &'static str,
    row: &str,
    column: &'static str,
    problem: &str,
) -> StoreError {
    Place { table, row }.corrupt(column, problem)
}

fn split(reason: Option<&StateReason>) -> (Option<String>, Option<String>) {
    match reason {
        Some(StateReason { code, message }) => (Some(code.clone()), Some(message.clone())),
        None => (None, None),
    }
}

fn join(code: Option<String>, message: Option<String>) -> Option<StateReason> {
    code.map(|code| StateReason {
        code,
        message: message.unwrap_or_default(),
    })
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Pending => "Pending",
        State::Active => "Active",
        State::Failed => "Failed",
    }
}

fn last_update_name(update: LastUpdate) -> &'static str {
    match update {
        LastUpdate::InProgress => "InProgress",
        LastUpdate::Successful => "Successful",
        LastUpdate::Failed => "Failed",
    }
}
