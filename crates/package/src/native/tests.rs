use super::*;

/// Of one processor, whatever this machine is.
fn target(family: &str, runtime: &str, runs: &str) -> Target {
    Target::here(family, runtime, runs)
}

fn judge(target: &Target, files: &[(&str, &[u8])]) -> Result<(), Box<NativeFault>> {
    let mut natives = Natives::new(target);
    for (path, head) in files {
        natives.see(path, head);
    }
    natives.judge(files.iter().map(|(path, _)| *path))
}

#[test]
fn what_the_first_bytes_say() {
    let mut elf = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";
    let Some(Image::Elf(machine)) = Image::of(&elf) else {
        panic!("no ELF")
    };
    assert_eq!(machine.to_string(), "x86_64 (64 bit, little-endian)");
    elf[4] = 1;
    elf[18] = 0xb7;
    let Some(Image::Elf(machine)) = Image::of(&elf) else {
        panic!("no ELF")
    };
    assert_eq!(machine.to_string(), "aarch64 (32 bit, little-endian)");
    elf[5] = 2;
    (elf[16], elf[17], elf[18], elf[19]) = (0, 2, 0, 22);
    let Some(Image::Elf(machine)) = Image::of(&elf) else {
        panic!("no ELF")
    };
    assert_eq!(machine.to_string(), "s390x (32 bit, big-endian)");
    elf[17] = 1;
    assert_eq!(Image::of(&elf), None, "an object file");
    for (head, image) in [
        (&b""[..], None),
        (b"\x7fELF", None),
        (b"#!/bin/sh", None),
        (b"MZ", Some(Image::Pe)),
        (b"\xfe\xed\xfa\xcf\0", Some(Image::MachO)),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", Some(Image::MachO)),
        // A class of Java.
        (b"\xca\xfe\xba\xbe\0\0\0\x41", None),
    ] {
        assert_eq!(Image::of(head), image, "{head:?}");
    }
}

#[test]
fn a_file_in_place_of_another_excuses_it() {
    let python = target("python", "python3.13", "python3.13");
    let other = ("a/_x.cpython-312-x86_64-linux-gnu.so", &b"x"[..]);
    assert!(judge(&python, &[other]).is_err());
    for beside in [
        "a/_x.cpython-313-x86_64-linux-gnu.so",
        "a/_x.abi3.so",
        "a/_x.so",
        "a/_x.py",
    ] {
        assert!(judge(&python, &[other, (beside, b"x")]).is_ok(), "{beside}");
    }
    assert!(judge(&python, &[other, ("b/_x.py", b"")]).is_err());
    // Not for a language that loads no such file.
    assert!(judge(&target("nodejs", "nodejs22.x", "nodejs22.x"), &[other]).is_ok());
    assert!(judge(&target("python", "mine", "mine"), &[other]).is_ok());
}

#[test]
fn a_bootstrap_is_never_excused() {
    let program = target("provided", "provided.al2", "provided.al2023");
    for (path, refused) in [
        ("bootstrap", true),
        ("bin/bootstrap", false),
        ("tool.exe", false),
    ] {
        assert_eq!(
            judge(&program, &[(path, b"MZ")]).is_err(),
            refused,
            "{path}"
        );
    }
    assert!(judge(&program, &[("bootstrap", b"#!/bin/sh\n")]).is_ok());
    assert!(
        judge(
            &target("python", "python3.13", "python3.13"),
            &[("bootstrap", b"MZ")]
        )
        .is_ok()
    );
}

#[test]
fn an_empty_file_is_nobodys_code() {
    let python = target("python", "python3.13", "python3.13");
    let other = "a/_x.cpython-312-x86_64-linux-gnu.so";
    assert!(judge(&python, &[(other, b"")]).is_ok());
    let empty = ("a/_x.cpython-313-x86_64-linux-gnu.so", &b""[..]);
    assert!(judge(&python, &[(other, b"x"), empty]).is_err());
}

#[test]
fn accelerators_of_other_pythons_are_told() {
    let paths = [
        "yaml/_yaml.cpython-311-x86_64-linux-gnu.so",
        "markupsafe/_speedups.cpython-311-x86_64-linux-gnu.so",
        "markupsafe/_speedups.cpython-313-x86_64-linux-gnu.so",
        "numpy/_core.cpython-311-x86_64-linux-gnu.so",
        "app.py",
    ];
    let found = accelerators(paths.into_iter(), "python3.13");
    assert_eq!(found, [(paths[0].to_owned(), "3.11".to_owned())]);
    assert!(accelerators(paths.into_iter(), "nodejs22.x").is_empty());
}
