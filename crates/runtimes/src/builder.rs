//! The steps from a recipe to a root file system, in a folder that nobody else looks at.
//!
//! ```text
//! base (mmdebstrap, or unpacked from the cache) ─► standard folders ─► each part's build.sh ─► the recipe's build.sh ─► prune, measure
//! ```

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::command::{self, CommandError, Log};
use crate::files::FilesError;
use crate::lock::Lock;
use crate::progress::Progress;
use crate::recipe::{BUILD_FILE, Recipe, TREE_FORMAT};
use crate::skeleton::{self, SkeletonError};

/// In every tree, on top of Debian's essential packages: what Lambda's own base has and programs of functions count on.
const BASE_PACKAGES: [&str; 4] = ["ca-certificates", "curl", "libstdc++6", "tzdata"];

/// Not unpacked from any package.
const EXCLUDED: [&str; 6] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
];

/// Where programs of the host are looked for beside PATH.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Why a step failed, before it is dressed with its place and the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the task was stopped")]
    Stopped,
}

/// The step that failed.
#[derive(Debug)]
pub(crate) struct StepFault {
    pub(crate) step: usize,
    pub(crate) steps: usize,
    pub(crate) text: String,
    pub(crate) error: StepError,
    pub(crate) next: &'static str,
}

/// Folders of the cache that a build uses.
pub(crate) struct Places<'a> {
    /// The folder to build in; empty at first.
    pub(crate) work: &'a Path,
    /// Bases, as tar files.
    pub(crate) bases: &'a Path,
    /// What build scripts keep between builds: `CACHE_DIR`.
    pub(crate) scripts: &'a Path,
}

enum Step {
    Base,
    Part(String),
    Script,
    Finish,
}

impl Step {
    fn text(&self, recipe: &Recipe) -> String {
        match self {
            Step::Base if recipe.tree.packages.is_empty() => {
                format!("base system, Debian {}", recipe.tree.suite)
            }
            Step::Base => format!(
                "base system, Debian {} with {}",
                recipe.tree.suite,
                recipe.tree.packages.join(", ")
            ),
            Step::Part(name) => name.clone(),
            Step::Script => format!("{BUILD_FILE} of {}", recipe.id),
            Step::Finish => "prune and measure".to_owned(),
        }
    }

    fn next(&self) -> &'static str {
        match self {
            Step::Base => {
                "see whether this machine reaches a Debian mirror (`apt-get update` shows it), then try again: what was built before is kept"
            }
            Step::Part(_) | Step::Script => {
                "see whether this machine reaches its package registries, then try again: what was downloaded before is kept"
            }
            Step::Finish => "see whether the disk is full, then try again",
        }
    }
}

/// Builds the tree in `places.work/rootfs` and answers its size in bytes.
pub(crate) async fn build(
    recipe: &Recipe,
    places: &Places<'_>,
    lock: &Lock,
    log: &Log,
    progress: &(impl Fn(Progress) + Send + Sync),
) -> Result<u64, StepFault> {
    let mut steps = vec![Step::Base];
    steps.extend(
        recipe
            .parts
            .iter()
            .map(|(name, _)| Step::Part(name.clone())),
    );
    if recipe.files.contains(BUILD_FILE) {
        steps.push(Step::Script);
    }
    steps.push(Step::Finish);

    let begun = Instant::now();
    let root = places.work.join("rootfs");
    let mut size = 0;
    for (index, step) in steps.iter().enumerate() {
        let message = Progress {
            recipe: recipe.id.clone(),
            step: index + 1,
            steps: steps.len(),
            text: step.text(recipe),
            detail: String::new(),
            elapsed: begun.elapsed(),
        };
        let tick = |detail: String| {
            progress(Progress {
                detail,
                elapsed: begun.elapsed(),
                ..message.clone()
            });
        };
        tick(String::new());
        let run = Run {
            lock,
            log,
            places,
            root: &root,
            tick: &tick,
        };
        let outcome = async {
            log.line(&message.to_string())?;
            match step {
                Step::Base => {
                    lay_out_scripts(recipe, places)?;
                    run.base(recipe).await?;
                    let root = root.clone();
                    run.blocking(move || Ok(skeleton::lay(&root)?)).await?;
                }
                Step::Part(name) => run.script(&part_folder(places, name)).await?,
                Step::Script => run.script(&recipe_folder(places)).await?,
                Step::Finish => size = run.finish().await?,
            }
            Ok(())
        };
        outcome.await.map_err(|error| StepFault {
            step: message.step,
            steps: message.steps,
            text: message.text.clone(),
            error,
            next: step.next(),
        })?;
    }
    Ok(size)
}

/// What every step of one build needs.
struct Run<'a, T: Fn(String)> {
    lock: &'a Lock,
    log: &'a Log,
    places: &'a Places<'a>,
    root: &'a Path,
    tick: &'a T,
}

impl<T: Fn(String)> Run<'_, T> {
    async fn command(&self, command: Command) -> Result<(), StepError> {
        Ok(command::run(command, self.lock, self.log, self.tick).await?)
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, StepError> + Send + 'static,
    ) -> Result<R, StepError> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StepError::Stopped)?
    }

    /// The plain base is made once per suite and unpacked from a tar file from then on; one with packages of its own serves nothing else.
    async fn base(&self, recipe: &Recipe) -> Result<(), StepError> {
        let tree = &recipe.tree;
        if !tree.packages.is_empty() {
            return self
                .command(mmdebstrap(&tree.suite, &tree.packages, self.root))
                .await;
        }
        let tar = self
            .places
            .bases
            .join(format!("{}.tar", base_key(&tree.suite)));
        if !tar.exists() {
            let unfinished = self.places.work.join("base.tar");
            let mut base = mmdebstrap(&tree.suite, &[], &unfinished);
            // It works in a temporary folder first, and /tmp may be small or closed to device files.
            base.env("TMPDIR", self.places.work);
            self.command(base).await?;
            fs::rename(&unfinished, &tar).map_err(io_at(&tar))?;
        }
        fs::create_dir(self.root).map_err(io_at(self.root))?;
        let mut unpack = Command::new("tar");
        unpack
            .args([
                "--extract",
                "--preserve-permissions",
                "--numeric-owner",
                "--exclude=./dev/*",
            ])
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(self.root);
        self.command(unpack).await
    }

    /// Runs a build.sh on the tree, in its own folder and with the recipe's at hand.
    async fn script(&self, folder: &Path) -> Result<(), StepError> {
        let mut script = Command::new("bash");
        script
            // It may hold a password.
            .env_remove("WARREN_DATABASE")
            .env("PATH", host_path())
            .arg(format!("./{BUILD_FILE}"))
            .arg(self.root)
            .current_dir(folder)
            .env("CACHE_DIR", self.places.scripts)
            .env("RECIPE_DIR", recipe_folder(self.places));
        self.command(script).await
    }

    async fn finish(&self) -> Result<u64, StepError> {
        let (root, work) = (self.root.to_path_buf(), self.places.work.to_path_buf());
        self.blocking(move || {
            let scripts = work.join("scripts");
            if scripts.exists() {
                fs::remove_dir_all(&scripts).map_err(io_at(&scripts))?;
            }
            skeleton::prune(&root)?;
            skeleton::lay(&root)?;
            let size = size_on_disk(&root).map_err(io_at(&root))?;
            // On disk before it gets its name: a tree that is there is taken for whole for ever.
            let folder = fs::File::open(&root).map_err(io_at(&root))?;
            rustix::fs::syncfs(&folder).map_err(|error| io_at(&root)(error.into()))?;
            Ok(size)
        })
        .await
    }
}

/// PATH with the folders of system programs, which a user's own may lack.
fn host_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for folder in SYSTEM_FOLDERS {
        path.push(":");
        path.push(folder);
    }
    path
}

/// Whether a program is on the host.
pub(crate) fn on_host(tool: &str) -> bool {
    std::env::split_paths(&host_path()).any(|folder| folder.join(tool).is_file())
}

/// Where the recipe's files stand while its tree is built.
fn recipe_folder(places: &Places<'_>) -> PathBuf {
    places.work.join("scripts/recipe")
}

fn part_folder(places: &Places<'_>, name: &str) -> PathBuf {
    places.work.join("scripts/parts").join(name)
}

fn lay_out_scripts(recipe: &Recipe, places: &Places<'_>) -> Result<(), FilesError> {
    recipe.files.write_to(&recipe_folder(places))?;
    for (name, files) in &recipe.parts {
        files.write_to(&part_folder(places, name))?;
    }
    Ok(())
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> StepError {
    let path = path.to_path_buf();
    move |source| StepError::Io { path, source }
}

/// Names a base by what it is made of.
pub(crate) fn base_key(suite: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(TREE_FORMAT.to_le_bytes());
    hash.update(BASE_PACKAGES.join(","));
    hash.update(EXCLUDED.join(","));
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(16);
    format!("{suite}-{}-{digest}", std::env::consts::ARCH)
}

/// The suite's mirror is mmdebstrap's own default, reached as this machine's apt is set up to (proxies included).
fn mmdebstrap(suite: &str, packages: &[String], to: &Path) -> Command {
    let mut include: Vec<&str> = BASE_PACKAGES.to_vec();
    include.extend(packages.iter().map(String::as_str));
    let mut command = Command::new("mmdebstrap");
    command
        .env("PATH", host_path())
        .args(["--mode=root", "--variant=essential"])
        .arg(format!("--include={}", include.join(",")))
        .arg("--aptopt=Acquire::Retries \"3\"");
    for pattern in EXCLUDED {
        command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    command.arg(suite).arg(to);
    command
}

/// Bytes on disk, each file once whatever its number of names.
pub(crate) fn size_on_disk(root: &Path) -> io::Result<u64> {
    let mut seen = HashSet::new();
    let mut folders = vec![root.to_path_buf()];
    let mut blocks = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
                continue;
            }
            blocks += meta.blocks();
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(blocks * 512)
}
