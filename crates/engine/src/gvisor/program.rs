//! Which `runsc`: one that the user has in the `PATH`, else the private copy that set-up keeps by its digest.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use sha2::{Digest, Sha256};

use crate::{Unavailable, oci::Program};

const NAME: &str = "runsc";
/// Below the cache: `<sha256 of the file>/runsc`.
const FOLDER: &str = "tools/runsc";
/// Releases are named by their day. This is the oldest that was tried; one of 2022 (Debian 12's) hangs.
const OLDEST: u32 = 20_240_729;

/// Finds the program.
pub(super) struct Programs {
    copies: PathBuf,
    /// The last copy whose digest was right.
    checked: Mutex<Option<(PathBuf, Stamp)>>,
}

/// Changes whenever a file does.
type Stamp = (u64, u64, i64, i64);

impl Programs {
    pub(super) fn new(cache: &Path) -> Self {
        Self {
            copies: cache.join(FOLDER),
            checked: Mutex::default(),
        }
    }

    pub(super) fn find(&self) -> Result<Program, Unavailable> {
        match Program::find(&[NAME]) {
            Ok(program) => Ok(program),
            Err(missing) => match self.newest_copy() {
                Some(file) => self.check(file).map(Program::at),
                None => Err(missing),
            },
        }
    }

    /// An older one may still be used by another version of the server.
    fn newest_copy(&self) -> Option<PathBuf> {
        let folders = fs::read_dir(&self.copies).ok()?.flatten();
        let files = folders.map(|folder| folder.path().join(NAME));
        files
            .filter_map(|file| Some((file.metadata().ok()?.mtime(), file)))
            .max()
            .map(|(_, file)| file)
    }

    /// Whether it is what its folder's name says. Reads it whole once; some 30 ms.
    fn check(&self, file: PathBuf) -> Result<PathBuf, Unavailable> {
        let bad = |reason: String| Unavailable {
            reason,
            next_step: format!("Remove {} and run `make setup`", self.copies.display()),
        };
        let unreadable =
            |error: io::Error| bad(format!("{} can't be read ({error})", file.display()));
        let mut checked = self.checked.lock().unwrap_or_else(|e| e.into_inner());
        let stamp = stamp(&file).map_err(unreadable)?;
        if checked.as_ref() != Some(&(file.clone(), stamp)) {
            let mut digest = Sha256::new();
            let mut open = File::open(&file).map_err(unreadable)?;
            io::copy(&mut open, &mut Writer(&mut digest)).map_err(unreadable)?;
            let found = hex::encode(digest.finalize());
            let name = file.parent().and_then(Path::file_name).unwrap_or_default();
            if name != found.as_str() {
                let text = format!(
                    "{} is not what it was: its SHA-256 is {found}",
                    file.display()
                );
                return Err(bad(text));
            }
            *checked = Some((file.clone(), stamp));
        }
        Ok(file)
    }
}

/// A digest takes bytes, and `io::copy` gives them to a writer.
struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stamp(file: &Path) -> io::Result<Stamp> {
    let found = file.metadata()?;
    Ok((found.ino(), found.len(), found.mtime(), found.ctime()))
}

/// Refuses releases that are known not to work, by what the program says of its version.
pub(super) fn usable(program: &Program, version: &str) -> Result<(), Unavailable> {
    match day(version) {
        Some(day) if day < OLDEST => Err(Unavailable {
            reason: format!(
                "`{}` is of {day} ({version}); releases before {OLDEST} hang or lack what Warren needs",
                program.path().display()
            ),
            next_step: "Remove it from the PATH of the server and run `make setup`, which brings a newer one for Warren alone; or have a newer one first in that PATH".to_owned(),
        }),
        // Without a day the trial start decides.
        _ => Ok(()),
    }
}

/// The day in `release-20240729.0` or `0.0~20240729.0`.
fn day(version: &str) -> Option<u32> {
    version
        .split(|character: char| !character.is_ascii_digit())
        .find(|digits| digits.len() == 8)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_releases_are_refused_with_the_next_step() {
        let program = Program::at("/usr/bin/runsc".into());
        for good in [
            "runsc version 0.0~20240729.0",
            "runsc version release-20251110.0",
            "runsc version VERSION_MISSING",
        ] {
            assert_eq!(usable(&program, good), Ok(()), "{good}");
        }
        for old in [
            "runsc version 0.0~20221219.0",
            "runsc version release-20230417.0",
        ] {
            let refused = usable(&program, old).unwrap_err();
            assert!(refused.reason.contains("/usr/bin/runsc"), "{refused}");
            assert!(refused.next_step.contains("make setup"), "{refused}");
        }
    }

    #[test]
    fn a_copy_is_what_its_folder_says_or_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let programs = Programs::new(cache.path());
        assert_eq!(programs.newest_copy(), None);
        let digest = hex::encode(Sha256::digest(b"program"));
        let folder = cache.path().join(FOLDER).join(digest);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(NAME);
        fs::write(&file, "program").unwrap();
        assert_eq!(programs.newest_copy(), Some(file.clone()));
        assert_eq!(programs.check(file.clone()), Ok(file.clone()));
        fs::write(&file, "something else").unwrap();
        let refused = programs.check(file).unwrap_err();
        assert!(refused.reason.contains("is not what it was"), "{refused}");
    }
}
