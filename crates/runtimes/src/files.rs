//! A small folder held in memory: a recipe or a bootstrap, compiled in or read from disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use include_dir::Dir;
use sha2::{Digest, Sha256};

/// A recipe is a few scripts; what is larger belongs into a package that its build.sh fetches.
const MAX_BYTES: u64 = 64 << 20;
/// See [`MAX_BYTES`].
const MAX_FILES: usize = 5_000;
/// Left behind by interpreters and package clients; never part of a recipe.
const IGNORED: [&str; 3] = ["__pycache__", "node_modules", ".git"];

/// A folder that could not be read into memory or written from it.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system's own error.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder at hand.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is neither a file nor a folder.
    #[error("{path}: only plain files and folders can be in here", path = .0.display())]
    NotPlain(PathBuf),
    /// Larger than a recipe may be.
    #[error("{path}: more than {MAX_FILES} files or {} MB", MAX_BYTES >> 20, path = .0.display())]
    TooLarge(PathBuf),
    /// A name that is not UTF-8.
    #[error("{path}: the name is not UTF-8", path = .0.display())]
    Name(PathBuf),
}

impl FilesError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> FilesError {
        let path = path.to_path_buf();
        move |source| FilesError::Io { path, source }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    bytes: Cow<'static, [u8]>,
    executable: bool,
}

/// Files by their path relative to the folder, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, Entry>);

impl Files {
    /// A compiled-in folder. Modes are not compiled in: what begins with `#!` is executable.
    pub(crate) fn embedded(root: &'static Dir<'static>) -> Files {
        let mut files = Files::default();
        files.add_embedded(root.path(), root);
        files
    }

    fn add_embedded(&mut self, root: &'static Path, folder: &'static Dir<'static>) {
        for file in folder.files() {
            let path = file.path().strip_prefix(root).unwrap_or(file.path());
            let bytes = file.contents();
            self.add(path, Cow::Borrowed(bytes), bytes.starts_with(b"#!"));
        }
        for inner in folder.dirs() {
            if !ignored(inner.path()) {
                self.add_embedded(root, inner);
            }
        }
    }

    /// A folder on disk.
    pub(crate) fn read(root: &Path) -> Result<Files, FilesError> {
        let mut files = Files::default();
        let mut bytes = 0;
        files.add_folder(root, root, &mut bytes)?;
        Ok(files)
    }

    fn add_folder(
        &mut self,
        root: &Path,
        folder: &Path,
        total: &mut u64,
    ) -> Result<(), FilesError> {
        for entry in fs::read_dir(folder).map_err(FilesError::io(folder))? {
            let path = entry.map_err(FilesError::io(folder))?.path();
            if ignored(&path) {
                continue;
            }
            if path.to_str().is_none() {
                return Err(FilesError::Name(path));
            }
            let meta = fs::symlink_metadata(&path).map_err(FilesError::io(&path))?;
            if meta.is_dir() {
                self.add_folder(root, &path, total)?;
            } else if meta.is_file() {
                *total += meta.len();
                if *total > MAX_BYTES || self.0.len() >= MAX_FILES {
                    return Err(FilesError::TooLarge(root.to_path_buf()));
                }
                let bytes = fs::read(&path).map_err(FilesError::io(&path))?;
                let executable = meta.permissions().mode() & 0o100 != 0;
                self.add(
                    path.strip_prefix(root).unwrap_or(&path),
                    Cow::Owned(bytes),
                    executable,
                );
            } else {
                return Err(FilesError::NotPlain(path));
            }
        }
        Ok(())
    }

    /// Adds one file under its path relative to the folder.
    pub(crate) fn add(&mut self, path: &Path, bytes: Cow<'static, [u8]>, executable: bool) {
        let name = path.to_string_lossy().into_owned();
        self.0.insert(name, Entry { bytes, executable });
    }

    /// Adds all of `other` under `folder`.
    pub(crate) fn add_under(&mut self, folder: &str, other: &Files) {
        for (name, entry) in &other.0 {
            self.0.insert(format!("{folder}/{name}"), entry.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|entry| entry.bytes.as_ref())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// What is below `folder`, with names relative to it.
    pub(crate) fn below(&self, folder: &str) -> Files {
        let prefix = format!("{folder}/");
        let inside = self.0.iter().filter_map(|(name, entry)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), entry.clone()))
        });
        Files(inside.collect())
    }

    /// The names of the folders directly inside.
    pub(crate) fn folders(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .0
            .keys()
            .filter_map(|name| name.split_once('/'))
            .map(|(folder, _)| folder.to_owned())
            .collect();
        names.dedup();
        names
    }

    /// Feeds names, executable bits and bytes to a hash, each with its length so that no two folders look alike.
    pub(crate) fn hash_into(&self, hash: &mut Sha256) {
        hash.update((self.0.len() as u64).to_le_bytes());
        for (name, entry) in &self.0 {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update([u8::from(entry.executable)]);
            hash.update((entry.bytes.len() as u64).to_le_bytes());
            hash.update(&entry.bytes);
        }
    }

    /// Writes the files below `root`, readable by every user; existing ones are replaced.
    pub(crate) fn write_to(&self, root: &Path) -> Result<(), FilesError> {
        make_folder(root)?;
        for (name, entry) in &self.0 {
            let path = root.join(name);
            let mut folder = root.to_path_buf();
            if let Some(parent) = Path::new(name).parent() {
                for part in parent {
                    folder.push(part);
                    make_folder(&folder)?;
                }
            }
            fs::write(&path, &entry.bytes).map_err(FilesError::io(&path))?;
            let mode = if entry.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(FilesError::io(&path))?;
        }
        Ok(())
    }

    /// Whether `root` holds each file with exactly these bytes.
    pub(crate) fn are_at(&self, root: &Path) -> bool {
        self.0.iter().all(|(name, entry)| {
            fs::read(root.join(name)).is_ok_and(|found| found == entry.bytes.as_ref())
        })
    }
}

fn ignored(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| IGNORED.iter().any(|ignored| name == *ignored))
}

/// A folder that every user may enter, whatever the umask is.
fn make_folder(path: &Path) -> Result<(), FilesError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(FilesError::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(FilesError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str, bool)]) -> Files {
        let mut files = Files::default();
        for (name, text, executable) in entries {
            files.add(
                Path::new(name),
                Cow::Owned(text.as_bytes().to_vec()),
                *executable,
            );
        }
        files
    }

    fn digest(files: &Files) -> String {
        let mut hash = Sha256::new();
        files.hash_into(&mut hash);
        hex::encode(hash.finalize())
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let original = files(&[
            ("recipe.toml", "id", false),
            ("build.sh", "#!/bin/sh", true),
            ("a/b/c.txt", "deep", false),
        ]);
        original.write_to(folder.path()).unwrap();
        assert!(original.are_at(folder.path()));
        assert_eq!(Files::read(folder.path()).unwrap(), original);
        assert_eq!(original.folders(), ["a"]);
        assert_eq!(original.below("a").get("b/c.txt"), Some(&b"deep"[..]));
    }

    #[test]
    fn the_digest_sees_names_bytes_and_the_executable_bit() {
        let base = digest(&files(&[("a", "1", false)]));
        assert_ne!(base, digest(&files(&[("b", "1", false)])));
        assert_ne!(base, digest(&files(&[("a", "2", false)])));
        assert_ne!(base, digest(&files(&[("a", "1", true)])));
        // The bytes of one file can't pass for two.
        assert_ne!(
            digest(&files(&[("a", "1b", false)])),
            digest(&files(&[("a", "1", false), ("b", "", false)]))
        );
        assert_eq!(base, digest(&files(&[("a", "1", false)])));
    }

    #[test]
    fn links_are_refused_and_caches_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("__pycache__")).unwrap();
        fs::write(folder.path().join("__pycache__/x.pyc"), "x").unwrap();
        assert!(Files::read(folder.path()).unwrap().is_empty());
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let error = Files::read(folder.path()).unwrap_err();
        assert!(matches!(error, FilesError::NotPlain(_)), "{error}");
    }
}
