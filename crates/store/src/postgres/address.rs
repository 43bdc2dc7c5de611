use std::error::Error;
use std::net::IpAddr;
use std::str::FromStr;
use std::{fmt, io};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::session::ANSWER;
use crate::{StoreError, error};

/// libpq's variables for `sslmode` and `password`.
const SSL_MODE: &str = "PGSSLMODE";
const PASSWORD: &str = "PGPASSWORD";
/// What PostgreSQL says of a password that is wrong or empty.
const WRONG_PASSWORD: &str = "28P01";
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

type Source = Box<dyn Error + Send + Sync>;

/// Where a PostgreSQL database is, and how to log in: a URL as libpq reads it. Shown without its password.
#[derive(Clone)]
pub struct Address {
    options: PgConnectOptions,
    /// Whether it, or libpq's variable, has a password.
    password: bool,
}

impl Address {
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone().application_name("warren")
    }

    /// One connection, to see that there can be one: a pool would try until its time is over, and not say why.
    pub(super) async fn reach(&self) -> Result<PgConnection, StoreError> {
        match timeout(ANSWER, PgConnection::connect_with(&self.options())).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(StoreError::Unavailable(
                format!(
                    "{} does not answer within {} s: look at the address, and whether a firewall is in between",
                    self.place(),
                    ANSWER.as_secs()
                )
                .into(),
            )),
        }
    }

    /// Why there is no connection, and the next step.
    fn unreachable(&self, error: sqlx::Error) -> StoreError {
        let place = self.place();
        let options = &self.options;
        let refused = |problem: String, source: Source| StoreError::Refused {
            problem,
            value: false,
            source,
        };
        let said = match &error {
            sqlx::Error::Io(error) => match (error.kind(), options.get_socket()) {
                (io::ErrorKind::NotFound, _) | (io::ErrorKind::ConnectionRefused, Some(_)) => {
                    format!(
                        "there is no server at the socket {place} ({error}): start PostgreSQL, or name its socket's folder as `host`"
                    )
                }
                (io::ErrorKind::ConnectionRefused, None) => format!(
                    "nobody listens at {place} ({error}): start PostgreSQL there, or correct host and port (PostgreSQL's own setting is listen_addresses)"
                ),
                _ => format!(
                    "{place} can't be reached ({error}): look at host and port, and at the network in between"
                ),
            },
            sqlx::Error::Tls(cause) => {
                let mode = ssl_mode(options.get_ssl_mode());
                let next = match cause.to_string().contains("not support") {
                    true => {
                        "switch it on there (`ssl = on`), or, if nobody can listen in between, write ?sslmode=disable behind the address"
                    }
                    false => {
                        "give the root that signed its certificate as &sslrootcert=FILE, and see that the certificate is for this host"
                    }
                };
                let said = cause.to_string();
                return refused(
                    format!("{place} offers no TLS as `sslmode={mode}` asks for: {next}"),
                    said.into(),
                );
            }
            sqlx::Error::Database(said) if said.code().as_deref() == Some(WRONG_PASSWORD) => {
                let user = options.get_username();
                let problem = match self.password {
                    true => format!(
                        "the password of the user {user} is wrong, or there is no such user: look at both (in a URL, `@`, `:`, `/`, `?` and `#` of a password are written %40, %3A, %2F, %3F and %23)"
                    ),
                    false => format!(
                        "the database asks for a password of the user {user}, and none was given: write it in the address (postgres://{user}:PASSWORD@...), in PGPASSWORD or in ~/.pgpass (a line there may also be wrong)"
                    ),
                };
                return refused(problem, error::words(error));
            }
            _ => return error.into(),
        };
        StoreError::Unavailable(said.into())
    }

    /// Where it is, without user and database.
    fn place(&self) -> String {
        let options = &self.options;
        match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        }
    }
}

/// As it is written in an address.
fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
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
                Ok(Self {
                    options: match asked || is_here(&options) {
                        true => options,
                        false => options.ssl_mode(PgSslMode::VerifyFull),
                    },
                    password: parameters.contains(&"password")
                        || std::env::var_os(PASSWORD).is_some()
                        || names_password(text),
                })
            }
            Err(sqlx::Error::Configuration(problem)) => Err(refused(problem.to_string())),
            Err(_) => Err(refused("it is no URL".to_owned())),
        }
    }
}

/// Whether there is one before the host.
fn names_password(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
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
        let options = &self.options;
        write!(f, "postgres://{}@{}", options.get_username(), self.place())?;
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
        let mode = |url: &str| url.parse::<Address>().unwrap().options.get_ssl_mode();
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
    fn a_password_is_known_to_be_given() {
        let given = |url: &str| url.parse::<Address>().unwrap().password;
        for url in [
            "postgres://ada:s3cret@db/x",
            "postgres://ada:p%40ss@db/x",
            "postgres:///x?user=ada&password=s3cret&host=/run",
        ] {
            assert!(given(url), "{url}");
        }
        for url in [
            "postgres://ada@db:5432/x",
            "postgres://ada:@db/x",
            "postgres:///x?user=ada",
        ] {
            assert!(!given(url), "{url}");
        }
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
