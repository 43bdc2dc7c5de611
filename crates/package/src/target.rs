use crate::native::Machine;

/// What a package's code will run on: this machine, and one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) machine: Machine,
    pub(crate) language: Language,
    /// The runtime that was asked for.
    pub(crate) runtime: String,
}

/// The languages whose native code is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// The version that really runs; none if it is not known.
    Python(Option<PythonVersion>),
    Node,
    /// A `bootstrap` program of the owner's.
    Program,
    Other,
}

/// Such as 3.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PythonVersion {
    pub(crate) major: u8,
    pub(crate) minor: u8,
}

impl std::fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Target {
    /// This machine, with a recipe of this family (`python`, `nodejs`, `provided` or another). `runtime` is the AWS id that was asked for, `runs` the
    /// recipe's own: where one stands in for another, code must be built for the one that runs.
    pub fn here(family: &str, runtime: &str, runs: &str) -> Self {
        let language = match family {
            "python" => Language::Python(python_version(runs)),
            "nodejs" => Language::Node,
            "provided" => Language::Program,
            _ => Language::Other,
        };
        Self {
            machine: Machine::HOST,
            language,
            runtime: runtime.to_owned(),
        }
    }
}

/// The version in an id such as `python3.13`.
fn python_version(id: &str) -> Option<PythonVersion> {
    let (major, minor) = id.strip_prefix("python")?.split_once('.')?;
    Some(PythonVersion {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_what_runs() {
        let target = Target::here("python", "python3.12", "python3.13");
        let version = PythonVersion {
            major: 3,
            minor: 13,
        };
        assert_eq!(target.language, Language::Python(Some(version)));
        assert_eq!(version.to_string(), "3.13");
        let own = Target::here("python", "mine", "mine");
        assert_eq!(own.language, Language::Python(None));
        assert_eq!(
            Target::here("bash", "bash5", "bash5").language,
            Language::Other
        );
    }
}
