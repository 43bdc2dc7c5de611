//! Code for another machine, another system or another Python.

use super::raw::{Raw, zip_of};

/// ELF's numbers.
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const I386: u16 = 3;
const S390X: u16 = 22;
const ARM: u16 = 40;
const CUDA: u16 = 190;
const BPF: u16 = 247;

const HERE: u16 = if cfg!(target_arch = "aarch64") {
    AARCH64
} else {
    X86_64
};
const OTHER: u16 = if cfg!(target_arch = "aarch64") {
    X86_64
} else {
    AARCH64
};

/// What the table's words mean on this machine.
pub(super) fn words() -> [(&'static str, &'static str); 5] {
    let (linux, npm, go, lambda, other) = match HERE {
        AARCH64 => ("aarch64", "arm64", "arm64", "arm64", "x86_64"),
        _ => ("x86_64", "x64", "amd64", "x86_64", "aarch64"),
    };
    [
        ("$LINUX", linux),
        ("$NPM", npm),
        ("$GO", go),
        ("$LAMBDA", lambda),
        ("$OTHER", other),
    ]
}

/// The beginning of a library or program, and nothing more: `class` 1 is 32 bit, `order` 2 big-endian, `kind` 2 a program, 3 a library.
fn elf(machine: u16, class: u8, order: u8, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, order, 1];
    bytes.resize(16, 0);
    for short in [kind, machine] {
        bytes.extend(match order {
            2 => short.to_be_bytes(),
            _ => short.to_le_bytes(),
        });
    }
    bytes.resize(64, 0);
    bytes
}

fn library(machine: u16) -> Vec<u8> {
    elf(machine, 2, 1, 3)
}

const APP: &str = "def handler(event, context):\n    return 1\n";
const MACH_O: &[u8] = b"\xcf\xfa\xed\xfe\x0c\0\0\x01\0\0\0\0\x02\0\0\0";
const FAT_MACH_O: &[u8] = b"\xca\xfe\xba\xbe\0\0\0\x02\x01\0\0\x07\0\0\0\x03";
const PE: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";

pub(super) fn zip(name: &str) -> Option<Vec<u8>> {
    let python = |files: &[(&str, Vec<u8>)]| {
        let mut entries = vec![Raw::file("app.py", APP.as_bytes())];
        entries.extend(files.iter().map(|(name, bytes)| Raw::file(name, bytes)));
        zip_of(&entries)
    };
    let one = |name: &str, bytes: &[u8]| zip_of(&[Raw::file(name, bytes).mode(0o100_755)]);
    let node = |files: &[(&str, &[u8])]| {
        let mut entries = vec![Raw::file("index.js", b"exports.handler = async () => 1")];
        entries.extend(files.iter().map(|(name, bytes)| Raw::file(name, bytes)));
        zip_of(&entries)
    };
    let module = |tag: &str| format!("numpy/_core/_multiarray_umath.{tag}.so");
    Some(match name {
        "native-python-older" | "native-python-stand-in" => {
            python(&[(&module("cpython-312-x86_64-linux-gnu"), library(HERE))])
        }
        "native-python-newer" => {
            python(&[(&module("cpython-314-x86_64-linux-gnu"), library(HERE))])
        }
        "native-python-free-threaded" => {
            python(&[(&module("cpython-313t-x86_64-linux-gnu"), library(HERE))])
        }
        "native-python-machine" => {
            python(&[(&module("cpython-313-aarch64-linux-gnu"), library(OTHER))])
        }
        "native-python-macos" => python(&[(&module("cpython-313-darwin"), MACH_O.to_vec())]),
        "native-library-32-bit" => python(&[("lib/libx.so.1", elf(I386, 1, 1, 3))]),
        "native-library-big-endian" => python(&[("lib/libx.so.1", elf(S390X, 2, 2, 3))]),
        "native-program-in-python" => python(&[("bin/ffmpeg", elf(OTHER, 2, 1, 2))]),
        "native-node-machine" => node(&[("node_modules/a/a.node", &library(OTHER))]),
        "native-node-macos" => node(&[("node_modules/a/a.node", MACH_O)]),
        "native-node-windows" => node(&[("node_modules/a/a.node", PE)]),
        "native-bootstrap-machine" => one("bootstrap", &elf(OTHER, 2, 1, 2)),
        "native-bootstrap-macos" => one("bootstrap", MACH_O),
        "native-bootstrap-macos-universal" => one("bootstrap", FAT_MACH_O),
        "native-bootstrap-windows" => one("bootstrap", PE),
        "native-bootstrap-32-bit" => one("bootstrap", &elf(HERE, 1, 1, 2)),
        // What fits, what is for every Python, what is data, and one of several variants.
        "harmless-python-modules" => python(&[
            (&module("cpython-313-x86_64-linux-gnu"), library(HERE)),
            (&module("cpython-312-x86_64-linux-gnu"), library(HERE)),
            ("p/_rust.abi3.so", library(HERE)),
            ("p/fast.cpython-312-x86_64-linux-gnu.so", library(HERE)),
            ("p/fast.py", b"".to_vec()),
            ("p/data.bin", MACH_O.to_vec()),
            ("p/cli.exe", PE.to_vec()),
            ("p/a.o", elf(OTHER, 2, 1, 1)),
            ("p/empty.so", Vec::new()),
        ]),
        "harmless-node-prebuilds" => node(&[
            ("node_modules/a/prebuilds/linux-x64/a.node", &library(HERE)),
            (
                "node_modules/a/prebuilds/linux-arm64/a.node",
                &library(OTHER),
            ),
            (
                "node_modules/a/prebuilds/darwin-x64+arm64/a.node",
                FAT_MACH_O,
            ),
            ("node_modules/a/prebuilds/win32-x64/a.node", PE),
        ]),
        "harmless-python-optional" => python(&[
            ("yaml/_yaml.cpython-312-x86_64-linux-gnu.so", library(HERE)),
            (
                "markupsafe/_speedups.cpython-312-x86_64-linux-gnu.so",
                library(HERE),
            ),
            ("c/md.py", b"x = 1".to_vec()),
            ("c/md.cpython-312-x86_64-linux-gnu.so", library(HERE)),
            ("c/md__mypyc.cpython-312-x86_64-linux-gnu.so", library(HERE)),
            ("p/kernel.so", elf(CUDA, 2, 1, 2)),
            ("p/probe.so", elf(BPF, 2, 1, 3)),
            ("p/board.elf", elf(ARM, 1, 1, 2)),
        ]),
        "harmless-node-optional" => node(&[
            (
                "node_modules/fsevents/package.json",
                br#"{"os": ["darwin"]}"#,
            ),
            ("node_modules/fsevents/fsevents.node", MACH_O),
            ("node_modules/n/n.darwin-arm64.node", MACH_O),
            ("node_modules/n/n.win32-x64-msvc.node", PE),
            (
                "node_modules/n/n.linux-s390x-gnu.node",
                &elf(S390X, 2, 2, 3),
            ),
            (
                "node_modules/dd-trace/prebuilds/linuxmusl-s390x/a.node",
                &elf(S390X, 2, 2, 3),
            ),
        ]),
        "harmless-bootstrap" => one("bootstrap", &elf(HERE, 2, 1, 3)),
        _ => return None,
    })
}
