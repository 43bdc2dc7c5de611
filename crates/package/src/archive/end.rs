//! The end of a zip: which directory is the one, and where it is.

use std::ops::Range;

use super::broken;
use super::field::{signed, u16_at, u32_at, u64_at};
use crate::PackageError;

const ENTRY: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

/// Size of an end record without its comment, in bytes.
const END_SIZE: usize = 22;
/// Size of a zip64 end record without extensions, in bytes; what its own size member counts.
const END_64_SIZE: usize = 56;
const END_64_COUNTED: u64 = 44;
/// Size of the record that leads to the zip64 end record, in bytes.
const LOCATOR_64_SIZE: usize = 20;
/// Longest comment, in bytes.
const MAX_COMMENT: usize = 65_535;
/// Smallest entry of a directory, in bytes.
const ENTRY_SIZE: usize = 46;

/// What the end records say, found to be true of the bytes before them.
pub(super) struct End {
    pub(super) directory: Range<usize>,
    pub(super) prefix: usize,
    pub(super) count: usize,
}

/// The members that both kinds of end record have.
struct Members {
    count_here: u64,
    count: u64,
    size: u64,
    offset: u64,
}

impl End {
    pub(super) fn find(zip: &[u8]) -> Result<Self, PackageError> {
        let at = position(zip)?;
        let (members, directory_end) = members(zip, at)?;
        if members.count_here != members.count {
            return Err(broken("it is one part of several"));
        }
        let moved = || broken("its directory is not where its end record says");
        let size = usize::try_from(members.size).map_err(|_| moved())?;
        let start = directory_end.checked_sub(size).ok_or_else(moved)?;
        let offset = usize::try_from(members.offset).map_err(|_| moved())?;
        let prefix = start.checked_sub(offset).ok_or_else(moved)?;
        // Some readers count offsets from behind what stands before the zip, some take them as they are, if only a directory is there.
        let at_zero = |at: usize, signature| prefix > 0 && signed(zip, at, signature);
        if at_zero(offset, ENTRY) || at_zero(offset, END) || at_zero(offset + size, END_64) {
            return Err(broken("it has a second directory"));
        }
        let count = usize::try_from(members.count).unwrap_or(usize::MAX);
        if count > size / ENTRY_SIZE {
            return Err(broken(format!(
                "its end record counts {} entries, for which its directory is too small",
                members.count
            )));
        }
        Ok(Self {
            directory: start..directory_end,
            prefix,
            count,
        })
    }
}

/// Where the one end record is. Readers look for it in different ways; here no second place may look like one.
fn position(zip: &[u8]) -> Result<usize, PackageError> {
    if zip.len() < END_SIZE {
        return Err(PackageError::NotAZip);
    }
    let first = zip.len().saturating_sub(END_SIZE + MAX_COMMENT);
    let places: Vec<usize> = (first..zip.len())
        .filter(|at| signed(zip, *at, END))
        .collect();
    let Some(last) = places.last() else {
        return Err(PackageError::NotAZip);
    };
    let end_of = |at: usize| at + END_SIZE + usize::from(u16_at(zip, at + 20).unwrap_or_default());
    // A zip within the zip has an end record as well, which does not reach to the end.
    let mut whole = places.iter().filter(|at| end_of(**at) == zip.len());
    match (whole.next(), whole.next()) {
        (Some(at), None) if at == last => Ok(*at),
        (Some(_), _) => Err(broken("it has more than one end record")),
        (None, _) if end_of(*last) > zip.len() => Err(broken("its comment is cut off")),
        (None, _) => Err(broken(format!(
            "{} bytes follow its end record",
            zip.len() - end_of(*last)
        ))),
    }
}

/// What the end record at `at` says, or the zip64 one before it; and where the directory must end.
fn members(zip: &[u8], at: usize) -> Result<(Members, usize), PackageError> {
    let short = |offset| u16_at(zip, at + offset).unwrap_or_default();
    let long = |offset| u32_at(zip, at + offset).unwrap_or_default();
    let locator = at
        .checked_sub(LOCATOR_64_SIZE)
        .filter(|locator| signed(zip, *locator, LOCATOR_64));
    let Some(locator) = locator else {
        if (short(4), short(6)) != (0, 0) {
            return Err(broken("it is one part of several"));
        }
        let members = Members {
            count_here: short(8).into(),
            count: short(10).into(),
            size: long(12).into(),
            offset: long(16).into(),
        };
        return Ok((members, at));
    };
    let wrong = || broken("its zip64 end record is not in order");
    let start = locator
        .checked_sub(END_64_SIZE)
        .filter(|start| signed(zip, *start, END_64))
        .ok_or_else(wrong)?;
    let huge = |offset| u64_at(zip, start + offset).unwrap_or_default();
    let members = Members {
        count_here: huge(24),
        count: huge(32),
        size: huge(40),
        offset: huge(48),
    };
    // Each member of the short record is that of the zip64 one, or says that it does not know.
    let agree = |short: u64, unknown: u64, huge: u64| short == unknown || short == huge;
    let parts = (u32_at(zip, locator + 4), u32_at(zip, locator + 16));
    let disks = u64_at(zip, start + 16);
    if huge(4) != END_64_COUNTED
        || !matches!(parts, (Some(0), Some(0 | 1)))
        || disks != Some(0)
        || !agree(short(4).into(), 0xffff, 0)
        || !agree(short(6).into(), 0xffff, 0)
        || !agree(short(8).into(), 0xffff, members.count_here)
        || !agree(short(10).into(), 0xffff, members.count)
        || !agree(long(12).into(), 0xffff_ffff, members.size)
        || !agree(long(16).into(), 0xffff_ffff, members.offset)
    {
        return Err(wrong());
    }
    // Both ways to the record lead to the same place: behind the directory.
    let stated = u64_at(zip, locator + 8).unwrap_or_default();
    if members.offset.checked_add(members.size) != Some(stated) {
        return Err(wrong());
    }
    Ok((members, start))
}
