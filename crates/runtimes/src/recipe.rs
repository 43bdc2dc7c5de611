//! One language: the parsed and checked `recipe.toml` with the files beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::builder;
use crate::files::{Files, FilesError};

mod check;

/// Raised when the way in which trees are built changes, so that older ones are not taken for the same.
pub(crate) const TREE_FORMAT: u32 = 1;

/// The file that makes a folder a recipe.
pub(crate) const RECIPE_FILE: &str = "recipe.toml";
/// The script that completes the tree, of a recipe or a part.
pub(crate) const BUILD_FILE: &str = "build.sh";

/// A recipe that can't be used: which file, which field, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file is no TOML, or a field is missing, misspelt or of another type.
    #[error("{file}: {problem}")]
    Syntax {
        /// `runtimes/<name>/recipe.toml`, or the path of an own recipe.
        file: String,
        /// The parser's message, with line and column.
        problem: String,
    },
    /// A field holds what can't be.
    #[error("{file}: `{field}` {problem}")]
    Field {
        /// `runtimes/<name>/recipe.toml`, or the path of an own recipe.
        file: String,
        /// The field, with its table: `tree.suite`.
        field: String,
        /// What is wrong with it and what it should be.
        problem: String,
    },
    /// The folder could not be read.
    #[error("the recipe can't be read")]
    Files(#[from] FilesError),
}

/// How the runtime takes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    /// Frames on descriptor 3: `docs/protocol.md`.
    Stream,
    /// The Lambda Runtime API over HTTP, served by the agent.
    RuntimeApi,
}

impl Interface {
    /// As it stands in recipes and in the agent's claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Interface::Stream => "stream",
            Interface::RuntimeApi => "runtime-api",
        }
    }
}

/// Where the files of `/var/runtime` come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// A folder of `runtimes/bootstrap/`, shared by the recipes of a family.
    Shared(String),
    /// A folder within the recipe.
    Own(String),
}

/// Where a recipe was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Compiled into the binary.
    BuiltIn,
    /// A folder of the user's.
    Folder(PathBuf),
}

/// What the root file system is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeSpec {
    /// Debian suite.
    pub suite: String,
    /// Debian packages on top of the base.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Build steps shared with other recipes: folders of `runtimes/parts/`, run before the recipe's own `build.sh`.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Programs that must be on the host for `build.sh` and the parts.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Rough size on disk, for the progress line.
    pub size_mb: u32,
    /// Rough download, for the progress line.
    pub download_mb: u32,
}

/// How a program that stands in one file is run, without the runtime's bootstrap.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The interpreter with its arguments; the file's path follows.
    pub command: Vec<String>,
    /// Endings of file names, without the dot; the first is given to a text without a name.
    pub endings: Vec<String>,
}

impl Script {
    /// Whether a file's name has one of the endings.
    pub fn runs(&self, file: &str) -> bool {
        let ending = file.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| self.endings.iter().any(|known| known == ending))
    }
}

/// Names one root file system by what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeDigest(String);

impl TreeDigest {
    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TreeDigest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(TreeDigest(text.to_owned()))
        } else {
            Err("a tree digest is 32 lower-case hexadecimal digits")
        }
    }
}

/// One language, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The AWS runtime id.
    pub id: String,
    /// For people.
    pub title: String,
    /// Decides the code checks at deploy.
    pub family: String,
    /// Other AWS ids that run on this tree.
    pub stands_in_for: Vec<String>,
    /// How the runtime takes its calls.
    pub interface: Interface,
    /// What the agent starts.
    pub command: Vec<String>,
    /// What is mounted at `/var/runtime`; nothing if `None`.
    pub bootstrap: Option<Bootstrap>,
    /// A handler name that fits, for examples and hints.
    pub example_handler: String,
    /// How scripts are run on it, if they can be.
    pub script: Option<Script>,
    /// Whether the runtime sizes itself by the memory that it finds when its process starts, so that more of it later is of no use.
    pub sized_by_memory: bool,
    /// Added to the environment that Lambda sets.
    pub environment: BTreeMap<String, String>,
    /// The root file system.
    pub tree: TreeSpec,
    /// Where it was found.
    pub origin: Origin,
    /// The folder, without `recipe.toml`.
    pub(crate) files: Files,
    /// The folders of `tree.parts`, in that order.
    pub(crate) parts: Vec<(String, Files)>,
    digest: TreeDigest,
}

/// `recipe.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeToml {
    id: String,
    title: String,
    family: String,
    #[serde(default)]
    stands_in_for: Vec<String>,
    interface: Interface,
    command: Vec<String>,
    bootstrap: Option<String>,
    example_handler: String,
    script: Option<Script>,
    #[serde(default)]
    sized_by_memory: bool,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    tree: TreeSpec,
}

/// What recipes share: `runtimes/bootstrap/` and `runtimes/parts/`.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) bootstraps: BTreeMap<String, Files>,
    pub(crate) parts: BTreeMap<String, Files>,
}

impl Recipe {
    /// Parses and checks the recipe in `files`; `folder` is its name in error messages.
    pub(crate) fn parse(
        folder: &str,
        mut files: Files,
        origin: Origin,
        shared: &Shared,
    ) -> Result<Recipe, RecipeError> {
        let file = format!("{folder}/{RECIPE_FILE}");
        let syntax = |problem: String| RecipeError::Syntax {
            file: file.clone(),
            problem,
        };
        let bytes = files
            .get(RECIPE_FILE)
            .ok_or_else(|| syntax("the file is missing".to_owned()))?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| syntax("the file is not UTF-8".to_owned()))?;
        let raw: RecipeToml =
            toml::from_str(text).map_err(|error| syntax(error.to_string().trim().to_owned()))?;
        check::check(&raw, &files, shared).map_err(|fault| RecipeError::Field {
            file: file.clone(),
            field: fault.field,
            problem: fault.problem,
        })?;
        files.remove(RECIPE_FILE);
        let parts: Vec<(String, Files)> = raw
            .tree
            .parts
            .iter()
            .filter_map(|name| Some((name.clone(), shared.parts.get(name)?.clone())))
            .collect();
        let digest = tree_digest(&raw.tree, &files, &parts);
        Ok(Recipe {
            id: raw.id,
            title: raw.title,
            family: raw.family,
            stands_in_for: raw.stands_in_for,
            interface: raw.interface,
            command: raw.command,
            bootstrap: raw.bootstrap.map(|name| match name.strip_prefix("./") {
                Some(own) => Bootstrap::Own(own.to_owned()),
                None => Bootstrap::Shared(name),
            }),
            example_handler: raw.example_handler,
            script: raw.script,
            sized_by_memory: raw.sized_by_memory,
            environment: raw.environment,
            tree: raw.tree,
            origin,
            files,
            parts,
            digest,
        })
    }

    /// Names the tree that this recipe makes. Two recipes that differ only in what stands outside the tree (title, command, environment, sizes) share one.
    pub fn tree_digest(&self) -> &TreeDigest {
        &self.digest
    }

    /// Whether `id` is this recipe's own or one that it stands in for.
    pub fn serves(&self, id: &str) -> bool {
        self.id == id || self.stands_in_for.iter().any(|other| other == id)
    }
}

fn tree_digest(tree: &TreeSpec, files: &Files, parts: &[(String, Files)]) -> TreeDigest {
    let mut hash = Sha256::new();
    let mut line = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    line(&builder::base_key(&tree.suite));
    line(&tree.packages.join(" "));
    files.hash_into(&mut hash);
    for (name, part) in parts {
        hash.update(name);
        part.hash_into(&mut hash);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(32);
    TreeDigest(text)
}

#[cfg(test)]
pub(crate) mod tests;
