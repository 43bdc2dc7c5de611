//! One thing that an owner allows: `ADDRESS:PORT`, `ADDRESS/BITS:PORT`, `NAME:PORT`, `host:PORT`, `container:NAME:PORT` or `network:NAME:PORT`.

use std::{net::IpAddr, str::FromStr};

use crate::neighbours::Prefix;

/// The machine itself as functions name it.
pub(crate) const MACHINE: &str = "host.warren.internal";
/// Lengths of a name and of each of its labels (RFC 1035, 2.3.4).
const NAME: usize = 253;
const LABEL: usize = 63;
/// Of a container or a Docker network: it becomes one label, or several.
const DOCKER_NAME: usize = 128;

/// Addresses and one port, over TCP and UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) prefix: Prefix,
    pub(crate) port: u16,
}

impl Opening {
    /// Of ranges, and of single addresses, which are judged before them.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.port == other.port
            && self.prefix.covers(other.prefix)
            && self.prefix.is_single() == other.prefix.is_single()
    }
}

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Range(Prefix),
    /// The machine itself.
    Machine,
    /// In the DNS, lower case and without a dot at its end.
    Name(String),
    Container(String),
    /// Every container on a Docker network.
    DockerNetwork(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    pub(crate) port: u16,
}

impl FromStr for Destination {
    /// A sentence with the next step.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, port) = text.rsplit_once(':').ok_or_else(|| form(text))?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| form(text))?;
        let place = match place.split_once(':') {
            Some(("container", name)) => Place::Container(docker_name(text, name)?),
            Some(("network", name)) => Place::DockerNetwork(docker_name(text, name)?),
            _ if place.eq_ignore_ascii_case("host") => Place::Machine,
            _ if is_name(place) => Place::Name(name(text, place)?),
            _ => Place::Range(range(place).ok_or_else(|| form(text))?),
        };
        Ok(Self { place, port })
    }
}

fn form(text: &str) -> String {
    format!(
        "'{text}' is not a destination. Write ADDRESS:PORT or ADDRESS/BITS:PORT (10.0.0.5:5432, [2001:db8::/32]:443), NAME:PORT (db.internal:5432), host:PORT for the server's machine, container:NAME:PORT or network:NAME:PORT for Docker's."
    )
}

fn range(text: &str) -> Option<Prefix> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let (address, bits) = match bracketed.unwrap_or(text).split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (bracketed.unwrap_or(text), None),
    };
    let address: IpAddr = address.parse().ok()?;
    if address.is_ipv6() != bracketed.is_some() {
        return None;
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        None => most,
    };
    let address = Prefix { address, length }.start();
    Some(Prefix { address, length })
}

/// What looks like a name: letters, and nothing that names do not have.
fn is_name(text: &str) -> bool {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes().all(ordinary) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn name(text: &str, name: &str) -> Result<String, String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") || name == MACHINE {
        return Err(format!(
            "'{text}' would be the sandbox itself, or is the name of the server's machine. Write host:PORT for the machine; functions reach it as {MACHINE}."
        ));
    }
    let whole = |label: &str| {
        (1..=LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    match name.len() <= NAME && name.split('.').all(whole) {
        true => Ok(name),
        false => Err(format!(
            "'{text}' is not the name of a host: names have at most {NAME} characters, each part of them 1 to {LABEL} and no '-' at its ends. Correct the name, or write its address: ADDRESS:PORT."
        )),
    }
}

/// As Docker takes them: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
fn docker_name(text: &str, name: &str) -> Result<String, String> {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    match begins && name.len() <= DOCKER_NAME && name.bytes().all(ordinary) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "'{text}' names no container or network that Docker could have: letters, digits, '_', '.' and '-', at most {DOCKER_NAME}. Write container:NAME:PORT or network:NAME:PORT."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse::<Destination>().unwrap().place
    }

    #[test]
    fn ranges_are_read() {
        let read = |text: &str| match text.parse::<Destination>().unwrap() {
            Destination {
                place: Place::Range(prefix),
                port,
            } => (prefix.address.to_string(), prefix.length, port),
            other => panic!("{other:?}"),
        };
        assert_eq!(read("10.0.0.5:5432"), ("10.0.0.5".into(), 32, 5432));
        assert_eq!(read("10.1.2.3/8:443"), ("10.0.0.0".into(), 8, 443));
        assert_eq!(read("[2001:db8::]:1"), ("2001:db8::".into(), 128, 1));
        assert_eq!(read("[2001:db8::/32]:1"), ("2001:db8::".into(), 32, 1));
    }

    #[test]
    fn names_are_read() {
        assert_eq!(place("host:5432"), Place::Machine);
        assert_eq!(
            place("Db.Internal.:5432"),
            Place::Name("db.internal".into())
        );
        assert_eq!(place("db:5432"), Place::Name("db".into()));
        assert_eq!(
            place("container:Pg_1:5432"),
            Place::Container("Pg_1".into())
        );
        assert_eq!(
            place("network:shop:80"),
            Place::DockerNetwork("shop".into())
        );
    }

    #[test]
    fn others_are_refused_with_the_form() {
        for text in [
            "",
            "10.0.0.5",
            "10.0.0.5:0",
            "10.0.0.5/33:1",
            "2001:db8::1:5432",
            "[10.0.0.5]:1",
            "a b:1",
            "10.0.0.5:70000",
            "10.0.0.0/8;x:1",
            "*.example.com:443",
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains("Write ADDRESS:PORT"), "{text}: {error}");
        }
        let long = format!("{}:1", "a".repeat(64));
        for text in ["a..b:1", "-a.b:1", "a-.b:1", &long] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains("at most 253"), "{text}: {error}");
        }
        for text in ["localhost:1", "x.localhost:1", "host.warren.internal:1"] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains("Write host:PORT"), "{text}: {error}");
        }
        for text in ["container::1", "container:a b:1", "network:-a:1"] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains("container:NAME:PORT"), "{text}: {error}");
        }
    }
}
