//! Where entries are: none in another's bytes, none between them that the directory does not list, each with a header that agrees.

use super::extra::Extra;
use super::field::{has_any, signed, u16_at, u32_at, u64_at};
use super::{Record, broken};
use crate::PackageError;
use crate::shown::shown;

const SIGNATURE: &[u8; 4] = b"PK\x03\x04";
/// Size of an entry's own header without name and extra fields, in bytes.
const SIZE: usize = 30;
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
/// How the parts of a zip begin that lead to entries.
const PARTS: &[&[u8; 4]] = &[
    SIGNATURE,
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
];
const STORED: u16 = 0;
/// Check sum and sizes follow the content, since they were not known before it.
const DESCRIBED_LATER: u16 = 1 << 3;

pub(super) fn locate<'z>(
    zip: &'z [u8],
    prefix: usize,
    directory: usize,
    records: &mut [&mut Record<'z>],
) -> Result<(), PackageError> {
    records.sort_by_key(|record| record.offset);
    let body = &zip[..directory];
    let mut end = 0;
    let mut before: &[u8] = b"";
    for record in records {
        let start = usize::try_from(record.offset)
            .ok()
            .and_then(|offset| offset.checked_add(prefix));
        let start = start
            .filter(|start| signed(body, *start, SIGNATURE))
            .ok_or_else(|| {
                PackageError::damaged(&shown(record.name), "it is not where the directory says")
            })?;
        if prefix > 0 && signed(body, start - prefix, SIGNATURE) {
            return Err(broken("it has an entry that its directory does not list"));
        }
        if start < end {
            return Err(PackageError::Overlap {
                entry: shown(record.name),
                other: shown(before),
            });
        }
        nothing_hidden(&body[end..start])?;
        end = locate_one(body, start, record)
            .map_err(|problem| PackageError::damaged(&shown(record.name), problem))?;
        before = record.name;
    }
    nothing_hidden(&body[end..])
}

/// Finds one entry's bytes behind its header at `start`; answers where it ends.
fn locate_one<'z>(
    body: &'z [u8],
    start: usize,
    record: &mut Record<'z>,
) -> Result<usize, &'static str> {
    const CUT_OFF: &str = "it is cut off";
    let header = &body[start..];
    let (name, extra) = match (u16_at(header, 26), u16_at(header, 28)) {
        (Some(name), Some(extra)) => (usize::from(name), usize::from(extra)),
        _ => return Err(CUT_OFF),
    };
    let data = SIZE + name + extra;
    if header.get(SIZE..SIZE + name) != Some(record.name) {
        return Err("it has another name in its own header");
    }
    let extra = Extra::read(header.get(SIZE + name..data).ok_or(CUT_OFF)?)?;
    if extra.path.is_some() && extra.path != Some(record.name) {
        return Err("it has another name in its own header");
    }
    let short = |at| u16_at(header, at).unwrap_or_default();
    let long = |at| u32_at(header, at).unwrap_or_default();
    let flags = short(6);
    if Record::encryption(flags) != Record::encryption(record.flags) {
        return Err("the directory and its own header disagree whether it is encrypted");
    }
    if short(8) != record.method {
        return Err("it has another compression in its own header");
    }
    let described_later = flags & DESCRIBED_LATER != 0;
    let agree = match described_later {
        // Each may be left open, or known already.
        true => [(long(22), record.size), (long(18), record.packed)]
            .iter()
            .all(|(own, stated)| matches!(*own, 0 | u32::MAX) || u64::from(*own) == *stated),
        false => extra.widen([long(22), long(18)])? == [record.size, record.packed],
    };
    if !agree {
        return Err("it has other sizes in its own header");
    }
    let crc = long(14);
    if crc != record.crc && !(described_later && crc == 0) {
        return Err("it has another check sum in its own header");
    }
    let packed = usize::try_from(record.packed).map_err(|_| CUT_OFF)?;
    let end = data.checked_add(packed).ok_or(CUT_OFF)?;
    record.data = header.get(data..end).ok_or(CUT_OFF)?;
    // Who reads from the front looks for the end of such a content in the content.
    let open = described_later && record.method == STORED && long(18) != long_of(record.packed);
    if open && (has_any(record.data, PARTS) || has_any(record.data, &[DESCRIPTOR])) {
        return Err(
            "it is stored without its size before it, and looks like parts of a zip: compress it, or write the zip to a file and not to a pipe",
        );
    }
    let described = match described_later {
        false => 0,
        true => descriptor(&header[end..], record)
            .ok_or("what follows its content states another check sum or other sizes")?,
    };
    Ok(start + end + described)
}

/// A size as a header without zip64 fields has it.
fn long_of(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Size of the description at the beginning of `bytes`, if it is one of this record: with or without signature, sizes of four or eight bytes.
fn descriptor(bytes: &[u8], record: &Record<'_>) -> Option<usize> {
    let states = |at: usize| -> Option<usize> {
        if u32_at(bytes, at)? != record.crc {
            return None;
        }
        let short = |at| u32_at(bytes, at).map(u64::from);
        let stated = (record.packed, record.size);
        if u64_at(bytes, at + 4).zip(u64_at(bytes, at + 12)) == Some(stated) {
            return Some(at + 20);
        }
        (short(at + 4).zip(short(at + 8)) == Some(stated)).then_some(at + 12)
    };
    match signed(bytes, 0, DESCRIPTOR) {
        true => states(4).or_else(|| states(0)),
        false => states(0),
    }
}

/// Bytes before, between and behind entries mean nothing to any reader, unless a part of a zip begins there: then those see it that read from the front,
/// or that count offsets from another place.
fn nothing_hidden(between: &[u8]) -> Result<(), PackageError> {
    match has_any(between, PARTS) {
        true => Err(broken("it has an entry that its directory does not list")),
        false => Ok(()),
    }
}
