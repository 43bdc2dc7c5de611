//! Which server, and with which key.

use std::{
    env::VarError,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use warren_api::auth::{Keys, keys};
use warren_client::{Client, Key};

use super::failure::Failure;
use crate::settings::DATA_DIR;

/// Where a server listens unless it was told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";
/// Every id that Warren makes begins so.
const KEY_PREFIX: &str = "WARREN";

/// Flags that choose the server and the key.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Address of the server [default: AWS_ENDPOINT_URL_LAMBDA or AWS_ENDPOINT_URL, else http://127.0.0.1:7070]
    #[arg(
        long,
        value_name = "URL",
        env = "WARREN_SERVER",
        hide_env_values = true
    )]
    server: Option<String>,
    /// Key pair that opens it [default: the pair of AWS_ACCESS_KEY_ID if `warren env` set it, else the file `credentials` in the data folder]
    #[arg(
        long,
        value_name = "ID:SECRET",
        env = "WARREN_KEY",
        hide_env_values = true
    )]
    key: Option<Key>,
    /// The server's data folder, on its own machine [default: .warren/data]
    #[arg(
        long,
        value_name = "DIR",
        env = "WARREN_DATA_DIR",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
}

/// The server and the key that were chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Its address.
    pub(super) server: String,
    /// What opens it.
    pub(super) key: Key,
}

impl Connection {
    /// A client of the chosen server.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let chosen = self.chosen()?;
        Ok(Client::new(&chosen.server, Some(&chosen.key))?)
    }

    /// Finds address and key.
    pub(super) fn chosen(&self) -> Result<Chosen, Failure> {
        let (server, _) = self.address();
        let key = match (&self.key, aws_key(&variable)) {
            (Some(key), _) => key.clone(),
            // The pair belongs to the address that was exported with it.
            (None, Some(key)) if self.named().is_none() && aws_server(&variable).is_some() => key,
            _ => read_credentials(self.data_dir())?,
        };
        Ok(Chosen { server, key })
    }

    /// The address that the flag or its variable names; a variable that is empty names none.
    fn named(&self) -> Option<&str> {
        self.server.as_deref().filter(|server| !server.is_empty())
    }

    /// The address, and whether it was chosen explicitly.
    pub(super) fn address(&self) -> (String, bool) {
        let named = self.named().map(str::to_owned);
        match named.or_else(|| aws_server(&variable)) {
            Some(server) => (server, true),
            None => (DEFAULT_SERVER.to_owned(), false),
        }
    }

    /// The data folder.
    pub(super) fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR))
    }
}

fn variable(name: &str) -> Result<String, VarError> {
    std::env::var(name)
}

type Variables<'v> = &'v dyn Fn(&str) -> Result<String, VarError>;

fn set(variables: Variables<'_>, name: &str) -> Option<String> {
    variables(name).ok().filter(|value| !value.is_empty())
}

/// The server that AWS clients use.
fn aws_server(variables: Variables<'_>) -> Option<String> {
    set(variables, "AWS_ENDPOINT_URL_LAMBDA").or_else(|| set(variables, "AWS_ENDPOINT_URL"))
}

/// The key pair that AWS clients use, if it is one of Warren's: a real one of AWS must not be sent anywhere.
fn aws_key(variables: Variables<'_>) -> Option<Key> {
    let id = set(variables, "AWS_ACCESS_KEY_ID").filter(|id| id.starts_with(KEY_PREFIX))?;
    Some(Key::new(id, set(variables, "AWS_SECRET_ACCESS_KEY")?))
}

fn read_credentials(data_dir: &Path) -> Result<Key, Failure> {
    let path = data_dir.join(keys::FILE);
    // A relative path says little to somebody in another folder.
    let path = std::path::absolute(&path).unwrap_or(path);
    let text = fs::read_to_string(&path).map_err(|error| {
        let failure = Failure::failed(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no key: {} does not exist", path.display()),
            _ => format!("the key can't be read: {}: {error}", path.display()),
        });
        failure.hint(match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "The file is its owner's alone: run this as that user, or set WARREN_KEY=ID:SECRET."
            }
            _ => {
                "Start the server here with `warren serve`, which writes it, or say where the server's data folder is with --data-dir or WARREN_DATA_DIR, or give the pair with --key or WARREN_KEY."
            }
        })
    })?;
    let keys = Keys::parse(&text)
        .map_err(|missing| Failure::failed(format!("{} lacks {missing}", path.display())))?;
    Ok(Key::new(keys.id(), keys.secret()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Result<String, VarError> + use<> {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        move |asked| {
            let found = pairs.iter().find(|(name, _)| name == asked);
            found
                .map(|(_, value)| value.clone())
                .ok_or(VarError::NotPresent)
        }
    }

    #[test]
    fn the_lambda_endpoint_comes_before_the_general_one() {
        let both = variables(&[
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_ENDPOINT_URL_LAMBDA", "http://b"),
        ]);
        assert_eq!(aws_server(&both).as_deref(), Some("http://b"));
        let empty = variables(&[("AWS_ENDPOINT_URL_LAMBDA", "")]);
        assert_eq!(aws_server(&empty), None);
    }

    #[test]
    fn a_key_of_aws_is_never_used() {
        let pair = |id| {
            let all = variables(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "s")]);
            aws_key(&all)
        };
        assert_eq!(pair("AKIA1234"), None);
        assert_eq!(pair("WARREN1"), Some(Key::new("WARREN1", "s")));
    }

    #[test]
    fn a_missing_key_says_where_it_was_looked_for() {
        let failure = read_credentials(Path::new("/nowhere")).unwrap_err();
        assert!(
            failure
                .text()
                .contains("/nowhere/credentials does not exist")
        );
        let failure = read_credentials(Path::new("no/where")).unwrap_err();
        let here = std::env::current_dir().unwrap();
        let path = here.join("no/where/credentials");
        assert!(failure.text().contains(&path.display().to_string()));
    }
}
