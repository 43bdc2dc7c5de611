//! What is deployed: a folder, a file or a zip.

use std::{
    fs,
    io::{Cursor, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, anyhow};
use warren_package::{zip_folder, zip_inline};

use super::failure::Failure;

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
        let (zip, files) = if metadata.is_dir() {
            from_folder(path)?
        } else if path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("zip"))
        {
            from_zip(path)?
        } else {
            from_file(&whole)?
        };
        Ok(Self { name, zip, files })
    }
}

type Packed = (Vec<u8>, Vec<RootFile>);

fn from_folder(path: &Path) -> anyhow::Result<Packed> {
    let zip = zip_folder(path)?;
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
    Ok((zip, files))
}

fn from_file(path: &Path) -> anyhow::Result<Packed> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| anyhow!("the name of {} is not UTF-8", path.display()))?
        .to_owned();
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let zip = zip_inline(&[(&name, &bytes)])?;
    let file = RootFile {
        text: read_text(bytes.as_slice(), bytes.len() as u64),
        executable: bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"),
        name,
    };
    Ok((zip, vec![file]))
}

fn from_zip(path: &Path) -> anyhow::Result<Packed> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes))
        .with_context(|| format!("{} is not a zip", path.display()))?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let (name, size) = (entry.name()?.into_owned(), entry.size());
        if entry.is_file() && !name.contains('/') {
            files.push(RootFile {
                name,
                executable: entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0),
                text: read_text(entry, size),
            });
        }
    }
    drop(archive);
    Ok((bytes, files))
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
        let single = Source::read(&folder.join("app.py")).unwrap();
        assert_eq!(single.files, packed.files);
        assert_eq!(single.name.as_deref(), Some("app"));
    }
}
