use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Invalid;

/// Bytes of the longest name.
const MAX: usize = 16;

/// An isolation technology, as owners name it: a short word. Which there are is known to a server alone, so that an engine is added by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineName {
    /// Letters, digits and hyphens, then zeroes.
    bytes: [u8; MAX],
}

impl EngineName {
    /// The engine of functions whose server names no other.
    pub const DOCKER: Self = Self::named("docker");

    /// The name of an engine in its own code.
    ///
    /// # Panics
    /// It is not 1 to 16 lower-case letters, digits and hyphens, a letter first. In a constant this is an error of the compiler's.
    pub const fn named(name: &str) -> Self {
        match Self::read(name.as_bytes()) {
            Some(name) => name,
            None => panic!("an engine's name is 1 to 16 lower-case letters, digits and hyphens"),
        }
    }

    const fn read(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > MAX || !text[0].is_ascii_lowercase() {
            return None;
        }
        let mut bytes = [0; MAX];
        let mut at = 0;
        while at < text.len() {
            if !text[at].is_ascii_lowercase() && !text[at].is_ascii_digit() && text[at] != b'-' {
                return None;
            }
            bytes[at] = text[at];
            at += 1;
        }
        Some(Self { bytes })
    }

    /// The name, as in tags, flags and labels.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        // It is ASCII, as `read` saw to.
        str::from_utf8(&self.bytes[..end.unwrap_or(MAX)]).unwrap_or_default()
    }
}

impl Default for EngineName {
    fn default() -> Self {
        Self::DOCKER
    }
}

impl fmt::Debug for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineName({})", self.as_str())
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EngineName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::read(text.as_bytes()).ok_or_else(|| {
            Invalid::parameter(
                "engine",
                format!(
                    "'{text}' is no name of an engine: that is 1 to {MAX} lower-case letters, digits and hyphens, such as docker. `warren engines` lists those of the server."
                ),
            )
        })
    }
}

impl Serialize for EngineName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EngineName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_word() {
        for text in ["docker", "runc", "a", "kata-qemu", "abcdefghijklmnop"] {
            let name: EngineName = text.parse().unwrap();
            assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<EngineName>(&json).unwrap(), name);
        }
        for text in [
            "",
            "Docker",
            "1st",
            "-a",
            "no engine",
            "abcdefghijklmnopq",
            "d\u{f6}cker",
            "a\0",
        ] {
            assert!(text.parse::<EngineName>().is_err(), "{text}");
        }
        assert!("docker".parse::<EngineName>().unwrap() < EngineName::named("runc"));
    }
}
