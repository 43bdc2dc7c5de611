use warren_model::limits::{MAX_UNPACKED, MAX_ZIP};

/// What a zip may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the zip itself, in bytes (Lambda's quota page: 50 MB sent directly).
    pub zip: u64,
    /// Size of all files together, in bytes, counted as they are decompressed; what headers say is not believed (Lambda's quota page: 250 MB).
    pub unpacked: u64,
    /// Files, folders and links. Lambda states none; the largest `node_modules` that fit in 250 MB have some 60,000.
    pub entries: usize,
    /// A whole name or a link's target, in bytes. A path on Linux has at most 4,096, and the name stands behind the path of the data folder.
    pub name: usize,
    /// One part of a name, in bytes: what Linux file systems take.
    pub part: usize,
    /// Parts of a name. Removing a folder walks it; the deepest `node_modules` have some 30.
    pub depth: usize,
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
        }
    }
}
