//! Zips written byte by byte, so that they can say what no library would.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// What one of an entry's two headers states.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) size: u32,
    pub(crate) extra: Vec<u8>,
}

/// One entry.
#[derive(Clone)]
pub(crate) struct Raw {
    /// Before the content.
    pub(crate) local: Header,
    /// In the directory.
    pub(crate) central: Header,
    /// As it stands in the zip.
    pub(crate) content: Vec<u8>,
    /// What follows the content.
    pub(crate) behind: Vec<u8>,
    pub(crate) mode: u32,
    /// 3 is Unix, 0 DOS.
    pub(crate) system: u8,
    /// Where the directory says it is; where it is, if none.
    pub(crate) offset: Option<u32>,
}

impl Raw {
    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        let size = u32::try_from(content.len()).expect("small enough");
        let header = Header {
            name: name.as_bytes().to_vec(),
            method: 0,
            // The names are UTF-8.
            flags: 1 << 11,
            crc: crc.sum(),
            packed: size,
            size,
            extra: Vec::new(),
        };
        Self {
            local: header.clone(),
            central: header,
            content: content.to_vec(),
            behind: Vec::new(),
            mode: 0o100_644,
            system: 3,
            offset: None,
        }
    }

    pub(crate) fn folder(name: &str) -> Self {
        Self::file(name, b"").mode(0o040_755)
    }

    pub(crate) fn link(name: &str, target: &str) -> Self {
        Self::file(name, target.as_bytes()).mode(0o120_777)
    }

    /// A file of this content between so many MB of zeros and that, packed by hand: nobody waits for a compressor.
    pub(crate) fn zeros(name: &str, before: &[u8], megabytes: usize, after: &[u8]) -> Self {
        let zeros = vec![0; 1 << 20];
        let mut packer = Compress::new(Compression::best(), false);
        let mut pack = |data: &[u8], flush| {
            let mut out = Vec::with_capacity(data.len() + 1_024);
            packer.compress_vec(data, &mut out, flush).expect("packs");
            out
        };
        let mut content = pack(before, FlushCompress::Full);
        let piece = pack(&zeros, FlushCompress::Full);
        for _ in 0..megabytes {
            content.extend(&piece);
        }
        content.extend(pack(after, FlushCompress::Finish));
        let mut crc = Crc::new();
        crc.update(before);
        (0..megabytes).for_each(|_| crc.update(&zeros));
        crc.update(after);
        let size = before.len() + (megabytes << 20) + after.len();
        let packed = u32::try_from(content.len()).expect("small enough");
        let mut raw = Self::file(name, b"").both(|header| {
            header.method = 8;
            header.crc = crc.sum();
            header.packed = packed;
            header.size = u32::try_from(size).expect("small enough");
        });
        raw.content = content;
        raw
    }

    pub(crate) fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }

    pub(crate) fn in_local(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        self
    }

    pub(crate) fn in_central(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.central);
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn name(self, name: &[u8]) -> Self {
        self.both(|header| header.name = name.to_vec())
    }

    pub(crate) fn method(self, method: u16) -> Self {
        self.both(|header| header.method = method)
    }

    pub(crate) fn flag(self, bit: u8) -> Self {
        self.both(|header| header.flags |= 1 << bit)
    }

    pub(crate) fn crc(self, crc: u32) -> Self {
        self.both(|header| header.crc = crc)
    }

    pub(crate) fn size(self, size: u32) -> Self {
        self.both(|header| header.size = size)
    }

    /// The content as it stands in the zip, whatever it unpacks to.
    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.content = content.to_vec();
        let packed = u32::try_from(content.len()).expect("small enough");
        self.both(|header| header.packed = packed)
    }

    pub(crate) fn deflated(self) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.content).expect("memory");
        let content = encoder.finish().expect("memory");
        self.method(8).content(&content)
    }

    /// As one that was written without knowing its size: check sum and sizes follow the content.
    pub(crate) fn described_later(mut self, descriptor: &[u8]) -> Self {
        self.behind = descriptor.to_vec();
        self.flag(3).in_local(|header| {
            (header.crc, header.packed, header.size) = (0, 0, 0);
        })
    }

    fn write_local(&self, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x03\x04");
        common(&self.local, bytes);
        bytes.extend(&self.local.name);
        bytes.extend(&self.local.extra);
        bytes.extend(&self.content);
        bytes.extend(&self.behind);
    }

    fn write_central(&self, offset: u32, bytes: &mut Vec<u8>) {
        bytes.extend([b'P', b'K', 1, 2, 20, self.system]);
        common(&self.central, bytes);
        bytes.extend([0; 6]);
        bytes.extend((self.mode << 16).to_le_bytes());
        bytes.extend(self.offset.unwrap_or(offset).to_le_bytes());
        bytes.extend(&self.central.name);
        bytes.extend(&self.central.extra);
    }
}

fn common(header: &Header, bytes: &mut Vec<u8>) {
    bytes.extend(20_u16.to_le_bytes());
    bytes.extend(header.flags.to_le_bytes());
    bytes.extend(header.method.to_le_bytes());
    bytes.extend([0, 0, 0x21, 0]);
    bytes.extend(header.crc.to_le_bytes());
    bytes.extend(header.packed.to_le_bytes());
    bytes.extend(header.size.to_le_bytes());
    for length in [header.name.len(), header.extra.len()] {
        bytes.extend(u16::try_from(length).expect("short enough").to_le_bytes());
    }
}

/// One extra field.
pub(crate) fn extra(kind: u16, data: &[u8]) -> Vec<u8> {
    let size = u16::try_from(data.len()).expect("short enough");
    [&kind.to_le_bytes()[..], &size.to_le_bytes(), data].concat()
}

/// The extra field of zip64, with these numbers.
pub(crate) fn zip64(numbers: &[u64]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    extra(1, &data)
}

/// What stands around the entries.
#[derive(Default)]
pub(crate) struct Around {
    pub(crate) before: Vec<u8>,
    /// Between the entries and the directory.
    pub(crate) between: Vec<u8>,
    /// Behind the directory's entries and part of it.
    pub(crate) more_directory: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) after: Vec<u8>,
    /// Number of entries, if it is not how many there are.
    pub(crate) count: Option<u16>,
    pub(crate) disk: u16,
    /// With a zip64 end record; it may be changed before it is written.
    pub(crate) zip64: Option<fn(&mut End64)>,
}

/// What a zip64 end record states, and the locator.
pub(crate) struct End64 {
    pub(crate) count: u64,
    pub(crate) size: u64,
    pub(crate) offset: u64,
    /// Where the locator says that the record is.
    pub(crate) at: u64,
    /// What the short record says instead of "see there".
    pub(crate) short_count: u16,
}

impl Around {
    pub(crate) fn write(&self, entries: &[Raw]) -> Vec<u8> {
        let mut bytes = self.before.clone();
        let mut directory = Vec::new();
        for entry in entries {
            let offset = u32::try_from(bytes.len() - self.before.len()).expect("small enough");
            entry.write_central(offset, &mut directory);
            // The directory may list bytes of another entry.
            if entry.offset.is_none() {
                entry.write_local(&mut bytes);
            }
        }
        bytes.extend(&self.between);
        directory.extend(&self.more_directory);
        let mut offset = u32::try_from(bytes.len() - self.before.len()).expect("small enough");
        let mut size = u32::try_from(directory.len()).expect("small enough");
        bytes.extend(directory);
        let mut count = self.count.unwrap_or(entries.len() as u16);
        if let Some(change) = self.zip64 {
            let mut end = End64 {
                count: entries.len() as u64,
                size: size.into(),
                offset: offset.into(),
                at: u64::from(offset) + u64::from(size),
                short_count: u16::MAX,
            };
            change(&mut end);
            write_end_64(&end, &mut bytes);
            (count, size, offset) = (end.short_count, u32::MAX, u32::MAX);
        }
        bytes.extend(b"PK\x05\x06");
        for short in [self.disk, 0, count, count] {
            bytes.extend(short.to_le_bytes());
        }
        bytes.extend(size.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        let comment = u16::try_from(self.comment.len()).expect("short enough");
        bytes.extend(comment.to_le_bytes());
        bytes.extend(&self.comment);
        bytes.extend(&self.after);
        bytes
    }
}

fn write_end_64(end: &End64, bytes: &mut Vec<u8>) {
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [end.count, end.count, end.size, end.offset] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(end.at.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
}

/// These entries one after the other.
pub(crate) fn zip_of(entries: &[Raw]) -> Vec<u8> {
    Around::default().write(entries)
}
