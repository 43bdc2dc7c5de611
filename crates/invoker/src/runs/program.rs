use warren_protocol::{Claim, Interface};
use warren_runtimes::{RUNTIME_GID, RUNTIME_UID, Recipe};

use super::RunRequest;
use crate::{claim::OPEN_FILES, environment};

/// Where the code is.
const CODE: &str = "/var/task";
/// The only folder that a program may write to.
const HOME: &str = "/tmp";

/// What the agent starts.
pub(super) fn claim(recipe: &Recipe, request: &RunRequest) -> Claim {
    let script = recipe.script.iter();
    let mut command: Vec<String> = script.flat_map(|script| script.command.clone()).collect();
    command.push(format!("{CODE}/{}", request.entry));
    command.extend(request.args.iter().cloned());
    let mut environment = environment::base(recipe);
    environment.insert("HOME".to_owned(), HOME.to_owned());
    environment.extend(request.environment.clone());
    Claim {
        command,
        interface: Interface::Program,
        environment,
        directory: CODE.to_owned(),
        uid: RUNTIME_UID,
        gid: RUNTIME_GID,
        open_files: OPEN_FILES,
        processes: None,
        snapshot: false,
    }
}
