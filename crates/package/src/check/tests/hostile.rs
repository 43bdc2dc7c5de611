//! Zips made to do harm.

use super::raw::overlapping;
use super::*;

fn refusal(entries: &[Raw]) -> PackageError {
    check_default(&zip_of(entries)).unwrap_err()
}

fn fault(name: &[u8]) -> NameFault {
    match refusal(&[Raw::file("", b"x").name(name)]) {
        PackageError::Name { fault, .. } => fault,
        other => panic!("{name:?}: {other:?}"),
    }
}

#[test]
fn names_that_leave_or_mislead() {
    for (name, expected) in [
        (&b"../x"[..], NameFault::Traversal),
        (b"a/../../x", NameFault::Traversal),
        // Though it stays within: nothing honest is named so.
        (b"a/../x", NameFault::Traversal),
        (b"a/..", NameFault::Traversal),
        (b"/etc/passwd", NameFault::Absolute),
        (b"/", NameFault::Absolute),
        (b"..\\x", NameFault::Backslash),
        (b"a\\b", NameFault::Backslash),
        (b"C:/x", NameFault::Drive),
        (b"c:x", NameFault::Drive),
        (b"a\0b", NameFault::Control),
        (b"a\nb", NameFault::Control),
        (b"a\x1b[2Jb", NameFault::Control),
        (b"a\x7fb", NameFault::Control),
        (b"\xff\xfe", NameFault::Encoding),
        (b"gr\x81n", NameFault::Encoding),
    ] {
        assert_eq!(fault(name), expected, "{name:?}");
    }
    let long = vec![b'a'; 60_000];
    assert!(matches!(
        fault(&long),
        NameFault::Long { found: 60_000, .. }
    ));
    let message = refusal(&[Raw::file("a\n\x1b[2Jb", b"")]).to_string();
    assert_eq!(
        message,
        "The name 'a\\n\\u{1b}[2Jb' in the zip has a control character."
    );
    assert!(
        !refusal(&[Raw::file("", b"").name(&long)])
            .to_string()
            .contains(&"a".repeat(201))
    );
}

#[test]
fn two_things_in_one_place() {
    let file = || Raw::file("a", b"1");
    for entries in [
        vec![file(), file()],
        vec![file(), Raw::folder("a/")],
        vec![file(), Raw::file("./a", b"2")],
        vec![Raw::link("a", "b"), file()],
    ] {
        let error = refusal(&entries);
        assert_eq!(
            error,
            PackageError::Duplicate {
                entry: "a".to_owned()
            }
        );
    }
    for entries in [
        vec![file(), Raw::file("a/b", b"2")],
        vec![Raw::file("a/b/c", b"2"), file()],
        // Through a link to elsewhere, and then into it.
        vec![Raw::link("a", "."), Raw::file("a/b", b"2")],
    ] {
        let error = refusal(&entries);
        assert!(
            matches!(&error, PackageError::ParentIsNoFolder { parent, .. } if parent == "a"),
            "{error}"
        );
    }
}

#[test]
fn links_that_leave() {
    let leaves = |entries: &[Raw]| matches!(refusal(entries), PackageError::LinkLeaves { .. });
    for target in [
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "./../x",
        "//",
        "/var/task/x",
    ] {
        assert!(leaves(&[Raw::link("l", target)]), "{target}");
    }
    assert!(leaves(&[Raw::link("a/l", "../../x")]));
    // Each of them stays within as text, but the second goes through the first, which is higher than it looks.
    assert!(leaves(&[
        Raw::link("a/b/up", "../.."),
        Raw::link("l", "a/b/up/..")
    ]));
    assert!(leaves(&[
        Raw::link("l", "a/b/up/x"),
        Raw::link("a/b/up", "../../..")
    ]));

    // The one that leaves is named, not the one that leads to it.
    let error = refusal(&[
        Raw::link("bin/python", "python3"),
        Raw::link("bin/python3", "/usr/bin/python3"),
    ]);
    assert_eq!(
        error.to_string(),
        "The symbolic link 'bin/python3' points to '/usr/bin/python3', outside of the package."
    );

    for (entries, first) in [
        (vec![Raw::link("l", "l")], "l"),
        (vec![Raw::link("l", "l/x")], "l"),
    ] {
        let error = refusal(&entries);
        assert!(
            matches!(&error, PackageError::LinkLoops { entry, .. } if entry == first),
            "{error}"
        );
    }
    let around = refusal(&[Raw::link("a", "b"), Raw::link("b", "a")]);
    assert!(matches!(around, PackageError::LinkLoops { .. }));
    // Each doubles the work of the one before.
    let doubling: Vec<Raw> = (0..60)
        .map(|i| Raw::link(&format!("l{i}"), &format!("l{0}/./l{0}", i + 1)))
        .chain([Raw::link("l60", ".")])
        .collect();
    assert!(matches!(refusal(&doubling), PackageError::LinkLoops { .. }));
    // Forty hops each, through targets with hundreds of parts.
    let chain = (0..38).map(|i| {
        Raw::link(
            &format!("l{i}"),
            &format!("{}l{}", "a/../".repeat(200), i + 1),
        )
    });
    let long: Vec<Raw> = chain
        .chain((0..1_000).map(|i| Raw::link(&format!("to{i}"), "l0")))
        .collect();
    assert!(matches!(refusal(&long), PackageError::LinksTooLong { .. }));

    for target in ["a\0b", "a\nb", ""] {
        assert!(
            matches!(
                refusal(&[Raw::link("l", target)]),
                PackageError::Damaged { .. }
            ),
            "{target:?}"
        );
    }
    assert!(
        check_default(&zip_of(&[
            Raw::link("a/b/up", "../.."),
            Raw::link("l", "a/b/up/a")
        ]))
        .is_ok()
    );
}

#[test]
fn special_files() {
    for (kind, mode) in [
        ("named pipe", 0o010_644),
        ("character device", 0o020_666),
        ("block device", 0o060_660),
        // `S_IFLNK` is part of its bits.
        ("socket", 0o140_755),
        ("no kind at all", 0o170_777),
    ] {
        let error = refusal(&[Raw::file("x", b"").mode(mode)]);
        assert!(
            matches!(error, PackageError::SpecialFile { .. }),
            "{kind}: {error}"
        );
    }
    let message = refusal(&[Raw::file("x", b"").mode(0o020_666)]).to_string();
    assert_eq!(
        message,
        "'x' is a special file (mode 20666); only files, folders and symbolic links can be deployed."
    );
}

#[test]
fn contents_that_are_not_as_stated() {
    let content = b"some content";
    let file = || Raw::file("x", content);
    for entry in [
        file().crc(1),
        file().deflated().crc(1),
        file().deflated().size(3),
        file().size(3),
        file().method(8),
        Raw::link("x", "y").crc(1),
    ] {
        let error = refusal(&[entry]);
        assert!(
            matches!(&error, PackageError::Damaged { entry, .. } if entry == "x"),
            "{error}"
        );
    }
    let encrypted = refusal(&[file().encrypted()]);
    assert_eq!(
        encrypted.to_string(),
        "'x' is encrypted. Make the zip without a password."
    );
    for method in [9, 12, 14, 93, 95, 99, 0xffff] {
        let error = refusal(&[file().method(method)]);
        assert!(
            matches!(&error, PackageError::Compression { .. }),
            "{method}: {error}"
        );
    }
}

#[test]
fn bombs() {
    // 40 MB of zeros in 40 KB, which say that they are 10 bytes; and honestly.
    let bomb = Raw::file("bomb", &vec![0; 40_000_000]).deflated();
    let limits = Limits {
        unpacked: 1_000_000,
        ..Limits::default()
    };
    let honest = check_now(&zip_of(std::slice::from_ref(&bomb)), &limits).unwrap_err();
    assert!(matches!(
        honest,
        PackageError::UnpackedTooLarge {
            limit: 1_000_000,
            ..
        }
    ));
    let liar = check_now(&zip_of(&[bomb.clone().size(10)]), &limits).unwrap_err();
    assert!(matches!(liar, PackageError::Damaged { .. }), "{liar}");
    // One file under many names.
    let names: Vec<String> = (0..1_000).map(|i| format!("f{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = check_default(&overlapping(&bomb, &names)).unwrap_err();
    assert!(matches!(error, PackageError::Overlap { .. }), "{error}");
}
