//! One entry as the directory states it.

use super::broken;
use super::extra::Extra;
use super::field::{signed, u16_at, u32_at};
use crate::PackageError;
use crate::shown::shown;

const SIGNATURE: &[u8; 4] = b"PK\x01\x02";
/// Size without name, extra fields and comment, in bytes.
const SIZE: usize = 46;

/// Encrypted, strongly encrypted, or with masked headers.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// Who made the zip: file systems whose attributes are known.
const DOS: u8 = 0;
/// The DOS attribute of a folder.
const DOS_FOLDER: u32 = 0x10;
/// What a Unix mode says of a folder.
const UNIX_FOLDER: u32 = 0o040_755;

/// One entry of the directory.
#[derive(Debug, Clone)]
pub(crate) struct Record<'z> {
    /// As it is written there.
    pub(crate) name: &'z [u8],
    /// The name in an extra field, if there is one.
    pub(crate) other_name: Option<&'z [u8]>,
    pub(super) flags: u16,
    /// 0 is stored, 8 is deflate.
    pub(crate) method: u16,
    pub(super) crc: u32,
    /// Size in the zip, in bytes.
    pub(crate) packed: u64,
    /// Size unpacked, in bytes, as it is stated.
    pub(crate) size: u64,
    /// Where its own header is.
    pub(super) offset: u64,
    system: u8,
    attributes: u32,
    /// Its bytes in the zip, once they are located.
    pub(super) data: &'z [u8],
}

impl Record<'_> {
    pub(crate) fn encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    /// The encryption that a header's flags state; the others do not change what its bytes mean.
    pub(super) fn encryption(flags: u16) -> u16 {
        flags & ENCRYPTED
    }

    /// The Unix mode; 0 if none is stated.
    pub(crate) fn mode(&self) -> u32 {
        match self.system {
            DOS if self.attributes & DOS_FOLDER != 0 => UNIX_FOLDER,
            DOS => 0,
            _ => self.attributes >> 16,
        }
    }
}

/// The directory's entries, one after the other, to its very end.
pub(super) struct Records<'z> {
    rest: &'z [u8],
    left: usize,
    /// Nothing more can be read.
    over: bool,
}

impl<'z> Records<'z> {
    pub(super) fn new(directory: &'z [u8], count: usize) -> Self {
        Self {
            rest: directory,
            left: count,
            over: false,
        }
    }

    fn read(&mut self) -> Result<Record<'z>, PackageError> {
        let bytes = self.rest;
        let torn = || broken("its directory is damaged");
        if !signed(bytes, 0, SIGNATURE) || bytes.len() < SIZE {
            return Err(torn());
        }
        let short = |at| u16_at(bytes, at).unwrap_or_default();
        let long = |at| u32_at(bytes, at).unwrap_or_default();
        let name_end = SIZE + usize::from(short(28));
        let extra_end = name_end + usize::from(short(30));
        let end = extra_end + usize::from(short(32));
        let name = bytes.get(SIZE..name_end).ok_or_else(torn)?;
        let extra = bytes.get(name_end..extra_end).ok_or_else(torn)?;
        self.rest = bytes.get(end..).ok_or_else(torn)?;
        let fault = |problem| PackageError::damaged(&shown(name), problem);
        let extra = Extra::read(extra).map_err(fault)?;
        let [size, packed, offset] = extra.widen([long(24), long(20), long(42)]).map_err(fault)?;
        if short(34) != 0 {
            return Err(broken("it is one part of several"));
        }
        Ok(Record {
            name,
            other_name: extra.path,
            flags: short(8),
            method: short(10),
            crc: long(16),
            packed,
            size,
            offset,
            system: bytes[5],
            attributes: long(38),
            data: &[],
        })
    }
}

impl<'z> Iterator for Records<'z> {
    type Item = Result<Record<'z>, PackageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        if self.left == 0 {
            self.over = true;
            return (!self.rest.is_empty()).then(|| {
                Err(broken(
                    "its directory holds more than its end record counts",
                ))
            });
        }
        self.left -= 1;
        let read = self.read();
        self.over = read.is_err();
        Some(read)
    }
}
