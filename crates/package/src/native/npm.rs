//! What npm packages say of the systems that they are for: those for others are installed on request only, and never loaded here.

use std::collections::HashSet;

use serde::Deserialize;

use super::image::Names;

const MANIFEST: &str = "package.json";

/// The members `os` and `cpu` of a `package.json` (npm's documentation of it): names, or names that are excluded by a '!'.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    os: OneOrMore,
    #[serde(default)]
    cpu: OneOrMore,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl OneOrMore {
    fn allows(&self, here: &str) -> bool {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::More(names) => names,
        };
        if names
            .iter()
            .any(|name| name.strip_prefix('!') == Some(here))
        {
            return false;
        }
        let mut wanted = names
            .iter()
            .filter(|name| !name.starts_with('!'))
            .peekable();
        wanted.peek().is_none() || wanted.any(|name| name == here || name == "any")
    }
}

pub(super) fn is_manifest(path: &str) -> bool {
    path == MANIFEST || path.ends_with("/package.json")
}

/// The folder of a manifest, with '/' behind it.
pub(super) fn folder(path: &str) -> &str {
    path.strip_suffix(MANIFEST).unwrap_or(path)
}

/// Whether a manifest says that its package is not for Linux on this processor.
pub(super) fn is_for_others(manifest: &[u8], here: &Names) -> bool {
    // What is no manifest says nothing.
    serde_json::from_slice::<Manifest>(manifest)
        .is_ok_and(|manifest| !manifest.os.allows("linux") || !manifest.cpu.allows(here.npm))
}

/// Whether a file is in one of these folders, or below.
pub(super) fn is_within(path: &str, folders: &HashSet<String>) -> bool {
    path.match_indices('/')
        .any(|(end, _)| folders.contains(&path[..=end]))
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::*;

    #[test]
    fn manifests_name_systems() {
        let Some(here) = Machine::HOST.names() else {
            println!("SKIPPED: no such processor in the table");
            return;
        };
        for (text, expected) in [
            ("{}", false),
            ("not json", false),
            (r#"{"os": 7}"#, false),
            (r#"{"os": ["darwin"]}"#, true),
            (r#"{"os": "darwin"}"#, true),
            (r#"{"os": ["darwin", "linux"]}"#, false),
            (r#"{"os": ["!win32"]}"#, false),
            (r#"{"os": ["!linux"]}"#, true),
            (r#"{"os": ["linux"], "cpu": ["mips"]}"#, true),
            (r#"{"cpu": ["any"]}"#, false),
        ] {
            assert_eq!(is_for_others(text.as_bytes(), here), expected, "{text}");
        }
        let own = format!(r#"{{"cpu": ["{}"]}}"#, here.npm);
        assert!(!is_for_others(own.as_bytes(), here));
    }
}
