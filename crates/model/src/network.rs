use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// What a function may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPolicy {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// The internet; no neighbours, no host, no metadata address.
    Internet,
    /// The named destinations and nothing else.
    Allow(Vec<String>),
}

impl fmt::Display for NetworkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Internet => f.write_str("internet"),
            Self::Allow(destinations) => write!(f, "allow:{}", destinations.join(" ")),
        }
    }
}

impl FromStr for NetworkPolicy {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "none" => Ok(Self::None),
            "internet" => Ok(Self::Internet),
            _ => match text.strip_prefix("allow:") {
                Some(rest) if !rest.trim().is_empty() => Ok(Self::Allow(
                    rest.split_whitespace().map(str::to_owned).collect(),
                )),
                _ => Err(Invalid::parameter(
                    "network",
                    format!(
                        "The network policy '{text}' is not known. Choose 'none', 'internet' or 'allow:HOST:PORT ...'."
                    ),
                )),
            },
        }
    }
}
