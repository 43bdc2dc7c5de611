use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// An isolation technology, as owners name it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EngineName {
    /// A container of a Docker daemon.
    #[default]
    Docker,
    /// A container of an OCI runtime, without a daemon.
    Runc,
    /// A gVisor sandbox: a kernel of its own in user space.
    Gvisor,
}

impl EngineName {
    /// All engines that this build knows.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Runc, Self::Gvisor];

    /// The name, as in tags, flags and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Runc => "runc",
            Self::Gvisor => "gvisor",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.as_str() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|engine| engine.as_str()).collect();
                Invalid::parameter(
                    "engine",
                    format!(
                        "The engine '{text}' is not built into this Warren; there is: {} (a hardened container for each instance). Choose that, or name no engine.",
                        known.join(", ")
                    ),
                )
            })
    }
}
