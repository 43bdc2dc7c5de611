//! Names and links that lead elsewhere, or to one place twice; files that are no files.

use super::raw::{Raw, extra, zip_of};

/// An accent as a character of its own, and with its letter.
const APART: &str = "cafe\u{301}";
const TOGETHER: &str = "caf\u{e9}";

pub(super) fn zip(name: &str) -> Option<Vec<u8>> {
    twice(name)
        .or_else(|| special(name))
        .or_else(|| traversal(name))
        .or_else(|| links(name))
        .map(|entries| zip_of(&entries))
}

fn x(name: &str) -> Raw {
    Raw::file(name, b"x")
}

fn twice(name: &str) -> Option<Vec<Raw>> {
    Some(match name {
        "twice-same" => vec![x("app.py"), Raw::file("app.py", b"y")],
        "twice-other-spelling" => vec![x("lib/app.py"), x("lib/.//app.py")],
        "twice-file-and-folder" => vec![x("lib"), Raw::folder("lib/")],
        "twice-link-and-file" => vec![Raw::link("app.py", "other.py"), x("app.py")],
        "twice-file-as-folder" => vec![x("lib"), x("lib/app.py")],
        "twice-link-as-folder" => vec![Raw::link("lib", "."), x("lib/app.py")],
        "twice-case-of-a-link" => vec![Raw::link("Lib", "."), x("lib/app.py")],
        "twice-case-of-two-links" => vec![Raw::link("A", "x"), Raw::link("a", "y"), x("x")],
        "twice-accent-of-a-link" => vec![Raw::link(APART, "x"), x(TOGETHER)],
        // Different files on Linux, as on Lambda.
        "harmless-case" => vec![x("README"), x("readme"), x("Lib/a.py"), x("lib/a.py")],
        "harmless-accents" => vec![x(APART), x(TOGETHER)],
        _ => return None,
    })
}

fn special(name: &str) -> Option<Vec<Raw>> {
    let mode = match name {
        // Some readers make a folder of it, some a file.
        "special-folder-with-a-files-name" => {
            return Some(vec![Raw::folder("lib"), x("app.py")]);
        }
        "special-file-with-a-folders-name" => {
            return Some(vec![Raw::file("lib/", b"").mode(0o100_644), x("app.py")]);
        }
        "special-named-pipe" => 0o010_644,
        "special-character-device" => 0o020_666,
        "special-block-device" => 0o060_660,
        "special-socket" => 0o140_755,
        "special-unknown-kind" => 0o170_777,
        // These bits are not kept.
        "harmless-setuid" => 0o106_755,
        _ => return None,
    };
    Some(vec![x("file").mode(mode)])
}

fn traversal(name: &str) -> Option<Vec<Raw>> {
    let raw = |name: &[u8]| vec![x("").name(name)];
    Some(match name {
        "traversal-up" => raw(b"../x"),
        "traversal-up-later" => raw(b"a/../../x"),
        "traversal-up-within" => raw(b"a/../x"),
        "traversal-up-at-the-end" => raw(b"a/.."),
        "traversal-up-behind-a-dot" => raw(b".//../x"),
        "traversal-absolute" => raw(b"/etc/passwd"),
        "traversal-two-slashes" => raw(b"//server/share"),
        "traversal-backslash" => raw(b"..\\..\\x"),
        "traversal-drive" => raw(b"C:/Windows/x"),
        "traversal-nul" => raw(b"app.py\0/../../x"),
        "traversal-newline" => raw(b"a\n../x"),
        "traversal-not-utf-8" => raw(b"gr\x81n.py"),
        "traversal-overlong-utf-8" => raw(b"\xc0\xae\xc0\xae/x"),
        "traversal-second-name" => {
            let mut crc = flate2::Crc::new();
            crc.update(b"app.py");
            let field = [&[1][..], &crc.sum().to_le_bytes(), b"../x"].concat();
            vec![x("app.py").both(|header| header.extra = extra(0x7075, &field))]
        }
        "traversal-own-header" => vec![x("app.py").in_local(|h| h.name = b"../../x".to_vec())],
        "traversal-empty" => raw(b""),
        "name-too-long" => raw(&b"a/".repeat(1_000)),
        "name-part-too-long" => raw(&[b'a'; 300]),
        "name-too-deep" => raw(&b"a/".repeat(70)),
        _ => return None,
    })
}

fn links(name: &str) -> Option<Vec<Raw>> {
    let link = |name, target: &str| vec![Raw::link(name, target)];
    Some(match name {
        "link-absolute" => link("passwd", "/etc/passwd"),
        "link-up" => link("lib/up", "../../x"),
        "link-up-later" => link("up", "a/../../x"),
        "link-through-another" => {
            vec![Raw::link("a/b/up", "../.."), Raw::link("out", "a/b/up/..")]
        }
        "link-loop" => vec![Raw::link("a", "b"), Raw::link("b", "a")],
        "link-to-itself" => link("a", "a/x"),
        "link-too-long" => link("a", &"x".repeat(1_025)),
        "link-nowhere" => link("a", ""),
        "link-with-nul" => link("a", "x\0/etc/passwd"),
        "link-maze" => {
            // Forty hops each, through targets with hundreds of parts.
            let hop = |i: usize| {
                let target = format!("{}l{}", "a/../".repeat(200), i + 1);
                Raw::link(&format!("l{i}"), &target)
            };
            let to = |i: usize| Raw::link(&format!("to{i}"), "l0");
            (0..38).map(hop).chain((0..1_000).map(to)).collect()
        }
        _ => return None,
    })
}
