//! What is mounted over a tree: the agent and the bootstraps, compiled into this binary and laid out in the data folder for engines to bind-mount.
//!
//! ```text
//! DATA_DIR/kit/<digest>/agent                /usr/lib/warren/agent in the sandbox
//! DATA_DIR/kit/<digest>/runtime/<recipe>/    /var/runtime
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalogue::Catalogue;
use crate::files::{Files, FilesError};
use crate::recipe::Recipe;

/// The agent: a static program that is PID 1 in every sandbox.
pub static AGENT: &[u8] = include_bytes!(env!("WARREN_AGENT"));

/// Gives Node.js new entropy when it is loaded (`addon/reseed.rs`); beside the bootstrap that loads it.
static RESEED: &[u8] = include_bytes!(env!("WARREN_RESEED"));
const RESEED_PLACE: (&str, &str) = ("nodejs", "warren_runtime/reseed.node");

/// The kit could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A file or folder could not be written.
    #[error("the kit can't be written to the data folder")]
    Files(#[from] FilesError),
}

/// The laid out kit.
#[derive(Debug, Clone)]
pub struct Kit {
    folder: PathBuf,
    recipes: BTreeSet<String>,
}

impl Kit {
    /// Lays the kit out in `data_dir/kit/<digest>`, whole or not at all. One that is there is compared byte by byte (a few MB) and mended if
    /// a crash or a hand changed it. Blocking, some 10 ms.
    pub fn install(data_dir: &Path, catalogue: &Catalogue) -> Result<Kit, KitError> {
        let mut files = Files::default();
        files.add(Path::new("agent"), Cow::Borrowed(AGENT), true);
        let mut recipes = BTreeSet::new();
        for recipe in catalogue.recipes() {
            if let Some(bootstrap) = catalogue.bootstrap_files(recipe) {
                let folder = format!("runtime/{}", recipe.id);
                files.add_under(&folder, &bootstrap);
                let (family, place) = RESEED_PLACE;
                if recipe.family == family {
                    files.add(
                        &Path::new(&folder).join(place),
                        Cow::Borrowed(RESEED),
                        false,
                    );
                }
                recipes.insert(recipe.id.clone());
            }
        }
        let mut hash = Sha256::new();
        files.hash_into(&mut hash);
        let mut digest = hex::encode(hash.finalize());
        digest.truncate(32);

        let kits = data_dir.join("kit");
        sweep(&kits)?;
        let folder = kits.join(&digest);
        if folder.is_dir() {
            if !files.are_at(&folder) {
                files.write_to(&folder)?;
            }
        } else {
            let unfinished = kits.join(format!(".{digest}-{}", std::process::id()));
            remove(&unfinished)?;
            files.write_to(&unfinished)?;
            match fs::rename(&unfinished, &folder) {
                // Another process was first, with the same bytes.
                Err(_) if folder.is_dir() => remove(&unfinished)?,
                outcome => outcome.map_err(FilesError::io(&folder))?,
            }
        }
        Ok(Kit { folder, recipes })
    }

    /// The agent on this host.
    pub fn agent(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// What is mounted at `/var/runtime` for a recipe; `None` if it has no bootstrap.
    pub fn runtime_folder(&self, recipe: &Recipe) -> Option<PathBuf> {
        self.recipes
            .contains(&recipe.id)
            .then(|| self.folder.join("runtime").join(&recipe.id))
    }

    /// The kit's own folder; its name is the digest.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Removes `.<digest>-<pid>` folders of processes that are no more.
fn sweep(kits: &Path) -> Result<(), FilesError> {
    let entries = match fs::read_dir(kits) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.map_err(FilesError::io(kits))?,
    };
    for entry in entries {
        let entry = entry.map_err(FilesError::io(kits))?;
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.rsplit_once('-'))
            .and_then(|(_, pid)| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), FilesError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FilesError::io(folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program of another architecture than this test's is never carried, so plain offsets of 64-bit ELF do.
    #[test]
    fn the_agent_needs_no_loader() {
        assert!(AGENT.starts_with(b"\x7fELF\x02"));
        let number = |at: usize, bytes: usize| {
            let digits = AGENT[at..at + bytes].iter().rev();
            digits.fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (table, entry, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
        const LOADER: usize = 3;
        let kinds: Vec<usize> = (0..count).map(|i| number(table + i * entry, 4)).collect();
        assert!(!kinds.contains(&LOADER), "{kinds:?}");
    }

    #[test]
    fn the_kit_is_laid_out_once_and_mended() {
        let data = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::built_in().unwrap();
        let kit = Kit::install(data.path(), &catalogue).unwrap();
        let mode = fs::metadata(kit.agent()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        for recipe in catalogue.recipes() {
            match kit.runtime_folder(recipe) {
                Some(folder) => assert!(fs::read_dir(folder).unwrap().count() > 0),
                None => assert!(recipe.bootstrap.is_none()),
            }
        }
        fs::write(kit.agent(), "half").unwrap();
        // Process numbers end at 4194304.
        fs::create_dir(data.path().join("kit/.0123-4194305")).unwrap();
        let again = Kit::install(data.path(), &catalogue).unwrap();
        assert_eq!(again.folder(), kit.folder());
        assert_eq!(fs::read(again.agent()).unwrap(), AGENT);
        assert_eq!(fs::read_dir(data.path().join("kit")).unwrap().count(), 1);
    }
}
