//! Which runtime ids AWS knows, and in which state they are: for refusals that say what is wrong.

/// Ids that AWS no longer takes for new functions. Those that run on a newer tree here (`stands_in_for` of a recipe) are looked up first.
const DEPRECATED: [&str; 26] = [
    "dotnet6",
    "dotnet7",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "go1.x",
    "java8",
    "nodejs",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "provided",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "python3.9",
    "ruby2.5",
    "ruby2.7",
];

/// Ids that AWS takes; a language without a recipe here is told apart from a misspelt one.
const SUPPORTED: [&str; 21] = [
    "dotnet10",
    "dotnet8",
    "dotnet9",
    "java11",
    "java17",
    "java21",
    "java25",
    "java8.al2",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "provided.al2",
    "provided.al2023",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
];

/// The state of a runtime id at AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Taken for new functions.
    Supported,
    /// Known, and refused for new functions.
    Deprecated,
    /// No runtime of AWS.
    Unknown,
}

impl Lifecycle {
    /// Looks an id up.
    pub fn of(id: &str) -> Lifecycle {
        if SUPPORTED.contains(&id) {
            Lifecycle::Supported
        } else if DEPRECATED.contains(&id) {
            Lifecycle::Deprecated
        } else {
            Lifecycle::Unknown
        }
    }
}
