//! What the names of Python's extension modules say (PEP 3149).

use crate::target::PythonVersion;

/// Modules that only make their package quicker, which goes on without them: names behind the package's folder, or folders with '/' behind them.
const OPTIONAL: &[&str] = &[
    "_cbson",
    "_cmessage",
    "_ruamel_yaml",
    "_yaml",
    "aiohttp/_http_parser",
    "aiohttp/_http_writer",
    "aiohttp/_websocket/mask",
    "aiohttp/_websocket/reader_c",
    "bson/_cbson",
    "coverage/tracer",
    "debugpy/",
    "frozenlist/_frozenlist",
    "google/_upb/_message",
    "markupsafe/_speedups",
    "msgpack/_cmsgpack",
    "multidict/_multidict",
    "propcache/_helpers_c",
    "pymongo/_cmessage",
    "simplejson/_speedups",
    "sqlalchemy/cyextension/",
    "thrift/protocol/fastbinary",
    "tornado/speedups",
    "websockets/speedups",
    "wrapt/_wrappers",
    "yaml/_yaml",
    "yarl/_quoting_c",
    "zope/interface/_zope_interface_coptimizations",
];

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

    /// Whether its package can do without it: a known accelerator, or the shared part that mypyc makes for modules which are judged themselves.
    pub(super) fn is_optional(&self) -> bool {
        let at = |name: &str| {
            let rest = self.module.strip_suffix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let within = |folder: &str| {
            let found = self.module.find(folder);
            found.is_some_and(|at| at == 0 || self.module[..at].ends_with('/'))
        };
        self.module.ends_with("__mypyc")
            || OPTIONAL.iter().any(|name| match name.ends_with('/') {
                true => within(name),
                false => at(name),
            })
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
        for (module, optional) in [
            ("yaml/_yaml", true),
            ("lib/yaml/_yaml", true),
            ("81d243bd2c585b0f4821__mypyc", true),
            ("lib/sqlalchemy/cyextension/util", true),
            ("debugpy/_vendored/x", true),
            ("numpy/_core/_multiarray_umath", false),
            ("mydebugpy/x", false),
            ("not_yaml", false),
        ] {
            let path = format!("{module}.cpython-312-x86_64-linux-gnu.so");
            assert_eq!(Tag::of(&path).unwrap().is_optional(), optional, "{path}");
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
