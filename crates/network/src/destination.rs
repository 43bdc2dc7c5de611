//! One thing that an owner allows: `ADDRESS:PORT`, `ADDRESS/BITS:PORT`, `NAME:PORT`, `host:PORT`, `container:NAME:PORT` or `network:NAME:PORT`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    address::{GATEWAY_V4, MACHINE_V4},
    neighbours::Prefix,
};

/// The machine itself as functions name it.
pub(crate) const MACHINE: &str = "host.warren.internal";
/// Lengths of a name and of each of its labels (RFC 1035, 2.3.4).
const NAME: usize = 253;
const LABEL: usize = 63;
/// Of a container or a Docker network: it becomes one label, or several.
const DOCKER_NAME: usize = 128;

/// What functions see as themselves, or as their link and what is at its other end.
const OWN: [(IpAddr, u8); 6] = [
    (IpAddr::V4(Ipv4Addr::new(0, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(GATEWAY_V4), 32),
    (IpAddr::V4(MACHINE_V4), 32),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
];
/// Where no host is.
const NOWHERE: [(IpAddr, u8); 4] = [
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 3),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];
/// What no range opens, and a single address only if it is named (`rules.rs`).
const METADATA: [(IpAddr, u8); 1] = [(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16)];
/// Under which clouds' machines find it (Google, Amazon).
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
    "instance-data.ec2.internal",
];

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
    /// As it is written: behind its length it may have bits.
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
        if let Some((scheme, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or(rest);
            return Err(format!(
                "'{text}' is a URL; a destination has no {scheme}:// and no path. Write {}.",
                match host.contains(':') {
                    true => host.to_owned(),
                    false => format!("{host}:443"),
                }
            ));
        }
        let (place, port) = text.rsplit_once(':').ok_or_else(|| no_port(text))?;
        // The last part of an address that should stand in brackets is no port.
        let bare = match (place.parse::<Ipv6Addr>(), text.parse::<Ipv6Addr>()) {
            (Ok(address), _) => Some(format!("[{address}]:{port}")),
            (_, Ok(address)) => Some(format!("[{address}]:PORT, such as [{address}]:5432")),
            _ => None,
        };
        if let Some(example) = bare {
            return Err(format!(
                "'{text}' is not a destination: an IPv6 address stands in brackets before its port. Write {example}."
            ));
        }
        if ["container", "network"].contains(&place) && port.parse::<u16>().is_err() {
            return Err(format!(
                "'{text}' has no port. Write {text}:PORT, such as {text}:5432."
            ));
        }
        let port = match port.parse() {
            Ok(0) | Err(_) if place.is_empty() => return Err(form(text)),
            Ok(0) | Err(_) => {
                return Err(format!(
                    "'{text}': '{port}' is not a port. Write a number from 1 to 65535 behind the last ':', such as {place}:5432."
                ));
            }
            Ok(port) => port,
        };
        let place = match place.split_once(':') {
            Some(("container", name)) => Place::Container(docker_name(text, name)?),
            Some(("network", name)) => Place::DockerNetwork(docker_name(text, name)?),
            _ if place.eq_ignore_ascii_case("host") => Place::Machine,
            _ if place.contains('*') => {
                return Err(format!(
                    "'{text}': there are no wildcards. Write each name by itself, such as {}:{port}.",
                    place.replace('*', "www")
                ));
            }
            _ if is_name(place) => Place::Name(name(text, place)?),
            _ => Place::Range(range(text, place)?),
        };
        Ok(Self { place, port })
    }
}

/// Whether a destination can be meant, and can ever be reached; otherwise a sentence with the next step. Those of functions that are there already
/// are only read.
pub fn check(text: &str) -> Result<(), String> {
    let Destination { place, port } = text.parse()?;
    match place {
        Place::Range(prefix) => check_range(text, prefix, port),
        Place::Name(name) if METADATA_NAMES.contains(&name.as_str()) => Err(format!(
            "'{text}' is the name of a metadata address, to which no name leads: it hands out the machine's own credentials. Leave it out, or write the address if that is meant: 169.254.169.254:{port}."
        )),
        Place::Name(_) | Place::Machine | Place::Container(_) | Place::DockerNetwork(_) => Ok(()),
    }
}

fn check_range(text: &str, written: Prefix, port: u16) -> Result<(), String> {
    let start = written.start();
    if written.address != start {
        let (range, one) = match start {
            IpAddr::V4(_) => (
                format!("{start}/{}:{port}", written.length),
                format!("{}:{port}", written.address),
            ),
            IpAddr::V6(_) => (
                format!("[{start}/{}]:{port}", written.length),
                format!("[{}]:{port}", written.address),
            ),
        };
        return Err(format!(
            "'{text}' names one address and a whole range. Write {one} for the address, or {range} for all of the range."
        ));
    }
    let within = |(address, length): &(IpAddr, u8)| {
        let prefix = Prefix {
            address: *address,
            length: *length,
        };
        prefix.covers(written)
    };
    if OWN.iter().any(within) {
        return Err(format!(
            "'{text}' would be the sandbox itself or its link, not the server's machine. Write host:{port} for the machine; functions reach it as {MACHINE}."
        ));
    }
    if NOWHERE.iter().any(within) {
        return Err(format!(
            "'{text}' is no address of one host (a multicast, reserved, IPv6 link-local or IPv4-in-IPv6 one), and nothing is reached there. Write the address or the name of the service: 10.0.0.5:{port}, db.internal:{port}."
        ));
    }
    if !written.is_single() && METADATA.iter().any(within) {
        return Err(format!(
            "'{text}' is a range of link-local or metadata addresses, which no range opens: they hand out the machine's own credentials. Leave it out, or name the single address if that is meant: 169.254.169.254:{port}."
        ));
    }
    Ok(())
}

fn no_port(text: &str) -> String {
    match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => form(text),
        false => format!("'{text}' has no port. Write {text}:PORT, such as {text}:5432."),
    }
}

fn form(text: &str) -> String {
    format!(
        "'{text}' is not a destination. Write ADDRESS:PORT or ADDRESS/BITS:PORT (10.0.0.5:5432, [2001:db8::/32]:443), NAME:PORT (db.internal:5432), host:PORT for the server's machine, container:NAME:PORT or network:NAME:PORT for Docker's."
    )
}

/// As it is written; the range begins at its [`start`](Prefix::start).
fn range(whole: &str, text: &str) -> Result<Prefix, String> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let (address, bits) = match bracketed.unwrap_or(text).split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (bracketed.unwrap_or(text), None),
    };
    let address: IpAddr = address.parse().map_err(|_| form(whole))?;
    if address.is_ipv6() != bracketed.is_some() {
        return Err(form(whole));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match bits {
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or_else(|| {
                format!(
                    "'{whole}': '/{bits}' is not the length of a range here. Write 0 to {most}, as in {}.",
                    match address {
                        IpAddr::V4(_) => "10.0.0.0/8:5432",
                        IpAddr::V6(_) => "[2001:db8::/32]:5432",
                    }
                )
            })?,
        None => most,
    };
    Ok(Prefix { address, length })
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
        assert_eq!(read("10.0.0.0/8:443"), ("10.0.0.0".into(), 8, 443));
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
    fn what_can_t_be_read_is_refused_with_what_is_wrong_and_an_example() {
        for (text, words) in [
            ("", "Write ADDRESS:PORT"),
            ("a b:1", "Write ADDRESS:PORT"),
            (":5432", "Write ADDRESS:PORT"),
            ("10.0.0.0/8;x:1", "Write 0 to 32"),
            ("[10.0.0.5]:1", "Write ADDRESS:PORT"),
            ("10.0.0.5", "has no port. Write 10.0.0.5:PORT"),
            ("db.internal", "such as db.internal:5432"),
            ("container:pg", "Write container:pg:PORT"),
            ("10.0.0.5:0", "'0' is not a port"),
            (
                "10.0.0.5:70000",
                "'70000' is not a port. Write a number from 1 to 65535",
            ),
            ("db.internal:https", "'https' is not a port"),
            (
                "10.0.0.5/33:1",
                "'/33' is not the length of a range here. Write 0 to 32",
            ),
            ("[2001:db8::/129]:1", "Write 0 to 128"),
            ("2001:db8::1:5432", "Write [2001:db8::1]:5432."),
            ("2001:db8::1", "Write [2001:db8::1]:PORT"),
            ("*.example.com:443", "no wildcards"),
            ("https://example.com/x", "Write example.com:443."),
            ("http://example.com:8080", "Write example.com:8080."),
            ("a..b:1", "at most 253"),
            ("-a.b:1", "at most 253"),
            ("a-.b:1", "at most 253"),
            ("localhost:1", "Write host:PORT"),
            ("x.localhost:1", "Write host:PORT"),
            ("host.warren.internal:1", "Write host:PORT"),
            ("container::1", "Write container:NAME:PORT"),
            ("container:a b:1", "Write container:NAME:PORT"),
            ("network:-a:1", "Write container:NAME:PORT"),
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains(&format!("'{text}'")), "{text}: {error}");
            assert_eq!(check(text), Err(error));
        }
        let long = format!("{}:1", "a".repeat(64));
        assert!(check(&long).unwrap_err().contains("at most 253"));
    }

    #[test]
    fn what_is_never_reached_or_not_meant_is_refused_at_deploy() {
        for (text, words) in [
            (
                "10.0.0.5/8:5432",
                "Write 10.0.0.5:5432 for the address, or 10.0.0.0/8:5432",
            ),
            (
                "[2001:db8::1/32]:1",
                "Write [2001:db8::1]:1 for the address, or [2001:db8::/32]:1",
            ),
            ("127.0.0.1:5432", "Write host:5432 for the machine"),
            ("127.0.0.0/8:5432", "Write host:5432"),
            ("0.0.0.0:80", "Write host:80"),
            ("[::1]:5432", "Write host:5432"),
            ("169.254.1.2:80", "Write host:80"),
            ("224.0.0.251:5353", "nothing is reached there"),
            ("[fe80::1]:80", "nothing is reached there"),
            ("[::ffff:10.0.0.5]:80", "nothing is reached there"),
            ("169.254.0.0/16:80", "which no range opens"),
            ("metadata.google.internal:80", "to which no name leads"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains(&format!("'{text}'")), "{text}: {error}");
            // Functions that have it go on.
            assert!(text.parse::<Destination>().is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0/0:443",
            "[::/0]:443",
            "10.0.0.0/8:1",
            "168.0.0.0/8:1",
            "169.254.169.254:80",
            "[fd00:ec2::254]:80",
            "host:1",
            "metadata.example.com:80",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
