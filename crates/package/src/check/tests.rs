mod hostile;

use std::io::Write;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::NameFault;
use crate::raw::{Raw, zip_of};

fn check_default(zip: &[u8]) -> Result<Checked, PackageError> {
    check_now(zip, &Limits::default(), None)
}

fn small() -> Limits {
    Limits {
        zip: 100_000,
        unpacked: 1_000,
        entries: 3,
        name: 20,
        part: 10,
        depth: 3,
        targets: 30,
    }
}

#[test]
fn passes_what_is_in_order() {
    let zip = zip_of(&[
        Raw::file("app.py", b"print(1)"),
        Raw::folder("lib/"),
        Raw::folder("lib/"),
        Raw::file("lib/a.so", b"elf").mode(0o100_755),
        Raw::file("./lib//b.txt", b""),
        Raw::file("caf\u{e9}/\u{1f407}", b"x"),
        Raw::link("lib/a.so.1", "a.so"),
        Raw::link("current", "lib/../lib/./"),
        Raw::link("dangling", "not/there"),
        Raw::file("no-mode", b"x").mode(0),
        Raw::folder("./"),
    ]);
    let checked = check_default(&zip).unwrap();
    assert_eq!(
        checked,
        Checked {
            entries: 10,
            // Targets of links count.
            unpacked: 13 + 4 + 13 + 9
        }
    );
}

#[test]
fn a_file_to_run_is_found_behind_links_as_well() {
    let zip = zip_of(&[
        Raw::file("app.py", b"print(1)"),
        Raw::file("./lib//b.py", b""),
        Raw::folder("empty/"),
        Raw::link("main", "app.py"),
        Raw::link("current", "lib"),
        Raw::link("lib/up", "../main"),
        Raw::link("dangling", "not/there"),
    ]);
    let plan = Plan::read(&zip, &Limits::default()).unwrap();
    for there in [
        "app.py",
        "lib/b.py",
        "lib//b.py",
        "main",
        "current/b.py",
        "current/up",
    ] {
        assert!(plan.has_file(there), "{there}");
    }
    for none in [
        "", "a", "empty", "lib", "current", "dangling", "app.py/x", "b.py",
    ] {
        assert!(!plan.has_file(none), "{none}");
    }
}

#[test]
fn passes_what_other_tools_make() {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    writer.add_directory("a", deflated).unwrap();
    writer.start_file("a/big", deflated).unwrap();
    writer.write_all(&vec![b'x'; 3_000_000]).unwrap();
    writer.add_symlink("a/link", "big", deflated).unwrap();
    let mut zip = writer.finish().unwrap().into_inner();
    assert_eq!(check_default(&zip).unwrap().unpacked, 3_000_003);
    // A self-extracting archive begins with a program.
    zip.splice(0..0, *b"#!/bin/sh\nexit\n");
    assert_eq!(check_default(&zip).unwrap().unpacked, 3_000_003);
}

#[test]
fn is_not_a_zip() {
    let whole = zip_of(&[Raw::file("app.py", b"print(1)")]);
    for zip in [
        &b""[..],
        b"PK",
        b"PK\x03\x04",
        b"\x1f\x8b tar",
        &whole[..whole.len() - 30],
    ] {
        let error = check_default(zip).unwrap_err();
        assert_eq!(error, PackageError::NotAZip);
        assert_eq!(
            error.to_string(),
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        );
    }
    assert_eq!(
        check_default(&zip_of(&[])).unwrap_err(),
        PackageError::Empty
    );
    assert_eq!(
        check_default(&zip_of(&[Raw::folder("./")])).unwrap_err(),
        PackageError::Empty
    );
}

#[test]
fn limits_name_what_was_found() {
    let a = |name: &str| Raw::file(name, b"x");
    for (zip, message) in [
        (
            vec![0; 100_001],
            "The zip has 100001 bytes (97 KB); 100000 (97 KB) can be sent directly at most. Leave out what the function does not need.",
        ),
        (
            zip_of(&[a("a"), a("b"), a("c"), a("d")]),
            "The zip has more than 3 files, folders and links, which is the limit.",
        ),
        (
            zip_of(&[a("a/b/c"), a("d")]),
            "The zip has more than 3 files, folders and links, which is the limit.",
        ),
        (
            zip_of(&[
                Raw::link("a", "aaaaaaaaaaaaaaaaaa"),
                Raw::link("b", "bbbbbbbbbbbbbbbbb"),
            ]),
            "The targets of the zip's symbolic links have more than 30 bytes together; that was at 'b'.",
        ),
        (
            zip_of(&[a("a"), Raw::file("b", &[0; 1_000])]),
            "Unzipped size must be smaller than 1000 bytes (0 KB); the zip states 1001 (0 KB). The largest: 'b' (0 KB), 'a' (0 KB). Leave out what the function does not need.",
        ),
        (
            zip_of(&[a("aaaaaaaaaa/aaaaaaaaaa")]),
            "The name 'aaaaaaaaaa/aaaaaaaaaa' in the zip has 21 bytes; 20 are the limit.",
        ),
        (
            zip_of(&[a("a/aaaaaaaaaab")]),
            "The name 'a/aaaaaaaaaab' in the zip has a part of 11 bytes; 10 are the limit.",
        ),
        (
            zip_of(&[a("a/b/c/d")]),
            "The name 'a/b/c/d' in the zip has 4 levels; 3 are the limit.",
        ),
        (
            zip_of(&[Raw::link("a", "aaaaaaaaaaaaaaaaaaaaa")]),
            "'a' is damaged: its target has more than 20 bytes. Make the zip again.",
        ),
    ] {
        assert_eq!(
            check_now(&zip, &small(), None).unwrap_err().to_string(),
            message
        );
    }
    let fits = zip_of(&[a("aaaaaaaaaa/a"), Raw::file("d", &[0; 999])]);
    assert_eq!(check_now(&fits, &small(), None).unwrap().unpacked, 1_000);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = check_default(&bytes);
    }

    #[test]
    fn broken_zips_never_panic(
        name in ".{0,20}",
        mode in any::<u32>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut zip = zip_of(&[
            Raw::file(&name, b"some content").mode(mode),
            Raw::link("l", "../x"),
            Raw::file("z", &[7; 300]).deflated(),
        ]);
        for (index, byte) in changes {
            let index = index.index(zip.len());
            zip[index] = byte;
        }
        let _ = check_default(&zip);
        zip.truncate(cut.index(zip.len()));
        let _ = check_default(&zip);
    }

    #[test]
    fn names_that_pass_stay_within(name in "[a./\\\\:\\x00-\\x1f\u{e9}]{0,12}") {
        if let Ok(path) = name::normal(&name, &Limits::default()) {
            prop_assert!(!path.starts_with('/') && !path.ends_with('/'));
            prop_assert!(path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }
}
