use std::collections::HashMap;

use super::{largest::largest, links, name, tree};
use crate::archive::{Archive, CopyError, Inflater, Record};
use crate::{Limits, PackageError};

/// The kind of file in a Unix mode, and its values.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Any of the execute bits.
const EXECUTE: u32 = 0o111;

/// The two ways of keeping a content that every tool has.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File { executable: bool },
    Link { target: String },
}

/// One thing to unpack.
#[derive(Debug)]
pub(crate) struct Entry<'z> {
    /// Relative, with '/' and without '.' and '..'.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) record: Record<'z>,
}

/// All that a zip says to hold, found to be in order: structure, names, kinds, links. Files are not read yet.
#[derive(Debug)]
pub(crate) struct Plan<'z> {
    pub(crate) entries: Vec<Entry<'z>>,
    /// Size of all of them together, in bytes, as they state it.
    pub(crate) size: u64,
}

impl<'z> Plan<'z> {
    /// Reads the directory of the zip, the header of each entry, and the targets of links.
    pub(crate) fn read(zip: &'z [u8], limits: &Limits) -> Result<Self, PackageError> {
        if let Some(error) = oversize(zip, limits) {
            return Err(error);
        }
        let archive = Archive::open(zip)?;
        if archive.len() > limits.entries {
            return Err(PackageError::TooManyEntries {
                limit: limits.entries,
            });
        }
        let mut plan = Self {
            entries: Vec::with_capacity(archive.len()),
            size: 0,
        };
        for record in archive.records() {
            let record = record?;
            let name = name::text(&record)?;
            let path = name::normal(name, limits)?;
            let kind = kind_of(&record, &path, name::is_folder(name))?;
            plan.size = plan.size.saturating_add(record.size);
            if plan.size > limits.unpacked {
                let sizes = archive.records().map_while(Result::ok);
                return Err(PackageError::UnpackedTooLarge {
                    found: sizes.fold(0, |sum, one| one.size.saturating_add(sum)),
                    largest: largest(&archive, limits.entries, |record| record.size),
                    limit: limits.unpacked,
                });
            }
            plan.entries.push(Entry { path, kind, record });
        }
        let mut records: Vec<_> = plan.entries.iter_mut().map(|e| &mut e.record).collect();
        archive.locate(&mut records)?;
        plan.check_folders()?;
        // The root itself may be named, and is there anyway.
        plan.entries.retain(|entry| !entry.path.is_empty());
        if plan.entries.is_empty() {
            return Err(PackageError::Empty);
        }
        tree::check(&plan.entries, limits)?;
        plan.read_links(limits)?;
        Ok(plan)
    }

    /// Folders have nothing in them: what follows a folder's header are other entries to whoever reads from the front.
    fn check_folders(&self) -> Result<(), PackageError> {
        let mut inflater = Inflater::new();
        self.entries
            .iter()
            .filter(|entry| entry.kind == Kind::Folder)
            .try_for_each(|entry| {
                inflater.copy(&entry.record, |_| Ok(())).map_err(|error| {
                    let problem = match error {
                        CopyError::Content(problem) => problem,
                        CopyError::Write(error) => error.to_string(),
                    };
                    let path = if entry.path.is_empty() {
                        "./"
                    } else {
                        &entry.path
                    };
                    PackageError::damaged(path, problem)
                })
            })
    }

    fn read_links(&mut self, limits: &Limits) -> Result<(), PackageError> {
        let mut inflater = Inflater::new();
        let mut size = 0;
        for entry in &mut self.entries {
            if let Kind::Link { target } = &mut entry.kind {
                *target = read_target(&entry.record, &entry.path, &mut inflater, limits)?;
                size += target.len();
                if size > limits.targets {
                    return Err(PackageError::TargetsTooLarge {
                        entry: entry.path.clone(),
                        limit: limits.targets,
                    });
                }
            }
        }
        let targets = self.targets();
        if targets.is_empty() {
            return Ok(());
        }
        tree::no_twin_of_a_link(&self.entries)?;
        let mut walk = links::Walk::new(&targets);
        self.entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Link { .. }))
            .try_for_each(|entry| walk.follow(&entry.path))
    }

    /// Targets of the links, by their paths.
    fn targets(&self) -> HashMap<&str, &str> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.kind {
                Kind::Link { target } => Some((entry.path.as_str(), target.as_str())),
                _ => None,
            })
            .collect()
    }

    /// Whether there is a file at this path, itself or behind links.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        let targets = self.targets();
        let end = links::Walk::new(&targets).end_of(path);
        // Links that are out of order were refused before.
        end.is_ok_and(|end| {
            let mut files = self.entries.iter().filter(|entry| entry.path == end);
            files.any(|entry| matches!(entry.kind, Kind::File { .. }))
        })
    }
}

/// The refusal of a zip that is too large itself, if it is.
pub fn oversize(zip: &[u8], limits: &Limits) -> Option<PackageError> {
    let found = zip.len() as u64;
    (found > limits.zip).then(|| PackageError::ZipTooLarge {
        largest: Archive::open(zip).map_or_else(
            |_| String::new(),
            |archive| largest(&archive, limits.entries, |record| record.packed),
        ),
        found,
        limit: limits.zip,
    })
}

/// What an entry is; a link's target is not known yet.
fn kind_of(record: &Record<'_>, path: &str, folder_by_name: bool) -> Result<Kind, PackageError> {
    let entry = || path.to_owned();
    let mode = record.mode();
    let kind = match mode & KIND {
        // Some readers go by the name, some by the mode.
        FOLDER if !folder_by_name => {
            return Err(PackageError::damaged(
                path,
                "its mode is a folder's and its name has no '/' at its end",
            ));
        }
        FILE if folder_by_name => {
            return Err(PackageError::damaged(
                path,
                "its mode is a file's and its name has a '/' at its end",
            ));
        }
        LINK if !folder_by_name => LINK,
        0 | FOLDER if folder_by_name => FOLDER,
        0 | FILE => FILE,
        _ => {
            return Err(PackageError::SpecialFile {
                entry: entry(),
                mode,
            });
        }
    };
    if record.encrypted() {
        return Err(PackageError::Encrypted { entry: entry() });
    }
    if !matches!(record.method, STORED | DEFLATED) {
        return Err(PackageError::Compression {
            entry: entry(),
            method: method(record.method),
        });
    }
    Ok(match kind {
        // Nothing would be unpacked of what it holds.
        FOLDER if record.size > 0 => {
            return Err(PackageError::damaged(
                path,
                "it is a folder and has content",
            ));
        }
        FOLDER => Kind::Folder,
        LINK => Kind::Link {
            target: String::new(),
        },
        _ => Kind::File {
            executable: mode & EXECUTE != 0,
        },
    })
}

/// What a compression is called, for those that tools offer.
fn method(number: u16) -> String {
    match number {
        9 => "deflate64".to_owned(),
        12 => "bzip2".to_owned(),
        14 => "lzma".to_owned(),
        93 => "zstd".to_owned(),
        95 => "xz".to_owned(),
        other => format!("method {other}"),
    }
}

fn read_target(
    record: &Record<'_>,
    path: &str,
    inflater: &mut Inflater,
    limits: &Limits,
) -> Result<String, PackageError> {
    if record.size > limits.name as u64 {
        let problem = format!("its target has more than {} bytes", limits.name);
        return Err(PackageError::damaged(path, problem));
    }
    let mut target = Vec::new();
    let copied = inflater.copy(record, |piece| {
        target.extend_from_slice(piece);
        Ok(())
    });
    copied.map_err(|error| match error {
        CopyError::Content(problem) => PackageError::damaged(path, problem),
        // Memory takes everything.
        CopyError::Write(error) => PackageError::damaged(path, error),
    })?;
    let target = String::from_utf8(target)
        .map_err(|_| PackageError::damaged(path, "its target is not UTF-8"))?;
    if target.is_empty() || target.contains(char::is_control) {
        return Err(PackageError::damaged(path, "its target is not a path"));
    }
    Ok(target)
}
