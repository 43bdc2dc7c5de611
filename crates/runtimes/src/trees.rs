//! Root file systems in the cache, each under the digest of what it is made of.
//!
//! ```text
//! CACHE/trees/<digest>/rootfs       a finished tree: there or not there, never half
//! CACHE/trees/<digest>/tree.toml    what it is and how large
//! CACHE/trees/<digest>.lock, .log   one builder at a time, across processes; its output
//! CACHE/trees/.building-<digest>/   a build at work, or what a dead one left
//! CACHE/bases/, CACHE/scripts/      what builds share
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::builder::{self, Places};
use crate::command::Log;
use crate::lock::Lock;
use crate::progress::Progress;
use crate::recipe::{Recipe, TreeDigest};

mod error;

pub use error::{BuildFailure, TreeError};
use error::{at, build_error};

/// Describes a finished tree, beside its `rootfs`.
const TREE_FILE: &str = "tree.toml";
/// Prefix of folders that are built in.
const BUILDING: &str = ".building-";
/// Needed on the host whatever the recipe is.
const HOST_TOOLS: [&str; 4] = ["mmdebstrap", "tar", "bash", "chroot"];

/// A finished root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Names it.
    pub digest: TreeDigest,
    /// The root folder; read-only by agreement, shared by every engine.
    pub path: PathBuf,
    /// On disk.
    pub size_bytes: u64,
    /// How long the build took, in milliseconds.
    pub build_ms: u64,
    /// When it was built, in seconds since the epoch.
    pub built_at: u64,
}

/// `tree.toml`.
#[derive(Debug, Serialize, Deserialize)]
struct TreeFile {
    recipe: String,
    size_bytes: u64,
    build_ms: u64,
    built_at: u64,
}

/// The cache of root file systems.
#[derive(Debug, Clone)]
pub struct Trees {
    cache: PathBuf,
}

impl Trees {
    /// A cache in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Trees {
        Trees {
            cache: folder.into(),
        }
    }

    /// `WARREN_CACHE`, or `~/.cache/warren`; `None` when there is no home either.
    pub fn default_folder() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        set("WARREN_CACHE")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache/warren")))
    }

    /// The cache folder.
    pub fn folder(&self) -> &Path {
        &self.cache
    }

    /// The log of the last build of a recipe's tree.
    pub fn log_file(&self, recipe: &Recipe) -> PathBuf {
        self.trees().join(format!("{}.log", recipe.tree_digest()))
    }

    /// The tree of a recipe if it is built. One small file is read.
    pub fn find(&self, recipe: &Recipe) -> Result<Option<Tree>, TreeError> {
        let digest = recipe.tree_digest();
        let folder = self.trees().join(digest.as_str());
        let file = folder.join(TREE_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&file)(error)),
        };
        let found: TreeFile = toml::from_str(&text)
            .map_err(|error| at(&file)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Ok(Some(Tree {
            digest: digest.clone(),
            path: folder.join("rootfs"),
            size_bytes: found.size_bytes,
            build_ms: found.build_ms,
            built_at: found.built_at,
        }))
    }

    /// The tree of a recipe, built first if need be. One build per tree at a time, across processes: others wait for it.
    pub async fn ensure(
        &self,
        recipe: &Recipe,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Tree, TreeError> {
        if let Some(tree) = self.find(recipe)? {
            return Ok(tree);
        }
        require_host(recipe)?;
        let trees = self.trees();
        let scripts = self.cache.join("scripts");
        let bases = self.cache.join("bases");
        for folder in [&trees, &scripts, &bases] {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let begun = Instant::now();
        let lock_file = trees.join(format!("{}.lock", recipe.tree_digest()));
        let log_file = self.log_file(recipe);
        let waiting = || {
            progress(Progress {
                recipe: recipe.id.clone(),
                step: 0,
                steps: 0,
                text: format!(
                    "another process builds it; its log is {}",
                    log_file.display()
                ),
                detail: String::new(),
                elapsed: begun.elapsed(),
            });
        };
        let lock = Lock::take(&lock_file, waiting)
            .await
            .map_err(at(&lock_file))?;
        if let Some(tree) = self.find(recipe)? {
            return Ok(tree);
        }
        self.build(recipe, &lock, &bases, &scripts, &progress).await
    }

    async fn build(
        &self,
        recipe: &Recipe,
        lock: &Lock,
        bases: &Path,
        scripts: &Path,
        progress: &(impl Fn(Progress) + Send + Sync),
    ) -> Result<Tree, TreeError> {
        let digest = recipe.tree_digest();
        let work = self.trees().join(format!("{BUILDING}{digest}"));
        let finished = self.trees().join(digest.as_str());
        // A tree without its description is none.
        for left_over in [&work, &finished] {
            remove(left_over).await?;
        }
        fs::create_dir(&work).map_err(at(&work))?;
        let begun = Instant::now();
        let log = Log::create(self.log_file(recipe)).map_err(|error| TreeError::Log {
            reason: error.to_string(),
        })?;
        tracing::info!(recipe = recipe.id, %digest, log = %log.path().display(), "building a root file system");
        let places = Places {
            work: &work,
            bases,
            scripts,
        };
        let size_bytes = match builder::build(recipe, &places, lock, &log, progress).await {
            Ok(size) => size,
            Err(fault) => {
                remove(&work).await?;
                return Err(build_error(recipe, fault, &log));
            }
        };
        let file = TreeFile {
            recipe: recipe.id.clone(),
            size_bytes,
            build_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            built_at: SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |since| since.as_secs()),
        };
        let text = toml::to_string(&file).map_err(|error| TreeError::Log {
            reason: error.to_string(),
        })?;
        let description = work.join(TREE_FILE);
        fs::write(&description, text).map_err(at(&description))?;
        fs::rename(&work, &finished).map_err(at(&finished))?;
        tracing::info!(recipe = recipe.id, %digest, size_bytes, ms = file.build_ms, "built a root file system");
        Ok(Tree {
            digest: digest.clone(),
            path: finished.join("rootfs"),
            size_bytes,
            build_ms: file.build_ms,
            built_at: file.built_at,
        })
    }

    /// Removes what builds of dead processes left behind; those at work keep theirs. Answers how many.
    pub async fn sweep(&self) -> Result<usize, TreeError> {
        let trees = self.trees();
        let entries = match fs::read_dir(&trees) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(at(&trees)(error)),
        };
        let mut swept = 0;
        for entry in entries {
            let path = entry.map_err(at(&trees))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(digest) = name.and_then(|name| name.strip_prefix(BUILDING)) else {
                continue;
            };
            let lock_file = trees.join(format!("{digest}.lock"));
            if Lock::try_take(&lock_file)
                .map_err(at(&lock_file))?
                .is_some()
            {
                remove(&path).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn trees(&self) -> PathBuf {
        self.cache.join("trees")
    }
}

async fn remove(folder: &Path) -> Result<(), TreeError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

/// What a build needs of this machine, found out before anything is downloaded.
fn require_host(recipe: &Recipe) -> Result<(), TreeError> {
    let own = recipe.tree.tools.iter().map(String::as_str);
    if let Some(tool) = HOST_TOOLS
        .into_iter()
        .chain(own)
        .find(|tool| !builder::on_host(tool))
    {
        return Err(TreeError::MissingTool {
            recipe: recipe.id.clone(),
            tool: tool.to_owned(),
        });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(TreeError::NeedsRoot {
            recipe: recipe.id.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
