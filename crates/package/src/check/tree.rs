//! What only all entries together show: two things in one place, files in files, folders that only names state.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use unicode_normalization::UnicodeNormalization;

use super::plan::{Entry, Kind};
use crate::{Limits, PackageError};

/// What is at a place of the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// An entry of its own.
    Folder,
    /// A folder whose parents are known to be folders.
    Known,
    /// A file or a link.
    Leaf,
}

/// Each place is taken once, and files are in folders. Names that differ in case or in the spelling of an accent are different files, as on Lambda.
pub(super) fn check(entries: &[Entry<'_>], limits: &Limits) -> Result<(), PackageError> {
    let mut tree: HashMap<&str, What> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let what = match entry.kind {
            Kind::Folder => What::Folder,
            _ => What::Leaf,
        };
        match tree.entry(&entry.path) {
            Place::Vacant(free) => {
                free.insert(what);
            }
            // Some tools name a folder once for each of its files.
            Place::Occupied(first) if (*first.get(), what) == (What::Folder, What::Folder) => {}
            Place::Occupied(_) => {
                return Err(PackageError::Duplicate {
                    entry: entry.path.clone(),
                });
            }
        }
    }
    for entry in entries {
        let mut path = entry.path.as_str();
        // Upwards, until a folder is met whose parents are known.
        while let Some((parent, _)) = path.rsplit_once('/') {
            match tree.entry(parent) {
                Place::Vacant(free) => {
                    free.insert(What::Known);
                }
                Place::Occupied(mut found) => match found.get() {
                    What::Known => break,
                    What::Folder => {
                        found.insert(What::Known);
                    }
                    What::Leaf => {
                        return Err(PackageError::ParentIsNoFolder {
                            entry: entry.path.clone(),
                            parent: parent.to_owned(),
                        });
                    }
                },
            }
            if tree.len() > limits.entries {
                return Err(PackageError::TooManyEntries {
                    limit: limits.entries,
                });
            }
            path = parent;
        }
    }
    Ok(())
}

/// No link has a twin: a name that a file system without case, or one that spells accents in one way, takes for the link's. There a file could be written
/// through the link, so such a zip is made for an attack and not for Linux.
pub(super) fn no_twin_of_a_link(entries: &[Entry<'_>]) -> Result<(), PackageError> {
    let links: HashMap<String, &str> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::Link { .. }))
        .map(|entry| (folded(&entry.path), entry.path.as_str()))
        .collect();
    for entry in entries {
        let whole = folded(&entry.path);
        let ends = whole.match_indices('/').map(|(end, _)| end);
        for (depth, end) in ends.chain([whole.len()]).enumerate() {
            let Some(link) = links.get(&whole[..end]) else {
                continue;
            };
            let place = entry.path.match_indices('/').nth(depth);
            let place = &entry.path[..place.map_or(entry.path.len(), |(end, _)| end)];
            if place != *link {
                return Err(PackageError::TwinOfLink {
                    entry: entry.path.clone(),
                    link: (*link).to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// The same for all spellings of a name.
fn folded(path: &str) -> String {
    match path.is_ascii() {
        true => path.to_ascii_lowercase(),
        false => path.nfd().flat_map(char::to_lowercase).collect(),
    }
}
