//! Every case of `tests/fixtures/packages/cases.toml`: its zip, made in code.

mod bombs;
mod contents;
mod names;
mod natives;
pub(crate) mod raw;
mod structure;

use serde::{Deserialize, Serialize};

const TABLE: &str = include_str!("../../../../../tests/fixtures/packages/cases.toml");

/// One row of the table: a package, and what comes of its deployment.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) class: String,
    #[serde(default = "python")]
    pub(crate) runtime: String,
    /// Lambda's error code; none where it is deployed.
    pub(crate) code: Option<String>,
    pub(crate) status: u16,
    /// In full; none where it is deployed.
    pub(crate) message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

fn python() -> String {
    "python3.13".to_owned()
}

/// The whole table, its messages as they are on this machine.
pub(crate) fn all() -> Vec<Case> {
    let mut text = TABLE.to_owned();
    for (word, meaning) in natives::words() {
        text = text.replace(word, meaning);
    }
    let table: Table = toml::from_str(&text).expect("the table is in order");
    table.case
}

/// The zip of a case; none if nobody makes one of this name.
pub(crate) fn zip(name: &str) -> Option<Vec<u8>> {
    bombs::zip(name)
        .or_else(|| contents::zip(name))
        .or_else(|| names::zip(name))
        .or_else(|| natives::zip(name))
        .or_else(|| structure::zip(name))
}
