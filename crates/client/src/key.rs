use std::{fmt, str::FromStr};

use thiserror::Error;

/// The key pair that opens a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    secret: String,
}

/// Text that is not `ID:SECRET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key is written ID:SECRET")]
pub struct ParseKeyError;

impl Key {
    /// From both parts.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
        }
    }

    /// The access key id; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret access key; never to be logged.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl FromStr for Key {
    type Err = ParseKeyError;
    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        match text.trim().split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self::new(id, secret)),
            _ => Err(ParseKeyError),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_parts_and_hides_the_secret() {
        let key: Key = "WARREN1:a+b/c:d".parse().unwrap();
        assert_eq!((key.id(), key.secret()), ("WARREN1", "a+b/c:d"));
        assert!(!format!("{key:?}").contains("a+b"));
        for text in ["", "a", ":a", "a:"] {
            assert_eq!(text.parse::<Key>(), Err(ParseKeyError), "{text}");
        }
    }
}
