//! Zips made to do harm.

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
