//! All recipes, and the way from an AWS runtime id to one of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::aws::Lifecycle;
use crate::files::{Files, FilesError};
use crate::recipe::{Bootstrap, Origin, RECIPE_FILE, Recipe, RecipeError, Shared};

/// `runtimes/` of the repository.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../runtimes");

/// The folder of bootstraps within [`BUILT_IN`].
const BOOTSTRAPS: &str = "bootstrap";
/// The folder of shared build steps within [`BUILT_IN`].
const PARTS: &str = "parts";

/// A runtime id that no recipe serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Neither a recipe's id nor one of AWS's.
    #[error("the runtime {asked:?} is not known; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Every id that would do.
        known: Vec<String>,
    },
    /// AWS refuses it for new functions, and so does Warren. The text is AWS's.
    #[error(
        "The runtime parameter of {asked} is no longer supported for creating or updating AWS Lambda functions. \
         We recommend you use a supported runtime while creating or updating functions. {}.",
        nearest(asked, known)
    )]
    Deprecated {
        /// What was asked for.
        asked: String,
        /// Every id that would do.
        known: Vec<String>,
    },
    /// AWS has it; no recipe here makes it.
    #[error(
        "the runtime {asked:?} has no recipe here; there are {}, and docs/adding-a-language.md says how to add one",
        known.join(", ")
    )]
    NotOffered {
        /// What was asked for.
        asked: String,
        /// Every id that would do.
        known: Vec<String>,
    },
}

/// The numbers in an id, so that 3.9 comes before 3.13.
fn version(id: &str) -> Vec<u32> {
    let numbers = id.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// What would do in place of a runtime that is gone: its language's ids, the newest first; for a language that is not here, programs of one's own.
fn nearest(asked: &str, known: &[String]) -> String {
    fn language(id: &str) -> &str {
        let end = id.find(|c: char| !c.is_ascii_alphabetic());
        &id[..end.unwrap_or(id.len())]
    }
    let mut same: Vec<&str> = known.iter().map(String::as_str).collect();
    same.retain(|id| language(id) == language(asked));
    same.sort_by_key(|id| std::cmp::Reverse(version(id)));
    match same.is_empty() {
        false => format!("Nearest here: {}", same.join(", ")),
        true => format!(
            "That language has no runtime here; provided.al2023 runs any program named 'bootstrap', and there are {}",
            known.join(", ")
        ),
    }
}

/// The recipe that serves a runtime id.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The recipe.
    pub recipe: Arc<Recipe>,
    /// Whether it stands in for the id that was asked for; always shown, never silent.
    pub stands_in: bool,
}

/// All recipes: those compiled in, and the user's own.
#[derive(Debug)]
pub struct Catalogue {
    recipes: BTreeMap<String, Arc<Recipe>>,
    stand_ins: BTreeMap<String, Arc<Recipe>>,
    pub(crate) shared: Shared,
    rejected: Vec<RecipeError>,
}

impl Catalogue {
    /// The recipes compiled in.
    pub fn built_in() -> Result<Catalogue, RecipeError> {
        let all = Files::embedded(&BUILT_IN);
        let folders_of = |folder: &str| {
            let inside = all.below(folder);
            let names = inside.folders().into_iter();
            names
                .map(|name| {
                    let files = inside.below(&name);
                    (name, files)
                })
                .collect()
        };
        let mut catalogue = Catalogue {
            recipes: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            shared: Shared {
                bootstraps: folders_of(BOOTSTRAPS),
                parts: folders_of(PARTS),
            },
            rejected: Vec::new(),
        };
        for name in all.folders() {
            let files = all.below(&name);
            if files.contains(RECIPE_FILE) {
                let folder = format!("runtimes/{name}");
                let recipe = Recipe::parse(&folder, files, Origin::BuiltIn, &catalogue.shared)?;
                catalogue.add(&folder, recipe)?;
            }
        }
        Ok(catalogue)
    }

    /// The recipes compiled in, and those in the folders of `own` (`DATA_DIR/recipes`, which need not exist). An own recipe replaces a built-in
    /// one of the same id. A broken one is left out and listed by [`Catalogue::rejected`]: the server starts without it.
    pub fn load(own: &Path) -> Result<Catalogue, RecipeError> {
        let mut catalogue = Catalogue::built_in()?;
        let entries = match std::fs::read_dir(own) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(catalogue),
            Err(error) => return Err(FilesError::io(own)(error).into()),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(FilesError::io(own))?.path();
            if path.join(RECIPE_FILE).is_file() {
                folders.push(path);
            }
        }
        folders.sort();
        for folder in folders {
            if let Err(error) = catalogue.add_own(&folder) {
                catalogue.rejected.push(error);
            }
        }
        Ok(catalogue)
    }

    fn add_own(&mut self, folder: &Path) -> Result<(), RecipeError> {
        let files = Files::read(folder)?;
        let name = folder.display().to_string();
        let origin = Origin::Folder(folder.to_path_buf());
        let recipe = Recipe::parse(&name, files, origin, &self.shared)?;
        self.add(&name, recipe)
    }

    fn add(&mut self, folder: &str, recipe: Recipe) -> Result<(), RecipeError> {
        let taken = |field: &str, id: &str, other: &Recipe| RecipeError::Field {
            file: format!("{folder}/{RECIPE_FILE}"),
            field: field.to_owned(),
            problem: format!("is {id:?}, which the recipe {:?} has taken", other.title),
        };
        let replaced = self.recipes.get(&recipe.id).cloned();
        if let Some(other) = &replaced
            && other.origin != Origin::BuiltIn
        {
            return Err(taken("id", &recipe.id, other));
        }
        if let Some(other) = replaced {
            self.stand_ins.retain(|_, recipe| recipe.id != other.id);
        }
        for id in &recipe.stands_in_for {
            if let Some(other) = self.stand_ins.get(id)
                && (other.origin == recipe.origin || recipe.origin == Origin::BuiltIn)
            {
                return Err(taken("stands_in_for", id, other));
            }
        }
        let recipe = Arc::new(recipe);
        for id in &recipe.stands_in_for {
            self.stand_ins.insert(id.clone(), Arc::clone(&recipe));
        }
        self.recipes.insert(recipe.id.clone(), recipe);
        Ok(())
    }

    /// The recipe that serves `id`: its own before one that stands in.
    pub fn resolve(&self, id: &str) -> Result<Resolution, ResolveError> {
        if let Some(recipe) = self.recipes.get(id) {
            return Ok(Resolution {
                recipe: Arc::clone(recipe),
                stands_in: false,
            });
        }
        if let Some(recipe) = self.stand_ins.get(id) {
            return Ok(Resolution {
                recipe: Arc::clone(recipe),
                stands_in: true,
            });
        }
        let (asked, known) = (id.to_owned(), self.known_ids());
        Err(match Lifecycle::of(id) {
            Lifecycle::Supported => ResolveError::NotOffered { asked, known },
            Lifecycle::Deprecated => ResolveError::Deprecated { asked, known },
            Lifecycle::Unknown => ResolveError::Unknown { asked, known },
        })
    }

    /// The newest recipe that runs scripts with the ending of this file's name.
    pub fn for_script(&self, file: &str) -> Option<&Arc<Recipe>> {
        self.recipes
            .values()
            .filter(|recipe| recipe.script.as_ref().is_some_and(|s| s.runs(file)))
            .max_by_key(|recipe| version(&recipe.id))
    }

    /// All recipes, by id.
    pub fn recipes(&self) -> impl Iterator<Item = &Arc<Recipe>> {
        self.recipes.values()
    }

    /// Every id that resolves, in order.
    pub fn known_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .recipes
            .keys()
            .chain(self.stand_ins.keys())
            .cloned()
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// Own recipes that can't be used, and why.
    pub fn rejected(&self) -> &[RecipeError] {
        &self.rejected
    }

    /// The files of `/var/runtime` for a recipe.
    pub(crate) fn bootstrap_files(&self, recipe: &Recipe) -> Option<Files> {
        match recipe.bootstrap.as_ref()? {
            Bootstrap::Shared(name) => self.shared.bootstraps.get(name).cloned(),
            Bootstrap::Own(name) => Some(recipe.files.below(name)),
        }
    }
}

#[cfg(test)]
mod tests;
