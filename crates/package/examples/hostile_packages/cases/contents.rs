//! Contents that are not as stated, and encrypted ones.

use super::raw::{Raw, zip_of};

const CONTENT: &[u8] = b"some content, some content, some content";
/// Of [`CONTENT`], in bytes.
const SIZE: u32 = 40;

pub(super) fn zip(name: &str) -> Option<Vec<u8>> {
    let file = || Raw::file("app.py", CONTENT);
    let descriptor = |file: &Raw, size: u32| {
        let header = &file.central;
        let numbers = [header.crc, header.packed, size].map(u32::to_le_bytes);
        [&b"PK\x07\x08"[..], &numbers.concat()].concat()
    };
    let entry = match name {
        "content-wrong-check-sum" => file().crc(1),
        "content-wrong-check-sum-packed" => file().deflated().crc(1),
        "content-more-than-stated" => file().deflated().size(3),
        "content-less-than-stated" => file().deflated().size(SIZE + 1),
        "content-stored-size" => file().size(3),
        "content-not-packed" => file().method(8),
        "content-cut-off" => {
            let file = file().deflated();
            let cut = file.content.len() - 2;
            let content = file.content[..cut].to_vec();
            file.content(&content)
        }
        "content-bytes-behind" => {
            let file = file().deflated();
            let content = [&file.content[..], b"hidden"].concat();
            file.content(&content)
        }
        "content-wrong-descriptor" => {
            let later = descriptor(&file(), SIZE + 1);
            file().described_later(&later)
        }
        "content-own-header-size" => file().in_local(|header| header.size = 3),
        "content-own-header-check-sum" => file().in_local(|header| header.crc = 3),
        "content-own-header-method" => file().in_local(|header| header.method = 8),
        "content-of-a-link" => Raw::link("app.py", "x").crc(1),
        // To whoever reads from the front the folder's content are entries.
        "content-of-a-folder-packed" => Raw::folder("lib/").content(&zip_of(&[file()])[..75]),
        "content-of-a-folder-deflated" => Raw::file("lib/", CONTENT)
            .mode(0o040_755)
            .deflated()
            .size(0)
            .crc(0),
        "content-of-the-root" => {
            let root = Raw::folder("./").content(&zip_of(&[file()])[..75]);
            return Some(zip_of(&[root, file()]));
        }
        "content-stored-without-its-size" => {
            let inner = zip_of(&[Raw::file("hidden.py", CONTENT)]);
            let file = Raw::file("app.py", &inner);
            let later = descriptor(&file, file.central.size);
            file.described_later(&later)
        }
        "content-of-a-folder" => Raw::file("lib/", CONTENT).mode(0o040_755),
        "content-method-lzma" => file().method(14),
        "content-method-unknown" => file().method(0xffff),
        "encrypted-zipcrypto" => file().flag(0),
        "encrypted-aes" => file().flag(0).method(99),
        "encrypted-strong" => file().flag(0).flag(6),
        "encrypted-masked" => file().flag(13),
        "encrypted-own-header" => file().in_local(|header| header.flags |= 1),
        "encrypted-directory-only" => file().in_central(|header| header.flags |= 1),
        "harmless-folders" => {
            // As Java writes them: packed, which takes two bytes.
            let folder = Raw::folder("lib/").deflated();
            let later = descriptor(&folder, 0);
            return Some(zip_of(&[folder.described_later(&later), file()]));
        }
        "harmless-stored-descriptor" => {
            let later = descriptor(&file(), SIZE);
            file().described_later(&later)
        }
        "harmless-descriptor" => {
            let file = file().deflated();
            let later = descriptor(&file, SIZE);
            file.described_later(&later)
        }
        _ => return None,
    };
    Some(zip_of(&[entry]))
}
