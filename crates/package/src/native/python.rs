//! What the names of Python's extension modules say (PEP 3149).

use crate::target::PythonVersion;

/// A name such as `pkg/_core.cpython-312-x86_64-linux-gnu.so`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'p> {
    /// The module, `pkg/_core`.
    pub(super) module: &'p str,
    /// `312`.
    digits: &'p str,
    /// What may follow the version: `t` without a global lock, `d` for debugging, `m` before 3.8.
    variant: &'p str,
}

impl<'p> Tag<'p> {
    /// The tag of a path; none if it is no extension module of one version. `abi3` modules are for all.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let (module, tag) = path.strip_suffix(".so")?.rsplit_once(".cpython-")?;
        let version = tag.split('-').next()?;
        let end = version.find(|c: char| !c.is_ascii_digit());
        let (digits, variant) = version.split_at(end.unwrap_or(version.len()));
        (digits.len() >= 2).then_some(Self {
            module,
            digits,
            variant,
        })
    }

    /// Whether this Python imports it.
    pub(super) fn fits(&self, version: PythonVersion) -> bool {
        self.variant.is_empty() && self.digits == format!("{}{}", version.major, version.minor)
    }

    /// The version it is for, as people write it.
    pub(super) fn version(&self) -> String {
        let (major, minor) = self.digits.split_at(1);
        format!("{major}.{minor}{}", self.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_extension_modules() {
        let python = PythonVersion {
            major: 3,
            minor: 13,
        };
        for (path, version, fits) in [
            ("a/_x.cpython-313-x86_64-linux-gnu.so", "3.13", true),
            ("a/_x.cpython-312-x86_64-linux-gnu.so", "3.12", false),
            ("a/_x.cpython-39-x86_64-linux-gnu.so", "3.9", false),
            ("a/_x.cpython-37m-x86_64-linux-gnu.so", "3.7m", false),
            ("a/_x.cpython-313t-x86_64-linux-gnu.so", "3.13t", false),
            ("a/_x.cpython-313.so", "3.13", true),
        ] {
            let tag = Tag::of(path).unwrap();
            assert_eq!((tag.module, tag.version().as_str()), ("a/_x", version));
            assert_eq!(tag.fits(python), fits, "{path}");
        }
        for path in [
            "a/_x.abi3.so",
            "a/_x.so",
            "lib.so.1",
            "x.cpython-312.pyc",
            "x.cpython-.so",
        ] {
            assert_eq!(Tag::of(path), None, "{path}");
        }
    }
}
