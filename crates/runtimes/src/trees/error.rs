//! What can go wrong on the way to a tree. Every message names the recipe and the next step.

use std::io;
use std::path::{Path, PathBuf};

use crate::builder::StepFault;
use crate::command::Log;
use crate::recipe::Recipe;

/// A tree that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Unpacking Debian packages with their owners needs root.
    #[error(
        "the root file system of {recipe} is not built yet, and building it needs root: start Warren as root once, or build it with `sudo warren runtimes build {recipe}`"
    )]
    NeedsRoot {
        /// The recipe at hand.
        recipe: String,
    },
    /// A program that the build calls is not on this machine.
    #[error(
        "building the root file system of {recipe} needs {tool:?} on this machine, and it is not there: `make setup` installs it"
    )]
    MissingTool {
        /// The recipe at hand.
        recipe: String,
        /// The program.
        tool: String,
    },
    /// A step of the build failed.
    #[error(transparent)]
    Build(#[from] Box<BuildFailure>),
    /// The cache folder does not do what folders do.
    #[error("the cache of root file systems: {path}: {source}", path = path.display())]
    Cache {
        /// The file or folder at hand.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log of a build could not be written.
    #[error("the log of a tree build can't be written: {reason}")]
    Log {
        /// What went wrong.
        reason: String,
    },
}

/// A build that failed: where, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error(
    "building the root file system of {recipe} failed in step {step} of {steps} ({text}): {reason}\n{tail}\nThe whole log: {log}\nNext: {next}",
    log = log.display()
)]
pub struct BuildFailure {
    /// The recipe at hand.
    pub recipe: String,
    /// The step that failed, from 1.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// What the step does.
    pub text: String,
    /// What went wrong.
    pub reason: String,
    /// The last lines of the log.
    pub tail: String,
    /// The log file.
    pub log: PathBuf,
    /// What to do about it.
    pub next: &'static str,
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_path_buf();
    move |source| TreeError::Cache { path, source }
}

pub(super) fn build_error(recipe: &Recipe, fault: StepFault, log: &Log) -> TreeError {
    let failure = BuildFailure {
        recipe: recipe.id.clone(),
        step: fault.step,
        steps: fault.steps,
        text: fault.text,
        reason: fault.error.to_string(),
        tail: log.tail().join("\n"),
        log: log.path().to_path_buf(),
        next: fault.next,
    };
    Box::new(failure).into()
}
