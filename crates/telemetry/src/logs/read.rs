use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
};

use super::{
    LogError, Query,
    format::{Names, decode},
    segments::FileEnd,
};
use crate::LogLine;

/// Reads what a query wants from files that end where they are said to, off the asynchronous threads.
pub(super) async fn query(files: Vec<FileEnd>, query: Query) -> Result<Vec<LogLine>, LogError> {
    tokio::task::spawn_blocking(move || read(&files, &query))
        .await
        .map_err(|_| LogError::Closed)?
}

/// From the newest file to the oldest, until there is enough.
fn read(files: &[FileEnd], query: &Query) -> Result<Vec<LogLine>, LogError> {
    let mut found: VecDeque<LogLine> = VecDeque::new();
    for file in files.iter().rev() {
        let wanted = query.limit - found.len();
        if wanted == 0 {
            break;
        }
        let bytes = contents(file)?;
        let mut names = Names::default();
        let mut newer_than_wanted = false;
        let before = found.len();
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        for line in whole.rsplit(|byte| *byte == b'\n') {
            if found.len() - before == wanted {
                break;
            }
            let Some(line) = decode(line, &mut names) else {
                continue;
            };
            newer_than_wanted |= query.since_us.is_none_or(|since| line.time_us >= since);
            if query.matches(&line) {
                found.push_front(line);
            }
        }
        // Times are not quite in order, as instances write at the same time; a whole file too old ends the search.
        if !newer_than_wanted && !bytes.is_empty() {
            break;
        }
    }
    Ok(found.into())
}

fn contents(file: &FileEnd) -> Result<Vec<u8>, LogError> {
    let failed = |source| LogError::File {
        doing: "read",
        path: file.path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    match File::open(&file.path) {
        // Removed meanwhile, by its age or with its function.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(open) => {
            open.take(file.bytes)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
        }
    }
    Ok(bytes)
}
