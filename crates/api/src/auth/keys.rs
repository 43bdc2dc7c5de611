//! The key pair that opens Warren: `DIR/credentials`, made at the first start.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Name of the file within the data folder.
pub const FILE: &str = "credentials";
const ID_PREFIX: &str = "WARREN";
/// As long as AWS's, since some clients check it.
const ID_LENGTH: usize = 20;
const SECRET_LENGTH: usize = 40;
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    id: String,
    secret: String,
}

/// Why there is no key pair.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The file can't be read or written.
    #[error("can't {action} the credentials file {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an AWS profile with both keys.
    #[error("the credentials file {} lacks {missing}: restore it, or remove it so that the next start makes a new pair", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The key that is not there.
        missing: &'static str,
    },
    /// The system gives no random numbers.
    #[error("no random numbers for a new key pair: {0}")]
    Random(String),
}

impl Keys {
    /// From both parts.
    pub fn new(id: String, secret: String) -> Self {
        Self { id, secret }
    }

    /// The access key id; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret access key; never to be logged.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The pair of this data folder; made, in a file that only its owner can read, if there is none.
    pub fn load_or_create(directory: &Path) -> Result<Self, KeysError> {
        let path = directory.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let open =
                    fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
                if open {
                    tracing::warn!(file = %path.display(), "others can read the credentials file; run chmod 600 on it");
                }
                Self::parse(&text).map_err(|missing| KeysError::Malformed { path, missing })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = Self::random()?;
                keys.write(&path).map_err(|source| KeysError::Io {
                    action: "write",
                    path,
                    source,
                })?;
                Ok(keys)
            }
            Err(source) => Err(KeysError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    /// A new pair.
    fn random() -> Result<Self, KeysError> {
        Ok(Self {
            id: ID_PREFIX.to_owned() + &random_text(ID_LENGTH - ID_PREFIX.len(), ID_ALPHABET)?,
            secret: random_text(SECRET_LENGTH, SECRET_ALPHABET)?,
        })
    }

    /// Reads the first profile of an AWS credentials file; an error names the key that is missing.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        Ok(Self {
            id: value("aws_access_key_id").ok_or("aws_access_key_id")?,
            secret: value("aws_secret_access_key").ok_or("aws_secret_access_key")?,
        })
    }

    /// As an AWS credentials file.
    pub fn format(&self) -> String {
        format!(
            "# Opens this Warren. 'warren env' prints the exports for AWS clients.\n[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.id, self.secret
        )
    }

    /// Written aside and renamed, so that a crash leaves a whole file or none.
    fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(self.format().as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Letters of an alphabet whose length divides 256, so that each is equally likely.
fn random_text(length: usize, alphabet: &[u8]) -> Result<String, KeysError> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|error| KeysError::Random(error.to_string()))?;
    Ok(bytes
        .into_iter()
        .map(|byte| char::from(alphabet[usize::from(byte) % alphabet.len()]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let made = Keys::load_or_create(folder.path()).unwrap();
        assert_eq!((made.id().len(), made.secret().len()), (20, 40));
        assert!(made.id().starts_with("WARREN"));
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Keys::load_or_create(folder.path()).unwrap(), made);
        assert!(!format!("{made:?}").contains(made.secret()));
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join(FILE),
            "[default]\naws_access_key_id = X\n",
        )
        .unwrap();
        let error = Keys::load_or_create(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("lacks aws_secret_access_key"),
            "{error}"
        );
    }

    #[test]
    fn foreign_files_are_read() {
        let keys =
            Keys::parse("[a]\r\naws_secret_access_key=a=b/c\r\naws_access_key_id=K\r\n").unwrap();
        assert_eq!((keys.id(), keys.secret()), ("K", "a=b/c"));
    }
}
