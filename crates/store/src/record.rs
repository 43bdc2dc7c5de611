use warren_model::{Function, Version};

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
}
