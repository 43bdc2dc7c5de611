//! Sizes for people: of a limit, and of the files that should be looked at first.

use std::fmt::Write;

use crate::archive::{Archive, Record};
use crate::shown::shown;

/// Files that a refusal names.
const NAMED: usize = 3;
const MIB: u64 = 1 << 20;

/// In MB, as Lambda counts them (2^20 bytes), with a tenth; less than one in KB.
pub(crate) fn megabytes(bytes: u64) -> String {
    if bytes < MIB {
        return format!("{} KB", bytes >> 10);
    }
    let tenths = bytes.saturating_mul(10) / MIB;
    match tenths % 10 {
        0 => format!("{} MB", tenths / 10),
        tenth => format!("{}.{tenth} MB", tenths / 10),
    }
}

/// The largest files by what the zip's directory says of them, as a sentence that stands between two others; nothing if there are none.
pub(crate) fn largest(archive: &Archive<'_>, most: usize, size: fn(&Record<'_>) -> u64) -> String {
    // A directory that is not in order is told of when the rest is.
    let records = archive.records().take(most).map_while(Result::ok);
    let mut files: Vec<_> = records.map(|record| (size(&record), record.name)).collect();
    files.retain(|(size, _)| *size > 0);
    files.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut text = String::new();
    for (index, (size, name)) in files.iter().take(NAMED).enumerate() {
        let before = if index == 0 { " The largest: " } else { ", " };
        let _ = write!(text, "{before}'{}' ({})", shown(name), megabytes(*size));
    }
    if !text.is_empty() {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_are_lambda_s() {
        for (bytes, words) in [
            (262_144_000, "250 MB"),
            (52_428_801, "50 MB"),
            (1_677_722, "1.6 MB"),
            (10_240, "10 KB"),
            (u64::MAX, "1759218604441.5 MB"),
        ] {
            assert_eq!(megabytes(bytes), words);
        }
    }
}
