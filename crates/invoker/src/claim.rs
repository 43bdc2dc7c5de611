//! What an agent is told to run.

use std::collections::BTreeMap;

use warren_protocol::{Claim, Interface};
use warren_runtimes::{Interface as RecipeInterface, RUNTIME_GID, RUNTIME_UID, Recipe};

/// Where a runtime works.
pub(crate) const DIRECTORY: &str = "/var/task";
/// Open files of a runtime, as on Lambda (quota page).
pub(crate) const OPEN_FILES: u64 = 1024;

/// The claim for a language's runtime with this environment.
pub(crate) fn claim(recipe: &Recipe, environment: BTreeMap<String, String>) -> Claim {
    Claim {
        command: recipe.command.clone(),
        interface: match recipe.interface {
            RecipeInterface::Stream => Interface::Stream,
            RecipeInterface::RuntimeApi => Interface::RuntimeApi,
        },
        environment,
        directory: DIRECTORY.to_owned(),
        uid: RUNTIME_UID,
        gid: RUNTIME_GID,
        open_files: OPEN_FILES,
        processes: None,
        snapshot: false,
    }
}
