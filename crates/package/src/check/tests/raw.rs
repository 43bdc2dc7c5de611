//! Zips written byte by byte, so that they can say what no library would.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// One entry as both of its headers state it.
#[derive(Clone)]
pub(super) struct Raw {
    name: Vec<u8>,
    content: Vec<u8>,
    mode: u32,
    method: u16,
    flags: u16,
    crc: u32,
    size: u32,
}

impl Raw {
    pub(super) fn file(name: &str, content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Self {
            name: name.as_bytes().to_vec(),
            content: content.to_vec(),
            mode: 0o100_644,
            method: 0,
            // The names are UTF-8.
            flags: 1 << 11,
            crc: crc.sum(),
            size: u32::try_from(content.len()).unwrap(),
        }
    }

    pub(super) fn folder(name: &str) -> Self {
        Self::file(name, b"").mode(0o040_755)
    }

    pub(super) fn link(name: &str, target: &str) -> Self {
        Self::file(name, target.as_bytes()).mode(0o120_777)
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(super) fn name(mut self, name: &[u8]) -> Self {
        self.name = name.to_vec();
        self
    }

    pub(super) fn method(mut self, method: u16) -> Self {
        self.method = method;
        self
    }

    pub(super) fn encrypted(mut self) -> Self {
        self.flags |= 1;
        self
    }

    pub(super) fn crc(mut self, crc: u32) -> Self {
        self.crc = crc;
        self
    }

    pub(super) fn size(mut self, size: u32) -> Self {
        self.size = size;
        self
    }

    pub(super) fn deflated(mut self) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.content).unwrap();
        self.content = encoder.finish().unwrap();
        self.method = 8;
        self
    }

    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(20_u16.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0, 0, 0x21, 0]);
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(u32::try_from(self.content.len()).unwrap().to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes
    }

    fn local(&self) -> Vec<u8> {
        [
            &b"PK\x03\x04"[..],
            &self.common(),
            &self.name,
            &self.content,
        ]
        .concat()
    }

    fn central(&self, offset: u32) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02\x14\x03".to_vec();
        bytes.extend(self.common());
        bytes.extend([0; 6]);
        bytes.extend((self.mode << 16).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(&self.name);
        bytes
    }
}

/// These entries one after the other.
pub(super) fn zip_of(entries: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        directory.push((entry, bytes.len()));
        bytes.extend(entry.local());
    }
    finish(bytes, &directory)
}

/// One local entry, and a directory that lists it under all of these names.
pub(super) fn overlapping(entry: &Raw, names: &[&str]) -> Vec<u8> {
    let named: Vec<Raw> = names
        .iter()
        .map(|name| entry.clone().name(name.as_bytes()))
        .collect();
    let directory: Vec<_> = named.iter().map(|entry| (entry, 0)).collect();
    finish(entry.local(), &directory)
}

fn finish(mut bytes: Vec<u8>, directory: &[(&Raw, usize)]) -> Vec<u8> {
    let start = bytes.len();
    for (entry, offset) in directory {
        bytes.extend(entry.central(u32::try_from(*offset).unwrap()));
    }
    let size = u32::try_from(bytes.len() - start).unwrap();
    let count = u16::try_from(directory.len()).unwrap();
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(u32::try_from(start).unwrap().to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes
}
