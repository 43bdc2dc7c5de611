use warren_model::{Digest, Function, Route, Version};

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

/// What is seen of a database without taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The id of the server that it belongs to, once there was one.
    pub server: Option<String>,
    /// As [`Contents::revision`].
    pub revision: u64,
    /// How many there are, damaged ones included.
    pub functions: u64,
    /// The owner, as it called itself; none where one file has one owner.
    pub holder: Option<String>,
}

/// A function that can't be read: another writer wrote what stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// As the database has it.
    pub name: String,
    /// Those of its routes that can be read.
    pub routes: Vec<Route>,
    /// What its versions refer to, as far as that can be read.
    pub code: Vec<Digest>,
    /// Its reserved concurrency, if that can be read.
    pub reserved: Option<u32>,
    /// The row, the column and what is wrong with it.
    pub problem: String,
}
