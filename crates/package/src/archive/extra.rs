//! Extra fields of headers: the two kinds that change what a header says.

use super::field::{u16_at, u64_at};

/// Sizes and offsets of more than four bytes.
const ZIP64: u16 = 0x0001;
/// Another name of the entry, as Info-ZIP wrote it before there was a flag for UTF-8.
const UNICODE_PATH: u16 = 0x7075;
/// A member of a header that says "see the zip64 field".
const ELSEWHERE: u32 = 0xffff_ffff;

/// The extra fields of one header that matter.
#[derive(Debug, Default)]
pub(super) struct Extra<'z> {
    zip64: Option<&'z [u8]>,
    /// Another name of the entry.
    pub(super) path: Option<&'z [u8]>,
}

/// What is wrong with extra fields.
pub(super) type Fault = &'static str;

impl<'z> Extra<'z> {
    pub(super) fn read(mut bytes: &'z [u8]) -> Result<Self, Fault> {
        let mut extra = Self::default();
        // Up to three bytes of padding are usual.
        while let (Some(kind), Some(size)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
            let end = 4 + usize::from(size);
            let data = bytes
                .get(4..end)
                .ok_or("its extra fields are longer than their header says")?;
            bytes = &bytes[end..];
            let twice = match kind {
                ZIP64 => extra.zip64.replace(data).is_some(),
                // A version and a check sum stand before the name.
                UNICODE_PATH => extra.path.replace(data.get(5..).unwrap_or(b"")).is_some(),
                _ => false,
            };
            if twice {
                return Err("it has an extra field twice");
            }
        }
        Ok(extra)
    }

    /// The members of a header, those of four bytes replaced where they say so: size, packed size, and in the directory the offset.
    pub(super) fn widen<const N: usize>(&self, members: [u32; N]) -> Result<[u64; N], Fault> {
        let mut wide = members.map(u64::from);
        let mut at = 0;
        for (member, wide) in members.iter().zip(&mut wide) {
            if *member == ELSEWHERE {
                *wide = self
                    .zip64
                    .and_then(|data| u64_at(data, at))
                    .ok_or("its zip64 field lacks a size")?;
                at += 8;
            }
        }
        // Some tools state the sizes there as well without need; then they are the same.
        if at == 0
            && let Some(data) = self.zip64
            && let (Some(size), Some(packed)) = (u64_at(data, 0), u64_at(data, 8))
            && [size, packed][..] != wide[..2]
        {
            return Err("its zip64 field states other sizes than its header");
        }
        Ok(wide)
    }
}
