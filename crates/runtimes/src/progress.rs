//! What a tree build tells while it runs.

use std::time::Duration;

/// One message of a build: at the start of each step, and about once a second within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The recipe that is built.
    pub recipe: String,
    /// The step at hand, from 1; 0 while waiting for another process that builds the same tree.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// What the step does, in a few words.
    pub text: String,
    /// The last line of the log, for display beside `text`; empty at the start of a step.
    pub detail: String,
    /// Since the build began.
    pub elapsed: Duration,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "[{}/{}] {}: {}",
            self.step, self.steps, self.recipe, self.text
        )
    }
}
