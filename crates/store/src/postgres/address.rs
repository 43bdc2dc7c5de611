use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::StoreError;

/// libpq's variable for `sslmode`.
const SSL_MODE: &str = "PGSSLMODE";
/// What may stand behind the `?`. sqlx writes others into the log, with their values, and goes on without them.
const PARAMETERS: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Where a PostgreSQL database is, and how to log in: a URL as libpq reads it. Shown without its password.
#[derive(Clone)]
pub struct Address(PgConnectOptions);

impl Address {
    pub(super) fn options(&self) -> PgConnectOptions {
        self.0.clone()
    }
}

impl FromStr for Address {
    type Err = StoreError;

    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`, each part optional; over a socket `postgres:///DATABASE?user=USER&host=/FOLDER`.
    ///
    /// # Errors
    /// [`StoreError::Address`]; its words never have the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let refused = |problem: String| StoreError::Address { problem };
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err(refused("it does not begin with postgres://".to_owned()));
        }
        let parameters = parameters(text);
        if let Some(unknown) = parameters.iter().find(|name| !PARAMETERS.contains(name)) {
            // What looks otherwise may be the end of a password with a '?' in it.
            let harmless = |c: char| c.is_ascii_lowercase() || c == '_';
            let name = match !unknown.is_empty() && unknown.chars().all(harmless) {
                true => format!("the parameter '{unknown}'"),
                false => "a parameter".to_owned(),
            };
            return Err(refused(format!(
                "it has {name}, which is not known (a '?' in a password is written %3F); known are {}",
                PARAMETERS.join(", ")
            )));
        }
        match PgConnectOptions::from_str(text) {
            Ok(options) => {
                let asked = parameters.contains(&"sslmode") || std::env::var_os(SSL_MODE).is_some();
                Ok(Self(match asked || is_here(&options) {
                    true => options,
                    false => options.ssl_mode(PgSslMode::VerifyFull),
                }))
            }
            Err(sqlx::Error::Configuration(problem)) => Err(refused(problem.to_string())),
            Err(_) => Err(refused("it is no URL".to_owned())),
        }
    }
}

/// The names of the parameters behind the `?`.
fn parameters(text: &str) -> Vec<&str> {
    let url = text.split_once('#').map_or(text, |(url, _)| url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            parameter
                .split_once('=')
                .map_or(parameter, |(name, _)| name)
        })
        .collect()
}

/// Whether the database is on this machine, so that nobody listens in between.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    options.get_socket().is_some()
        || host == "localhost"
        || host.starts_with('/')
        || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0;
        write!(f, "postgres://{}@", options.get_username())?;
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
        }
        let database = options.get_database();
        write!(f, "/{}", database.unwrap_or(options.get_username()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        for (parameter, name) in [
            ("sslmod=require", "sslmod"),
            ("sslmode=require&pasword=s3cret", "pasword"),
            ("connect_timeout=3", "connect_timeout"),
        ] {
            let error = format!("postgres://ada@db/x?{parameter}").parse::<Address>();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("'{name}'")), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn another_machine_is_asked_for_its_certificate() {
        let mode = |url: &str| url.parse::<Address>().unwrap().0.get_ssl_mode();
        for here in ["localhost", "127.0.0.1", "[::1]"] {
            let url = format!("postgres://ada@{here}/x");
            assert!(matches!(mode(&url), PgSslMode::Prefer), "{url}");
        }
        let socket = "postgres:///x?host=/run/postgresql";
        assert!(matches!(mode(socket), PgSslMode::Prefer));
        let remote = "postgres://ada@db.example/x";
        assert!(matches!(mode(remote), PgSslMode::VerifyFull));
        let asked = "postgres://ada@db.example/x?sslmode=require";
        assert!(matches!(mode(asked), PgSslMode::Require));
    }

    #[test]
    fn passwords_are_not_shown() {
        let address: Address = "postgres://ada:s3cret@db.example:5433/warren?sslmode=verify-full"
            .parse()
            .unwrap();
        assert_eq!(address.to_string(), "postgres://ada@db.example:5433/warren");
        assert!(!format!("{address:?}").contains("s3cret"));
        for wrong in [
            "mysql://ada:s3cret@db/x",
            "postgres://ada:s3cret@db:port/x",
            "postgres://ada:s3cret@db/x?sslmode=perhaps",
            "postgres://ada:s3cret@",
            "postgres://ada:a?s3cret@db/x",
            "postgres://ada:a?b&s3cret@db/x?sslmode=require",
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
