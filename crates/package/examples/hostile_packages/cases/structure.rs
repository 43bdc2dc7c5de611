//! Zips that are none, that their readers understand differently, or with numbers that can't be.

use super::raw::{Around, Raw, zip_of, zip64};

pub(super) fn zip(name: &str) -> Option<Vec<u8>> {
    let file = || Raw::file("app.py", b"def handler(event, context):\n    return 1\n");
    let files = [file()];
    let around = |change: fn(&mut Around)| {
        let mut around = Around::default();
        change(&mut around);
        around.write(&files)
    };
    let with_end_64 = |change| {
        Around {
            zip64: Some(change),
            ..Default::default()
        }
        .write(&files)
    };
    let hidden = || zip_of(&[Raw::file("hidden.py", b"x")]);
    Some(match name {
        "broken-no-zip" => b"\x1f\x8b\x08 this is a tar".to_vec(),
        "broken-cut-off" => {
            let zip = zip_of(&files);
            zip[..zip.len() - 30].to_vec()
        }
        "broken-front-cut-off" => zip_of(&files)[20..].to_vec(),
        "broken-empty" => zip_of(&[]),
        "broken-only-the-root" => zip_of(&[Raw::folder("./")]),
        "broken-two-ends" => {
            // A whole zip; behind it another end, which takes the first one for its comment.
            let first = zip_of(&files);
            let end = first.len() - 22;
            let mut second = first[end..].to_vec();
            second[20] = 22;
            [&first[..end], &second, &first[end..]].concat()
        }
        "broken-end-in-comment" => around(|a| a.comment = b"PK\x05\x06 and no more".to_vec()),
        "broken-comment-cut-off" => {
            let zip = around(|a| a.comment = b"a comment".to_vec());
            zip[..zip.len() - 3].to_vec()
        }
        "broken-bytes-behind" => around(|a| a.after = b"more".to_vec()),
        "broken-hidden-between" => Around {
            between: hidden()[..40].to_vec(),
            ..Default::default()
        }
        .write(&files),
        "broken-hidden-before" => Around {
            before: hidden()[..40].to_vec(),
            ..Default::default()
        }
        .write(&files),
        // A second directory in the last file, where offsets lead that are not counted from behind the script.
        "broken-second-directory" => {
            let other = zip_of(&[Raw::file("app.py", b"hidden")]);
            let directory = &other[30 + 6 + 6..other.len() - 22];
            let script = vec![b'#'; directory.len() + 7];
            let last = Raw::file("data", &[directory, b"padding"].concat());
            Around {
                before: script,
                ..Default::default()
            }
            .write(&[file(), last])
        }
        "broken-second-entry" => {
            // The same with one entry: its header stands as many bytes before it as the script has.
            let other = &hidden()[..40];
            let script = vec![b'#'; other.len()];
            let inner = Raw::file("data", other);
            Around {
                before: script,
                ..Default::default()
            }
            .write(&[inner, file()])
        }
        "broken-directory-before" => Around {
            before: {
                let zip = hidden();
                zip[40..zip.len() - 22].to_vec()
            },
            ..Default::default()
        }
        .write(&files),
        "broken-end-before" => Around {
            before: zip_of(&[]),
            ..Default::default()
        }
        .write(&files),
        "broken-hidden-in-directory" => Around {
            more_directory: {
                let zip = hidden();
                zip[40..zip.len() - 22].to_vec()
            },
            ..Default::default()
        }
        .write(&files),
        "broken-counts-too-many" => around(|a| a.count = Some(9)),
        "broken-one-of-several" => around(|a| a.disk = 1),
        "broken-offset" => {
            let mut elsewhere = file();
            elsewhere.offset = Some(7);
            zip_of(&[file(), elsewhere])
        }
        "broken-directory" => {
            let mut zip = zip_of(&files);
            let directory = zip.len() - 22 - 46 - 6;
            zip[directory] = b'X';
            zip
        }
        "zip64-count" => with_end_64(|end| end.count = 1 << 63),
        "zip64-size" => with_end_64(|end| end.size = 1 << 63),
        "zip64-offset" => with_end_64(|end| end.offset = u64::MAX - 9),
        "zip64-locator" => with_end_64(|end| end.at = 3),
        "zip64-disagrees" => with_end_64(|end| end.short_count = 7),
        "zip64-hides-an-entry" => Around {
            zip64: Some(|end| end.count = 1),
            ..Default::default()
        }
        .write(&[file(), Raw::file("hidden.py", b"x")]),
        "zip64-field-missing" => zip_of(&[file().size(u32::MAX)]),
        "zip64-field-disagrees" => zip_of(&[file().both(|header| header.extra = zip64(&[5, 5]))]),
        "zip64-packed-size" => zip_of(&[file().both(|header| {
            header.packed = u32::MAX;
            header.extra = zip64(&[u64::MAX]);
        })]),
        "zip64-field-twice" => zip_of(&[file().both(|header| {
            header.size = u32::MAX;
            header.extra = [zip64(&[header.packed.into()]), zip64(&[1])].concat();
        })]),
        "harmless-zip64" => with_end_64(|_| {}),
        "harmless-script-before" => around(|a| a.before = b"#!/bin/sh\nexit\n".to_vec()),
        "harmless-comment" => around(|a| a.comment = b"made by hand".to_vec()),
        _ => return None,
    })
}
