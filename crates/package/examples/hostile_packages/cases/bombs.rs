//! Packages that would fill a disk, the memory or a processor's day.

use super::raw::{Raw, zip_of, zip64};

pub(super) fn zip(name: &str) -> Option<Vec<u8>> {
    Some(match name {
        "bomb-one-file" => zip_of(&[Raw::zeros("zeros", b"", 251, b"")]),
        "bomb-many-files" => {
            let file = Raw::zeros("", b"", 10, b"");
            let files = (0..30).map(|i| file.clone().name(format!("f{i}").as_bytes()));
            zip_of(&files.collect::<Vec<_>>())
        }
        "bomb-that-lies" => zip_of(&[Raw::zeros("zeros", b"", 300, b"").size(10)]),
        "bomb-sparse" => zip_of(&[Raw::file("sparse", b"abc")
            .size(u32::MAX)
            .both(|header| header.extra = zip64(&[1 << 62]))]),
        "bomb-nested" => {
            // The zip inside holds the zeros as they are.
            let inner = zip_of(&[Raw::file("zeros", b"")]);
            zip_of(&[Raw::zeros("inner.zip", &inner[..35], 251, &inner[35..])])
        }
        "bomb-overlap-whole" => {
            let file = Raw::zeros("f0", b"", 10, b"");
            let again = |i: usize| {
                let mut again = file.clone().name(format!("f{i}").as_bytes());
                again.offset = Some(0);
                again
            };
            let mut files = vec![file.clone()];
            files.extend((1..20).map(again));
            zip_of(&files)
        }
        "bomb-overlap-quoted" => {
            // The content of the first goes on over the second's header and content, which it quotes.
            let second = Raw::file("second", b"x");
            let quoted = zip_of(std::slice::from_ref(&second));
            let end = 30 + "second".len() + 1;
            let first = Raw::file("first", &quoted[..end]);
            let mut second = second;
            second.offset = Some(30 + 5);
            zip_of(&[first, second])
        }
        "bomb-entries" => {
            let names = (0..100_001).map(|i| Raw::file(&format!("{i:x}"), b""));
            let files: Vec<Raw> = names.collect();
            super::raw::Around {
                zip64: Some(|_| {}),
                ..Default::default()
            }
            .write(&files)
        }
        "bomb-folders" => {
            // Few entries, each of them in sixty folders of its own.
            let below = "a/".repeat(58);
            let files = (0..2_000).map(|i| Raw::file(&format!("{i}/{below}f"), b""));
            zip_of(&files.collect::<Vec<_>>())
        }
        "bomb-links" => {
            let target = format!("{}x", "a/".repeat(500));
            let links = (0..9_000).map(|i| Raw::link(&format!("l{i}"), &target).deflated());
            zip_of(&links.collect::<Vec<_>>())
        }
        "bomb-empty-blocks" => {
            // A megabyte of blocks that unpack to nothing, and no end.
            let blocks = [0, 0, 0, 0xff, 0xff].repeat(200_000);
            zip_of(&[Raw::file("f", b"").method(8).content(&blocks)])
        }
        "bomb-zip-too-large" => vec![0; 52_428_801],
        // Only the first layer is ever unpacked, and it is small.
        "harmless-nested" => {
            let inner = zip_of(&[Raw::zeros("zeros", b"", 251, b"")]);
            zip_of(&[
                Raw::file("app.py", b"def handler(event, context):\n    return 1\n"),
                Raw::file("inner.zip", &inner).deflated(),
            ])
        }
        _ => return None,
    })
}
