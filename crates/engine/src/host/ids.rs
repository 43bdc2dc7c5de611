//! User ids of sandboxes on the host: a range of its own for each instance, so that no limit that the kernel keeps by user is shared by two functions.
//!
//! All servers of a machine share them: each reserves blocks of ranges, as many as it needs, by locks on files that all of them know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use crate::EngineError;

/// Ids of one range: all that a sandbox has inside.
pub(crate) const RANGE: u32 = 65_536;
/// The first id of the first range. Below it are those of people, services and containers, above 2^31 programs take ids for negative numbers (systemd,
/// "Users, Groups, UIDs and GIDs").
const FIRST: u32 = 0x7000_0000;
/// Ranges of one block: one for each bit of its map.
const BLOCK: u32 = u64::BITS;
/// Ranges there are, and blocks.
const RANGES: u32 = 0x1000_0000 / RANGE;
const BLOCKS: u32 = RANGES / BLOCK;
/// Where the locks are, one file for each block; cleared by a restart of the host, as instances are.
const FOLDER: &str = "/run/warren/ids";

/// The ranges that one server has, and those of them that are in use.
#[derive(Debug)]
pub(crate) struct Ids {
    folder: PathBuf,
    /// By their numbers.
    blocks: Mutex<BTreeMap<u32, Block>>,
}

/// Reserved until it is dropped.
#[derive(Debug)]
struct Block {
    /// Its lock.
    _file: File,
    /// A bit for each range in use.
    used: u64,
}

impl Ids {
    /// Reserves nothing yet.
    pub(crate) fn new() -> Self {
        Self::within(Path::new(FOLDER))
    }

    fn within(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            blocks: Mutex::default(),
        }
    }

    /// A free range, by its first id. Blocking, some milliseconds where another block has to be reserved.
    ///
    /// # Errors
    /// [`EngineError::NoUserIds`] if thousands are in use.
    pub(crate) fn take(&self) -> Result<u32, EngineError> {
        let mut blocks = self.blocks();
        let room = blocks.iter().find(|(_, block)| block.used != u64::MAX);
        let number = match room {
            Some((number, _)) => *number,
            None => {
                let (number, block) = self.reserve(&blocks)?;
                blocks.insert(number, block);
                number
            }
        };
        let block = blocks.get_mut(&number).ok_or(EngineError::NoUserIds)?;
        let free = block.used.trailing_ones();
        block.used |= 1 << free;
        Ok(FIRST + (number * BLOCK + free) * RANGE)
    }

    /// Nobody runs with its ids any more.
    pub(crate) fn give_back(&self, first: u32) {
        let range = (first - FIRST) / RANGE;
        let (number, bit) = (range / BLOCK, range % BLOCK);
        let mut blocks = self.blocks();
        if let Some(block) = blocks.get_mut(&number) {
            block.used &= !(1 << bit);
            // The last one is kept for the next instance.
            if block.used == 0 && blocks.len() > 1 {
                blocks.remove(&number);
            }
        }
    }

    /// A block that no server has, and no process: instances of a server that was killed live on until its next start.
    fn reserve(&self, own: &BTreeMap<u32, Block>) -> Result<(u32, Block), EngineError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.folder)
            .map_err(EngineError::host("create the folder", &self.folder))?;
        let inhabited = inhabited()?;
        let others = (0..BLOCKS).filter(|number| !own.contains_key(number));
        for number in others.filter(|number| !inhabited.contains(number)) {
            let path = self.folder.join(number.to_string());
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(EngineError::host("open", &path))?;
            match file.try_lock() {
                Ok(()) => {
                    let block = Block {
                        _file: file,
                        used: 0,
                    };
                    return Ok((number, block));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(EngineError::host("lock", &path)(error));
                }
            }
        }
        Err(EngineError::NoUserIds)
    }

    fn blocks(&self) -> MutexGuard<'_, BTreeMap<u32, Block>> {
        self.blocks.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Blocks with ids that a process of this host has. Some ten microseconds for each process.
fn inhabited() -> Result<BTreeSet<u32>, EngineError> {
    let processes = fs::read_dir("/proc").map_err(EngineError::host("read", "/proc"))?;
    let statuses = processes
        .flatten()
        // Not a process, or one that has ended.
        .filter_map(|process| fs::read_to_string(process.path().join("status")).ok());
    let users = statuses.flat_map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let ids = line.into_iter().flat_map(str::split_whitespace);
        ids.filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
    });
    let offsets = users.filter_map(|user| user.checked_sub(FIRST));
    Ok(offsets.map(|offset| offset / (RANGE * BLOCK)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_are_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let ids = Ids::within(folder.path());
        let (first, second) = (ids.take().unwrap(), ids.take().unwrap());
        assert_eq!(second - first, RANGE);
        ids.give_back(first);
        assert_eq!(ids.take().unwrap(), first);
        let last = std::iter::from_fn(|| ids.take().ok()).last().unwrap();
        assert!(last.checked_add(RANGE).is_some_and(|end| end <= 1 << 31));
        let refused = ids.take().unwrap_err();
        assert!(refused.to_string().contains("--max-instances"), "{refused}");
        ids.give_back(second);
        assert_eq!(ids.take().unwrap(), second);
    }

    #[test]
    fn servers_of_a_machine_have_ranges_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Ids::within(folder.path()), Ids::within(folder.path()));
        let many = |ids: &Ids| -> BTreeSet<u32> { (0..100).map(|_| ids.take().unwrap()).collect() };
        let (of_one, of_other) = (many(&one), many(&other));
        assert_eq!((of_one.len(), of_other.len()), (100, 100));
        assert!(of_one.is_disjoint(&of_other));
        // A block that is not used any more is another server's to take.
        for first in &of_one {
            one.give_back(*first);
        }
        assert_eq!(one.blocks().len(), 1);
        drop(one);
        let third = Ids::within(folder.path());
        assert!(of_one.contains(&third.take().unwrap()));
    }

    #[test]
    fn ids_of_a_process_that_outlived_its_server_are_not_given() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: processes of other users need root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let killed = Ids::within(folder.path());
        let first = killed.take().unwrap();
        let mut left = std::process::Command::new("sleep")
            .arg("60")
            .uid(first + 993)
            .spawn()
            .unwrap();
        drop(killed);
        let next = Ids::within(folder.path()).take();
        left.kill().unwrap();
        left.wait().unwrap();
        let block = |first: u32| (first - FIRST) / RANGE / BLOCK;
        assert_ne!(block(next.unwrap()), block(first));
    }
}
