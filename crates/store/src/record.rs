use warren_model::{Function, Route, Version};

/// All that is stored of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The function with its `$LATEST`.
    pub function: Function,
    /// The last `$LATEST` that was prepared, while the present one is not: calls go to it. None if there never was one or `$LATEST` itself is prepared.
    pub ready: Option<Version>,
    /// The published versions, in the order of their numbers.
    pub versions: Vec<Version>,
}

/// All that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Raised by every change; 0 in a new store.
    pub revision: u64,
    /// In the order of their names.
    pub functions: Vec<Record>,
    /// Those of which a row can't be read, in the order of their names.
    pub damaged: Vec<Damaged>,
}

/// A function that can't be read: another writer wrote what stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// As the database has it.
    pub name: String,
    /// Those of its routes that can be read.
    pub routes: Vec<Route>,
    /// The row, the column and what is wrong with it.
    pub problem: String,
}
