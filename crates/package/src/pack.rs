//! Zips made here: of a folder, or of files in memory. The same files give the same bytes, so that the same code has the same digest.

use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::check::check_now;
use crate::{Limits, PackageError};

/// What is made beside the code and is not part of it, at any depth; `venv` only if it is a virtual environment.
const LEFT_OUT: [&str; 4] = [".git", ".venv", "__pycache__", ".DS_Store"];
/// A folder of this name may also be somebody's module.
const MAYBE_VENV: &str = "venv";
/// What every virtual environment has.
const VENV_MARK: &str = "pyvenv.cfg";
/// The usual trade of time for size.
const LEVEL: i64 = 6;

/// A folder, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFolder {
    /// The zip.
    pub zip: Vec<u8>,
    /// Files and links in it.
    pub files: usize,
    /// Of its files together, in bytes, before they are compressed.
    pub bytes: u64,
    /// Paths in the folder that were left out.
    pub left_out: Vec<String>,
}

/// Why no zip was made.
#[derive(Debug, Error)]
pub enum PackError {
    /// A file could not be read.
    #[error("can't read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that is not UTF-8.
    #[error("the name of {path} is not UTF-8; rename it")]
    Name {
        /// The file or folder.
        path: PathBuf,
    },
    /// A device, socket or named pipe.
    #[error("{path} is a special file; only files, folders and symbolic links can be packed")]
    SpecialFile {
        /// The file.
        path: PathBuf,
    },
    /// A folder without files.
    #[error("{path} has no files to deploy")]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// More than may be deployed; noticed before it is read.
    #[error(
        "the files below {path} have more than {limit} bytes together, which is the limit for unpacked code"
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// In bytes.
        limit: u64,
    },
    /// What was packed is not in order.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The zip could not be written.
    #[error("can't make the zip")]
    Zip(#[source] zip::result::ZipError),
}

/// Packs a folder: sorted by name, with fixed times, execute bits and symbolic links. `.git`, `.venv`, `__pycache__`, `.DS_Store`, and `venv` where it
/// is a virtual environment, are left out. Blocks this thread.
pub fn zip_folder(folder: &Path) -> Result<PackedFolder, PackError> {
    let limits = Limits::default();
    let mut zip = Zip::new();
    let mut files = 0_usize;
    let mut bytes = 0_u64;
    let mut left_out = Vec::new();
    // Folders still to be read, with the names that they have in the zip.
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((path, prefix)) = folders.pop() {
        for (path, name) in sorted(&path)? {
            let leave_out = is_left_out(&path, &name);
            let name = format!("{prefix}{name}");
            if leave_out {
                left_out.push(name);
                continue;
            }
            let metadata = path.symlink_metadata().map_err(at(&path))?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                zip.folder(&name)?;
                folders.push((path, format!("{name}/")));
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(at(&path))?;
                let target = target
                    .to_str()
                    .ok_or_else(|| PackError::Name { path: path.clone() })?;
                zip.link(&name, target)?;
                files += 1;
            } else if kind.is_file() {
                files += 1;
                bytes = bytes.saturating_add(metadata.len());
                if bytes > limits.unpacked {
                    return Err(PackError::TooLarge {
                        path: folder.to_path_buf(),
                        limit: limits.unpacked,
                    });
                }
                let executable = metadata.permissions().mode() & 0o100 != 0;
                zip.file(&name, executable)?;
                let mut file = File::open(&path).map_err(at(&path))?;
                io::copy(&mut file, &mut zip.writer).map_err(at(&path))?;
            } else {
                return Err(PackError::SpecialFile { path });
            }
        }
    }
    if files == 0 {
        return Err(PackError::NoFiles {
            path: folder.to_path_buf(),
        });
    }
    let zip = zip.finish()?;
    check_now(&zip, &limits, None)?;
    Ok(PackedFolder {
        zip,
        files,
        bytes,
        left_out,
    })
}

/// Packs files given by name and content, in the order of their names. A file that begins as a script (`#!`) or a program (ELF) may be executed.
pub fn zip_inline<N: AsRef<str>, C: AsRef<[u8]>>(files: &[(N, C)]) -> Result<Vec<u8>, PackError> {
    let mut files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, content)| (name.as_ref(), content.as_ref()))
        .collect();
    files.sort_unstable();
    if let Some(pair) = files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let entry = pair[0].0.to_owned();
        return Err(PackageError::Duplicate { entry }.into());
    }
    let mut zip = Zip::new();
    for (name, content) in files {
        let executable = content.starts_with(b"#!") || content.starts_with(b"\x7fELF");
        zip.file(name, executable)?;
        zip.writer
            .write_all(content)
            .map_err(|error| PackError::Zip(error.into()))?;
    }
    let zip = zip.finish()?;
    check_now(&zip, &Limits::default(), None)?;
    Ok(zip)
}

fn is_left_out(path: &Path, name: &str) -> bool {
    LEFT_OUT.contains(&name) || name == MAYBE_VENV && path.join(VENV_MARK).is_file()
}

/// What is in a folder, in the order of the names.
fn sorted(folder: &Path) -> Result<Vec<(PathBuf, String)>, PackError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| PackError::Name { path: path.clone() })?
            .to_owned();
        found.push((path, name));
    }
    found.sort_unstable();
    Ok(found)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PackError + '_ {
    |source| PackError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// A zip in the making.
struct Zip {
    writer: ZipWriter<Cursor<Vec<u8>>>,
}

impl Zip {
    fn new() -> Self {
        Self {
            writer: ZipWriter::new(Cursor::new(Vec::new())),
        }
    }

    fn options(mode: u32) -> SimpleFileOptions {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(mode)
    }

    fn folder(&mut self, name: &str) -> Result<(), PackError> {
        self.writer
            .add_directory(name, Self::options(0o755))
            .map_err(PackError::Zip)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), PackError> {
        self.writer
            .add_symlink(name, target, Self::options(0o777))
            .map_err(PackError::Zip)
    }

    fn file(&mut self, name: &str, executable: bool) -> Result<(), PackError> {
        let mode = if executable { 0o755 } else { 0o644 };
        self.writer
            .start_file(name, Self::options(mode))
            .map_err(PackError::Zip)
    }

    fn finish(self) -> Result<Vec<u8>, PackError> {
        Ok(self.writer.finish().map_err(PackError::Zip)?.into_inner())
    }
}

#[cfg(test)]
mod tests;
