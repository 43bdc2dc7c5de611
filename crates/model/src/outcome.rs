use serde::Serialize;

/// How an invocation ended, besides by the function's own answer.
///
/// The names and words are Lambda's (`X-Amz-Function-Error: Unhandled` bodies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The deadline passed.
    TimedOut,
    /// The runtime's process ended.
    Exited,
    /// The runtime broke the protocol or its answer was too large.
    Broken,
    /// The function or its Init raised an error.
    Raised,
    /// Warren could not run it.
    Platform,
}

/// A failure as Lambda reports it to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// For records and logs.
    #[serde(skip)]
    pub kind: FailureKind,
    /// Lambda's `errorType`.
    #[serde(rename = "errorType")]
    pub error_type: String,
    /// Lambda's `errorMessage`.
    #[serde(rename = "errorMessage")]
    pub message: String,
}

/// What the caller of a function gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<B> {
    /// The handler's answer.
    Answer(B),
    /// The handler's (or Init's) own error object, byte for byte.
    Error(B),
    /// Ended by Warren or with its process.
    Failed(Failure),
}
