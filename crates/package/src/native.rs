//! Native code in a package: whether the machine and the language that it will run on can load it.

mod image;
mod npm;
mod python;
mod variant;

use std::collections::HashSet;

use thiserror::Error;

use crate::Target;
use crate::target::Language;
use image::Image;
pub(crate) use image::Machine;
use python::Tag;

/// Most bytes of a program or library that are looked at, and of a `package.json`.
const HEAD: usize = 64;
const MAX_MANIFEST: usize = 64 * 1024;

/// The program of a runtime that has none of its own.
const BOOTSTRAP: &str = "bootstrap";

/// Native code that can't be loaded here; each message ends with the way to code that can.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NativeFault {
    /// An extension module of another Python.
    #[error("'{entry}' is built for Python {built_for}, but the runtime {runtime} {runs}. {fix}")]
    Python {
        /// The file.
        entry: String,
        /// By its name.
        built_for: String,
        /// The runtime that was asked for.
        runtime: String,
        /// What it really is; reads on from the runtime.
        runs: String,
        /// The next step.
        fix: String,
    },
    /// Code for another processor or another system.
    #[error("'{entry}' is {found}, but functions run on {here} here. {fix}")]
    Machine {
        /// The file.
        entry: String,
        /// What it is.
        found: String,
        /// What would do.
        here: String,
        /// The next step.
        fix: String,
    },
}

/// A file that does not fit, unless another one is meant for here.
struct Suspect {
    fault: Box<NativeFault>,
    excuse: Excuse,
}

/// What makes a file that does not fit harmless.
enum Excuse {
    /// Nothing.
    None,
    /// The same module in a form that this Python imports.
    Module(String),
    /// The same file for this machine, by what variants have in common.
    Variant(String),
}

/// What is known of a package's native code so far.
pub(crate) struct Natives<'t> {
    target: &'t Target,
    suspects: Vec<Suspect>,
    /// Extension modules of this Python.
    modules: HashSet<String>,
    /// Files for this machine, by what variants have in common.
    variants: HashSet<String>,
    /// Folders of npm packages that are for other systems or processors.
    foreign: HashSet<String>,
}

/// How many bytes of a file's beginning are looked at.
pub(crate) fn head(path: &str) -> usize {
    match npm::is_manifest(path) {
        true => MAX_MANIFEST,
        false => HEAD,
    }
}

impl<'t> Natives<'t> {
    pub(crate) fn new(target: &'t Target) -> Self {
        Self {
            target,
            suspects: Vec::new(),
            modules: HashSet::new(),
            variants: HashSet::new(),
            foreign: HashSet::new(),
        }
    }

    /// Looks at the beginning of a file.
    pub(crate) fn see(&mut self, path: &str, head: &[u8]) {
        // An empty file is nobody's code, and stands for none.
        if head.is_empty() {
            return;
        }
        if self.target.language == Language::Node
            && npm::is_manifest(path)
            && let Some(here) = self.target.machine.names()
            && npm::is_for_others(head, here)
        {
            self.foreign.insert(npm::folder(path).to_owned());
            return;
        }
        if let (Language::Python(Some(version)), Some(tag)) = (self.target.language, Tag::of(path))
        {
            if tag.fits(version) {
                self.modules.insert(tag.module.to_owned());
            } else if !tag.is_optional() {
                let fault = Box::new(self.target.other_python(path, &tag));
                let excuse = Excuse::Module(tag.module.to_owned());
                self.suspects.push(Suspect { fault, excuse });
                return;
            } else {
                return;
            }
        }
        let Some(image) = Image::of(head) else {
            return;
        };
        // Nothing can be compared with a processor that has no row.
        let Some(here) = self.target.machine.names() else {
            return;
        };
        let program = self.target.language == Language::Program && path == BOOTSTRAP;
        match image {
            Image::Elf(machine) if machine == self.target.machine => {
                self.variants.insert(variant::common(path));
                return;
            }
            // Firmware, and code for graphics processors or the kernel: nothing that Linux runs, or that is run by such a name.
            Image::Elf(machine) if !program && (machine.names().is_none() || is_data(path)) => {
                return;
            }
            // Its loader takes the one that is named for here.
            _ if is_addon(path) && variant::is_foreign(path, here) => return,
            Image::Elf(_) => {}
            // Packages bring programs for other systems, and never load them here.
            Image::MachO | Image::Pe if program || is_module(path) => {}
            Image::MachO | Image::Pe => return,
        }
        let fault = Box::new(self.target.other_machine(path, image, program));
        let excuse = match program {
            true => Excuse::None,
            false => Excuse::Variant(variant::common(path)),
        };
        self.suspects.push(Suspect { fault, excuse });
    }

    /// The first file that does not fit and has no other in its place; `paths` are all of the package's.
    pub(crate) fn judge<'p>(
        self,
        paths: impl Iterator<Item = &'p str>,
    ) -> Result<(), Box<NativeFault>> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let paths: HashSet<&str> = paths.collect();
        let found = |module: &str, ending| paths.contains(format!("{module}{ending}").as_str());
        let foreign = self.foreign;
        let guilty = self
            .suspects
            .into_iter()
            .filter(|suspect| !npm::is_within(suspect.fault.entry(), &foreign))
            .find(|suspect| match &suspect.excuse {
                Excuse::None => true,
                Excuse::Variant(common) => !self.variants.contains(common),
                Excuse::Module(module) => {
                    !self.modules.contains(module)
                        && ![".abi3.so", ".so", ".py"]
                            .iter()
                            .any(|ending| found(module, ending))
                }
            });
        guilty.map_or(Ok(()), |suspect| Err(suspect.fault))
    }
}

/// Extension modules of other Pythons that are no reason to refuse a package, as it goes on without them: each with the version that it is for.
/// `runs` is the id of the runtime that really runs, such as `python3.13`.
pub fn accelerators<'p>(
    paths: impl Iterator<Item = &'p str> + Clone,
    runs: &str,
) -> Vec<(String, String)> {
    let Language::Python(Some(version)) = Target::here("python", runs, runs).language else {
        return Vec::new();
    };
    let tags = paths.filter_map(|path| Some((path, Tag::of(path)?)));
    let fitting: HashSet<&str> = tags
        .clone()
        .filter(|(_, tag)| tag.fits(version))
        .map(|(_, tag)| tag.module)
        .collect();
    tags.filter(|(_, tag)| !tag.fits(version) && tag.is_optional())
        .filter(|(_, tag)| !fitting.contains(tag.module))
        .map(|(path, tag)| (path.to_owned(), tag.version()))
        .collect()
}

/// Whether a language loads a file of this name, whatever it is.
fn is_module(path: &str) -> bool {
    path.ends_with(".so") || is_addon(path)
}

/// Whether it is a native module of Node.js.
fn is_addon(path: &str) -> bool {
    path.ends_with(".node")
}

/// Whether nothing loads a file of this name as code of this machine.
fn is_data(path: &str) -> bool {
    const ENDINGS: [&str; 8] = ["bin", "bpf", "cubin", "elf", "fatbin", "fw", "hsaco", "img"];
    path.rsplit_once('.')
        .is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

impl NativeFault {
    fn entry(&self) -> &str {
        match self {
            Self::Python { entry, .. } | Self::Machine { entry, .. } => entry,
        }
    }
}

impl Target {
    fn other_python(&self, path: &str, tag: &Tag<'_>) -> NativeFault {
        let version = match self.language {
            Language::Python(Some(version)) => version.to_string(),
            _ => String::new(),
        };
        let runs = match self.runtime == format!("python{version}") {
            true => format!("is Python {version}"),
            false => format!("runs on Python {version} here, which stands in for it"),
        };
        NativeFault::Python {
            entry: path.to_owned(),
            built_for: tag.version(),
            runtime: self.runtime.clone(),
            runs,
            fix: self.fix(false),
        }
    }

    fn other_machine(&self, path: &str, image: Image, program: bool) -> NativeFault {
        let what = if program { "program" } else { "library" };
        let (found, here) = match image {
            Image::Elf(machine) => (
                format!("an ELF file for {machine}"),
                self.machine.to_string(),
            ),
            Image::MachO => (
                format!("a macOS {what} (Mach-O)"),
                format!("Linux on {}", self.machine),
            ),
            Image::Pe => (
                format!("a Windows {what} (PE)"),
                format!("Linux on {}", self.machine),
            ),
        };
        NativeFault::Machine {
            entry: path.to_owned(),
            found,
            here,
            fix: self.fix(program),
        }
    }

    /// How to get code for this target.
    fn fix(&self, program: bool) -> String {
        let Some(here) = self.machine.names() else {
            return "Build it on this machine.".to_owned();
        };
        let linux = here.linux;
        match self.language {
            Language::Python(version) => {
                let version = version
                    .map(|version| format!(" --python-version {version}"))
                    .unwrap_or_default();
                format!(
                    "Install it for here: pip install --platform manylinux2014_{linux}{version} --only-binary=:all: -t . PACKAGE"
                )
            }
            Language::Node => format!(
                "Install it for here: npm install --os=linux --cpu={} PACKAGE",
                here.npm
            ),
            Language::Program if program => format!(
                "Build it for here: GOOS=linux GOARCH={} go build -o bootstrap, or cargo build --release --target {linux}-unknown-linux-musl. Deploy it with Architectures {}.",
                here.go,
                if linux == "aarch64" { "arm64" } else { linux }
            ),
            Language::Program | Language::Other => {
                format!("Build it for Linux on {linux}, or leave it out.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
