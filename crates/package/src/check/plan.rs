use std::collections::{HashMap, hash_map};
use std::fmt::Display;
use std::io::{Cursor, Read};

use zip::CompressionMethod;
use zip::ZipReadOptions;

use zip::read::{Config, OwnedZipFileEntry};
// Unlike `ZipArchive` it keeps entries of one name apart and holds no index of a million entries.
use zip::unstable::read::ZipIterable;

use super::links;
use super::name::{normal, printable};
use crate::{Limits, NameFault, PackageError};

/// The kind of file in a Unix mode, and its values.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Any of the execute bits.
const EXECUTE: u32 = 0o111;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File { executable: bool },
    Link { target: String },
}

/// One thing to unpack.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative, with '/' and without '.' and '..'.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    source: OwnedZipFileEntry,
}

/// All that a zip says to hold, found to be in order: names, kinds, links. Contents are not read yet.
#[derive(Debug)]
pub(crate) struct Plan<'z> {
    zip: &'z [u8],
    entries: Vec<Entry>,
}

impl<'z> Plan<'z> {
    /// Reads the directory of the zip, and the targets of links.
    pub(crate) fn read(zip: &'z [u8], limits: &Limits) -> Result<Self, PackageError> {
        let size = zip.len() as u64;
        if size > limits.zip {
            return Err(PackageError::ZipTooLarge {
                found: size,
                limit: limits.zip,
            });
        }
        let mut archive = ZipIterable::try_new(Cursor::new(zip), Config::default())
            .map_err(|_| PackageError::NotAZip)?;
        if archive.len() > limits.entries {
            return Err(PackageError::TooManyEntries {
                found: archive.len(),
                limit: limits.entries,
            });
        }
        let mut plan = Self {
            zip,
            entries: Vec::with_capacity(archive.len()),
        };
        let mut compressed = 0_u64;
        for source in archive.files().map_err(|_| PackageError::NotAZip)? {
            let source = source.map_err(|_| PackageError::NotAZip)?.into();
            let name = name_of(&source)?;
            let path = normal(name, limits)?;
            // Sharing bytes lets a small zip keep a processor busy for hours, even if nothing comes out.
            compressed = compressed.saturating_add(source.compressed_size());
            if compressed > size {
                return Err(PackageError::Overlap { entry: path, size });
            }
            if path.is_empty() {
                continue;
            }
            let kind = plan.kind_of(&source, &path, name.ends_with('/'), limits)?;
            plan.entries.push(Entry { path, kind, source });
        }
        if plan.entries.is_empty() {
            return Err(PackageError::Empty);
        }
        plan.check_tree()?;
        Ok(plan)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Hands the decompressed content of an entry to `read`; the check sum is compared at its end.
    pub(crate) fn content<T, E: From<PackageError>>(
        &self,
        entry: &Entry,
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        self.content_of(&entry.source, &entry.path, read)
    }

    fn content_of<T, E: From<PackageError>>(
        &self,
        source: &OwnedZipFileEntry,
        path: &str,
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut zip = Cursor::new(self.zip);
        let mut content = source
            .as_ref()
            .with_reader(&mut zip, ZipReadOptions::new())
            .map_err(|error| damaged(path, error))?;
        read(&mut content)
    }

    fn kind_of(
        &self,
        source: &OwnedZipFileEntry,
        path: &str,
        folder_by_name: bool,
        limits: &Limits,
    ) -> Result<Kind, PackageError> {
        let mode = source.unix_mode().unwrap_or_default();
        let kind = match mode & KIND {
            LINK => LINK,
            0 | FILE | FOLDER if folder_by_name => FOLDER,
            0 => FILE,
            FILE => FILE,
            FOLDER => FOLDER,
            _ => {
                return Err(PackageError::SpecialFile {
                    entry: path.to_owned(),
                    mode,
                });
            }
        };
        if kind == FOLDER {
            return Ok(Kind::Folder);
        }
        if source.encrypted() {
            return Err(PackageError::Encrypted {
                entry: path.to_owned(),
            });
        }
        let method = source.compression();
        if !matches!(
            method,
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            return Err(PackageError::Compression {
                entry: path.to_owned(),
                method: method.to_string(),
            });
        }
        match kind {
            LINK => self.target_of(source, path, limits),
            _ => Ok(Kind::File {
                executable: mode & EXECUTE != 0,
            }),
        }
    }

    fn target_of(
        &self,
        source: &OwnedZipFileEntry,
        path: &str,
        limits: &Limits,
    ) -> Result<Kind, PackageError> {
        let mut target = Vec::new();
        self.content_of(source, path, |content| {
            content
                .take(limits.name as u64 + 1)
                .read_to_end(&mut target)
                .map_err(|error| damaged(path, error))
        })?;
        let target =
            String::from_utf8(target).map_err(|_| damaged(path, "its target is not UTF-8"))?;
        if target.len() > limits.name {
            let problem = format!("its target has more than {} bytes", limits.name);
            return Err(damaged(path, problem));
        }
        if target.is_empty() || target.contains(char::is_control) {
            return Err(damaged(path, "its target is not a path"));
        }
        Ok(Kind::Link { target })
    }

    /// What only all entries together show: duplicates, files in files, links that leave.
    fn check_tree(&self) -> Result<(), PackageError> {
        let mut kinds: HashMap<&str, &Kind> = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            match kinds.entry(&entry.path) {
                hash_map::Entry::Vacant(free) => {
                    free.insert(&entry.kind);
                }
                // Some tools name a folder once for each of its files.
                hash_map::Entry::Occupied(first)
                    if (*first.get(), &entry.kind) == (&Kind::Folder, &Kind::Folder) => {}
                hash_map::Entry::Occupied(_) => {
                    return Err(PackageError::Duplicate {
                        entry: entry.path.clone(),
                    });
                }
            }
        }
        let mut targets = HashMap::new();
        for entry in &self.entries {
            for (end, _) in entry.path.match_indices('/') {
                let parent = &entry.path[..end];
                if kinds.get(parent).is_some_and(|kind| **kind != Kind::Folder) {
                    return Err(PackageError::ParentIsNoFolder {
                        entry: entry.path.clone(),
                        parent: parent.to_owned(),
                    });
                }
            }
            if let Kind::Link { target } = &entry.kind {
                targets.insert(entry.path.as_str(), target.as_str());
            }
        }
        let mut walk = links::Walk::new(&targets);
        self.entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Link { .. }))
            .try_for_each(|entry| walk.follow(&entry.path))
    }
}

/// The refusal of an entry whose content can't be read.
pub(super) fn damaged(path: &str, problem: impl Display) -> PackageError {
    PackageError::Damaged {
        entry: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// Names in other encodings are refused, not guessed: a module under a guessed name is not found, and nobody sees why.
fn name_of(source: &OwnedZipFileEntry) -> Result<&str, PackageError> {
    std::str::from_utf8(source.name_raw()).map_err(|_| PackageError::Name {
        entry: printable(&String::from_utf8_lossy(source.name_raw())),
        fault: NameFault::Encoding,
    })
}
