//! Packages that bring one file for each platform and choose at run time.

use super::image::Names;

/// What of a path names a platform.
const PLATFORMS: &[&str] = &[
    "32",
    "386",
    "64",
    "aarch64",
    "amd64",
    "android",
    "arm",
    "arm64",
    "armv7l",
    "armhf",
    "armv6",
    "armv7",
    "armv8",
    "darwin",
    "freebsd",
    "glibc",
    "gnu",
    "gnueabihf",
    "i386",
    "i686",
    "ia32",
    "linux",
    "linuxglibc",
    "linuxmusl",
    "loong64",
    "macos",
    "macosx",
    "mips64el",
    "msvc",
    "musl",
    "musleabihf",
    "openbsd",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390x",
    "universal2",
    "win",
    "win32",
    "windows",
    "x64",
    "x86",
];

/// Systems that are not Linux.
const OTHER_SYSTEMS: &[&str] = &[
    "android", "darwin", "freebsd", "macos", "macosx", "openbsd", "win", "win32", "windows",
];

/// Processors, each as all call it; "x86_64" is two words.
const PROCESSORS: &[&[&str]] = &[
    &["x64", "amd64"],
    &["arm64", "aarch64"],
    &["arm", "armhf", "armv6", "armv7", "armv7l"],
    &["ia32", "386", "i386", "i686"],
    &["loong64"],
    &["mips64el"],
    &["ppc64"],
    &["riscv64"],
    &["s390x"],
];

/// Whether the name of a file, or of the folder that it is in, is that of another system or processor and not of this one.
pub(super) fn is_foreign(path: &str, here: &Names) -> bool {
    let parts: Vec<&str> = path.rsplitn(3, '/').take(2).collect();
    let words: Vec<String> = parts
        .iter()
        .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()))
        .map(str::to_ascii_lowercase)
        .collect();
    let names = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let of_here = |names: &&&[&str]| names.contains(&here.npm);
    let own = PROCESSORS.iter().filter(of_here).any(|list| names(list));
    let other = PROCESSORS.iter().any(|list| !of_here(&list) && names(list));
    names(OTHER_SYSTEMS) || (other && !own)
}

/// A path without what names a platform: the same for all of one file's variants, such as `prebuilds/linux-x64/a.node` and `prebuilds/linux-arm64/a.node`.
pub(super) fn common(path: &str) -> String {
    let mut common = String::with_capacity(path.len());
    for word in path.split(|c: char| !c.is_ascii_alphanumeric()) {
        let word = word.to_ascii_lowercase();
        if !word.is_empty() && !PLATFORMS.contains(&word.as_str()) {
            common.push_str(&word);
            common.push('/');
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::*;

    #[test]
    fn names_of_other_platforms() {
        let Some(here) = Machine::HOST.names() else {
            println!("SKIPPED: no such processor in the table");
            return;
        };
        let own = here.npm;
        for (path, foreign) in [
            ("m/index.darwin-arm64.node".to_owned(), true),
            ("m/index.win32-x64-msvc.node".to_owned(), true),
            ("m/index.linux-s390x-gnu.node".to_owned(), true),
            (format!("m/index.linux-{own}-gnu.node"), false),
            (format!("p/prebuilds/linuxglibc-{own}/a.node"), false),
            (format!("p/prebuilds/darwin-{own}/a.node"), true),
            ("p/prebuilds/linux-riscv64/a.node".to_owned(), true),
            ("p/build/Release/a.node".to_owned(), false),
            // Only the name and its folder: projects are called anything.
            ("darwin/arm/node_modules/a/build/a.node".to_owned(), false),
        ] {
            assert_eq!(is_foreign(&path, here), foreign, "{path}");
        }
    }

    #[test]
    fn variants_of_one_file() {
        for (one, other) in [
            (
                "p/prebuilds/linux-x64/a.node",
                "p/prebuilds/linux-arm64/a.node",
            ),
            (
                "p/prebuilds/linux-x64/node.napi.node",
                "p/prebuilds/linux-arm/node.napi.armv7.node",
            ),
            ("d/attach_linux_amd64.so", "d/attach_linux_x86.so"),
            (
                "s/cpu-linux-x64-glibc-108.node",
                "s/cpu-darwin-arm64-108.node",
            ),
            ("bin/x86_64/tool", "bin/aarch64/tool"),
            (
                "d/prebuilds/linuxglibc-x64/a.node",
                "d/prebuilds/linuxmusl-arm64/a.node",
            ),
            ("m/i.linux-x64-gnu.node", "m/i.win32-x64-msvc.node"),
        ] {
            assert_eq!(common(one), common(other));
        }
        assert_ne!(common("lib/a.so"), common("lib/b.so"));
    }
}
