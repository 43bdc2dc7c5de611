//! What is deployed: a folder, a file or a zip.

use std::{
    collections::BTreeSet,
    fs,
    io::{Cursor, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, anyhow};
use warren_package::{zip_folder, zip_inline};

use super::{failure::Failure, package};

/// Largest source file that is read to guess the handler.
const MAX_READ: u64 = 1 << 20;
/// Longest name of a function.
const MAX_NAME: usize = 64;

/// Code, packed, with what is needed to guess the rest.
#[derive(Debug)]
pub(super) struct Source {
    /// A name for the function.
    pub(super) name: Option<String>,
    pub(super) zip: Vec<u8>,
    /// Files that are not in a folder.
    pub(super) files: Vec<RootFile>,
    /// Every file and link.
    pub(super) names: BTreeSet<String>,
    /// What was packed, in a sentence, if it was a folder.
    pub(super) packed: Option<String>,
}

/// A file at the top of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RootFile {
    pub(super) name: String,
    /// Its text, if it is one of moderate size.
    pub(super) text: String,
    pub(super) executable: bool,
}

impl Source {
    /// Reads and packs what is at a path.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let metadata = fs::metadata(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let whole = path
            .canonicalize()
            .with_context(|| format!("could not find {}", path.display()))?;
        let named = match metadata.is_dir() {
            true => whole.file_name(),
            false => whole.file_stem(),
        };
        let name = named.and_then(|name| function_name(&name.to_string_lossy()));
        let mut packed = None;
        let (zip, files, names) = if metadata.is_dir() {
            let folder = zip_folder(path).map_err(anyhow::Error::from)?;
            packed = Some(package::packed(&folder));
            let names = listing(&folder.zip)?.1;
            (folder.zip, root_files(path)?, names)
        } else if path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("zip"))
        {
            let bytes = read(path)?;
            let (files, names) =
                listing(&bytes).with_context(|| format!("{} is not in order", path.display()))?;
            (bytes, files, names)
        } else {
            let (zip, file) = from_file(&whole)?;
            let names = BTreeSet::from([file.name.clone()]);
            (zip, vec![file], names)
        };
        // Before it is sent: a server reads little more than that.
        if let Some(error) = warren_package::oversize(&zip, &warren_package::Limits::default()) {
            return Err(Failure::failed(error.to_string()));
        }
        Ok(Self {
            name,
            zip,
            files,
            names,
            packed,
        })
    }
}

fn root_files(path: &Path) -> anyhow::Result<Vec<RootFile>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(path).with_context(|| format!("could not read {}", path.display()))?;
    for entry in entries {
        let path = entry?.path();
        let Ok(metadata) = fs::metadata(&path) else {
            // A dangling link.
            continue;
        };
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| metadata.is_file()) {
            files.push(RootFile {
                name: name.to_owned(),
                text: read_text(fs::File::open(&path)?, metadata.len()),
                executable: metadata.permissions().mode() & 0o100 != 0,
            });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn from_file(path: &Path) -> anyhow::Result<(Vec<u8>, RootFile)> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| anyhow!("the name of {} is not UTF-8", path.display()))?
        .to_owned();
    let bytes = read(path)?;
    let zip = zip_inline(&[(&name, &bytes)])?;
    let file = RootFile {
        text: read_text(bytes.as_slice(), bytes.len() as u64),
        executable: bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"),
        name,
    };
    Ok((zip, file))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("could not read {}", path.display()))
}

/// The files at the top of a zip, and the names of all its files and links.
fn listing(zip: &[u8]) -> anyhow::Result<(Vec<RootFile>, BTreeSet<String>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).context("it is not a zip")?;
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let (name, size) = (entry.name()?.into_owned(), entry.size());
        if !entry.is_dir() {
            names.insert(name.clone());
        }
        if entry.is_file() && !name.contains('/') {
            files.push(RootFile {
                name,
                executable: entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0),
                text: read_text(entry, size),
            });
        }
    }
    Ok((files, names))
}

fn read_text(content: impl Read, size: u64) -> String {
    let mut text = String::new();
    if size <= MAX_READ && content.take(MAX_READ).read_to_string(&mut text).is_err() {
        // Not a text, so no source either.
        text.clear();
    }
    text
}

/// A name for a function, after a folder or file.
fn function_name(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => character,
            _ => '-',
        })
        .take(MAX_NAME)
        .collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_names_may_have() {
        assert_eq!(function_name("hello.world"), Some("hello-world".to_owned()));
        assert_eq!(function_name("größe_1"), Some("gr--e_1".to_owned()));
        assert_eq!(function_name(".."), None);
    }

    #[test]
    fn an_empty_folder_is_named() {
        let place = tempfile::tempdir().unwrap();
        let text = Source::read(place.path()).unwrap_err().text();
        let path = place.path().display().to_string();
        assert!(
            text.contains(&format!("{path} has no files to deploy")),
            "{text}"
        );
    }

    #[test]
    fn folder_file_and_zip_give_the_same_files() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("my app");
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("app.py"), "def handler(e, c): pass\n").unwrap();
        fs::write(folder.join("lib/x.py"), "").unwrap();
        let packed = Source::read(&folder).unwrap();
        assert_eq!(packed.name.as_deref(), Some("my-app"));
        assert_eq!(packed.files.len(), 1);
        let zip = place.path().join("code.zip");
        fs::write(&zip, &packed.zip).unwrap();
        let from_zip = Source::read(&zip).unwrap();
        assert_eq!(from_zip.files, packed.files);
        assert_eq!(from_zip.zip, packed.zip);
        assert_eq!(from_zip.names, packed.names);
        assert!(packed.names.contains("lib/x.py") && packed.names.len() == 2);
        assert!(packed.packed.is_some() && from_zip.packed.is_none());
        let single = Source::read(&folder.join("app.py")).unwrap();
        assert_eq!(single.files, packed.files);
        assert_eq!(single.name.as_deref(), Some("app"));
    }
}
