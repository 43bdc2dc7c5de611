use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::StoreError;

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
        match PgConnectOptions::from_str(text) {
            Ok(options) => Ok(Self(options)),
            Err(sqlx::Error::Configuration(problem)) => Err(refused(problem.to_string())),
            Err(_) => Err(refused("it is no URL".to_owned())),
        }
    }
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
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
