//! Packages that bring one file for each platform and choose at run time.

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
    "loong64",
    "macos",
    "macosx",
    "mips64el",
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
    use super::*;

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
        ] {
            assert_eq!(common(one), common(other));
        }
        assert_ne!(common("lib/a.so"), common("lib/b.so"));
    }
}
