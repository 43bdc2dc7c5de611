//! What an owner allows: `ADDRESS:PORT`, `ADDRESS/BITS:PORT`, IPv6 in brackets.

use std::{net::IpAddr, str::FromStr};

use crate::neighbours::Prefix;

/// Addresses and one port, over TCP and UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) prefix: Prefix,
    pub(crate) port: u16,
}

impl Destination {
    fn covers(&self, other: &Self) -> bool {
        self.port == other.port && self.prefix.covers(other.prefix)
    }
}

/// All of these without overlaps, which a set does not take; the first that is out of order is refused with a sentence.
pub(crate) fn all(texts: &[String]) -> Result<Vec<Destination>, String> {
    let mut found: Vec<Destination> = Vec::new();
    for text in texts {
        let new: Destination = text.parse()?;
        if !found.iter().any(|known| known.covers(&new)) {
            found.retain(|known| !new.covers(known));
            found.push(new);
        }
    }
    Ok(found)
}

impl FromStr for Destination {
    /// A sentence with the next step.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "'{text}' is not a destination. Write ADDRESS:PORT or ADDRESS/BITS:PORT, such as 10.0.0.5:5432, 10.0.0.0/8:443 or [2001:db8::/32]:443."
            )
        };
        let (place, port) = text.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(form)?;
        let bracketed = place
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let (address, bits) = match bracketed.unwrap_or(place).split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (bracketed.unwrap_or(place), None),
        };
        let address: IpAddr = match address.parse() {
            Ok(address) => address,
            // A host's name has letters, and no brackets.
            Err(_) if bracketed.is_none() && bits.is_none() && is_name(address) => {
                return Err(format!(
                    "'{text}' names a host, and only addresses can be allowed so far. Write ADDRESS:PORT or ADDRESS/BITS:PORT."
                ));
            }
            Err(_) => return Err(form()),
        };
        if address.is_ipv6() != bracketed.is_some() {
            return Err(form());
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
            None => Some(most),
        };
        let length = length.ok_or_else(form)?;
        let prefix = Prefix { address, length };
        Ok(Self {
            prefix: Prefix {
                address: prefix.start(),
                length,
            },
            port,
        })
    }
}

fn is_name(text: &str) -> bool {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(ordinary) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        let read = |text: &str| {
            let found: Destination = text.parse().unwrap();
            (
                found.prefix.address.to_string(),
                found.prefix.length,
                found.port,
            )
        };
        assert_eq!(read("10.0.0.5:5432"), ("10.0.0.5".into(), 32, 5432));
        assert_eq!(read("10.0.0.0/8:443"), ("10.0.0.0".into(), 8, 443));
        assert_eq!(read("[2001:db8::]:1"), ("2001:db8::".into(), 128, 1));
        assert_eq!(read("[2001:db8::/32]:1"), ("2001:db8::".into(), 32, 1));
    }

    #[test]
    fn the_widest_of_overlapping_ones_stays() {
        let texts = ["10.0.0.5:1", "10.0.0.0/8:1", "10.0.0.6:1", "10.0.0.6:2"];
        let found = all(&texts.map(str::to_owned)).unwrap();
        let ports: Vec<_> = found
            .iter()
            .map(|one| (one.prefix.length, one.port))
            .collect();
        assert_eq!(ports, [(8, 1), (32, 2)]);
        assert!(all(&["db:1".to_owned()]).is_err());
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
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains("Write ADDRESS:PORT"), "{text}: {error}");
        }
        let name = "db.internal:5432".parse::<Destination>().unwrap_err();
        assert!(name.contains("names a host"), "{name}");
    }
}
