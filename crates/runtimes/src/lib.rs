#![doc = include_str!("../README.md")]

mod aws;
mod builder;
mod catalogue;
mod command;
mod files;
mod kit;
mod lock;
mod progress;
mod recipe;
mod skeleton;
mod trees;

pub use aws::Lifecycle;
pub use catalogue::{Catalogue, Resolution, ResolveError};
pub use files::FilesError;
pub use kit::{AGENT, Kit, KitError};
pub use progress::Progress;
pub use recipe::{Bootstrap, Interface, Origin, Recipe, RecipeError, Script, TreeDigest, TreeSpec};
pub use skeleton::{RUNTIME_GID, RUNTIME_UID, RUNTIME_USER};
pub use trees::{BuildFailure, Tree, TreeError, Trees};
