use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{LogError, LogLimits};

/// The files of one function's log: numbered, the newest open for writing.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// Number and size in bytes, oldest first; the last one is `newest`.
    files: VecDeque<(u64, u64)>,
    newest: Option<File>,
}

/// A file as far as it was written when somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEnd {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Segments {
    /// Finds the files of a folder, which may not exist yet. A torn line at the end of the newest is removed.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut files = list(&folder)?;
        if let Some((number, bytes)) = files.back_mut() {
            *bytes = mend(&path(&folder, *number))?;
        }
        Ok(Self {
            folder,
            files,
            newest: None,
        })
    }

    /// Writes whole lines, in a new file where the newest is full, and removes the oldest files over the cap; answers their bytes.
    pub(super) fn append(&mut self, lines: &[u8], limits: &LogLimits) -> io::Result<u64> {
        if self
            .files
            .back()
            .is_none_or(|(_, bytes)| *bytes >= limits.segment_bytes)
        {
            let number = self.files.back().map_or(1, |(number, _)| number + 1);
            self.newest = None;
            self.files.push_back((number, 0));
        }
        let Some((number, bytes)) = self.files.back_mut() else {
            return Ok(0);
        };
        let file = match &mut self.newest {
            Some(file) => file,
            newest => newest.insert(open_to_append(&self.folder, *number)?),
        };
        file.write_all(lines)?;
        *bytes += lines.len() as u64;
        self.trim(limits)
    }

    fn trim(&mut self, limits: &LogLimits) -> io::Result<u64> {
        let mut removed = 0;
        let mut total: u64 = self.files.iter().map(|(_, bytes)| bytes).sum();
        while total > limits.function_bytes && self.files.len() > 1 {
            let Some((number, bytes)) = self.files.pop_front() else {
                break;
            };
            total -= bytes;
            removed += bytes;
            remove_file(&path(&self.folder, number))?;
        }
        Ok(removed)
    }

    /// Where the files end now, oldest first.
    pub(super) fn ends(&self) -> Vec<FileEnd> {
        self.files
            .iter()
            .map(|(number, bytes)| FileEnd {
                path: path(&self.folder, *number),
                bytes: *bytes,
            })
            .collect()
    }

    /// Removes everything.
    pub(super) fn remove(folder: &Path) -> Result<(), LogError> {
        match fs::remove_dir_all(folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LogError::File {
                doing: "removed",
                path: folder.to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

/// Makes a folder and those above it, for this user only.
pub(super) fn create_folder(folder: &Path) -> Result<(), LogError> {
    make_folder(folder).map_err(|source| LogError::File {
        doing: "created",
        path: folder.to_owned(),
        source,
    })
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

fn open_to_append(folder: &Path, number: u64) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path(folder, number))
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(folder)?;
            open()
        }
        other => other,
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn list(folder: &Path) -> io::Result<VecDeque<(u64, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            files.push((number, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files.into())
}

/// Cuts a file after its last whole line; answers its size then.
fn mend(path: &Path) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut end = size;
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        (&file).take(end - begin).read_to_end(&mut block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            end = begin + place as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < size {
        file.set_len(end)?;
    }
    Ok(end)
}
