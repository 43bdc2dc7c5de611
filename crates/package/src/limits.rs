use warren_model::limits::{MAX_UNPACKED, MAX_ZIP};

/// What a zip may hold. All of it is checked in memory, which these bound as well: the zip itself, at most as much again for names and links, and
/// 64 KiB of content at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the zip itself, in bytes (Lambda's quota page: 50 MB sent directly).
    pub zip: u64,
    /// Size of all files together, in bytes (Lambda's quota page: 250 MB). First as they state it, so that an honest bomb costs nothing; then each is
    /// held to what it stated while it is unpacked. A zip within the zip is a file like any other: nobody opens it here.
    pub unpacked: u64,
    /// Files, links, and folders, those included that only stand in names: each takes an inode and up to a block of the disk. Lambda states none; the
    /// largest `node_modules` that fit in 250 MB have some 60,000.
    pub entries: usize,
    /// A whole name or a link's target, in bytes. A path on Linux has at most 4,096, and the name stands behind the path of the data folder.
    pub name: usize,
    /// One part of a name, in bytes: what Linux file systems take.
    pub part: usize,
    /// Parts of a name. Removing a folder walks it; the deepest `node_modules` have some 30.
    pub depth: usize,
    /// Targets of all links together, in bytes: they are kept in memory, and a packed one can be far smaller. The links of 60,000 npm packages have some
    /// 2,000,000.
    pub targets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            zip: MAX_ZIP,
            unpacked: MAX_UNPACKED,
            entries: 100_000,
            name: 1_024,
            part: 255,
            depth: 64,
            targets: 8 << 20,
        }
    }
}
