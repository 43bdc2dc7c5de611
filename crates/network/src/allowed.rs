//! All that one function is allowed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    address::MACHINE_V4,
    destination::{Destination, MACHINE, Opening, Place},
    neighbours::Prefix,
};

/// Most destinations of one function: each is an element of a set for each of its instances.
const MOST: usize = 64;
/// Top-level domains that nobody on the internet can have (RFC 2606, 6761, 6762, 8375, ICANN's `internal`, and those in wide use at home and at work).
const PRIVATE_ZONES: [&str; 9] = [
    "internal",
    "local",
    "lan",
    "home",
    "corp",
    "intranet",
    "private",
    "test",
    "home.arpa",
];

/// What is allowed, by how it is found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Without overlaps, which a set does not take; the machine's ports among them.
    pub(crate) openings: Vec<Opening>,
    /// Ports of the machine itself.
    pub(crate) machine: BTreeSet<u16>,
    /// By names, lower case.
    names: BTreeMap<String, Named>,
    /// Docker networks, each with ports.
    networks: BTreeMap<String, BTreeSet<u16>>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) source: Source,
    pub(crate) ports: BTreeSet<u16>,
}

/// Who knows the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The server's machine.
    Machine,
    /// A name server; for a name that only the owner's own can know.
    PrivateName,
    /// A name server; for a name that anybody may have.
    PublicName,
    /// The container of this name, with its letters as they are.
    Container(String),
    /// A container on one of these Docker networks, by its name or an alias.
    Networks(Vec<String>),
}

impl Allowed {
    /// The first destination that is out of order is refused with a sentence.
    pub(crate) fn read(texts: &[String]) -> Result<Self, String> {
        if texts.len() > MOST {
            return Err(format!(
                "{} destinations are allowed, and one function may have {MOST}. Name ranges (ADDRESS/BITS:PORT) in place of single addresses.",
                texts.len()
            ));
        }
        let mut all = Self::default();
        for text in texts {
            let Destination { place, port } = text.parse()?;
            match place {
                Place::Range(written) => {
                    let prefix = Prefix {
                        address: written.start(),
                        length: written.length,
                    };
                    all.open(Opening { prefix, port });
                }
                Place::Machine => {
                    all.machine.insert(port);
                    all.name(MACHINE, Source::Machine, port);
                    all.open(Opening {
                        prefix: Prefix::single(MACHINE_V4.into()),
                        port,
                    });
                }
                Place::Name(name) => {
                    let source = match is_private(&name) {
                        true => Source::PrivateName,
                        false => Source::PublicName,
                    };
                    all.name(&name, source, port);
                }
                Place::Container(name) => {
                    let label = name.to_ascii_lowercase();
                    all.name(&label, Source::Container(name), port);
                }
                Place::DockerNetwork(name) => {
                    all.networks.entry(name).or_default().insert(port);
                }
            }
        }
        Ok(all)
    }

    /// What a name stands for, if it is allowed; any single label may be on an allowed network.
    pub(crate) fn find(&self, name: &str) -> Option<Named> {
        if let Some(named) = self.names.get(name) {
            return Some(named.clone());
        }
        if self.networks.is_empty() || name == MACHINE {
            return None;
        }
        Some(Named {
            source: Source::Networks(self.networks.keys().cloned().collect()),
            ports: BTreeSet::new(),
        })
    }

    /// Ports that are open on every container of a network.
    pub(crate) fn ports_of_network(&self, name: &str) -> BTreeSet<u16> {
        self.networks.get(name).cloned().unwrap_or_default()
    }

    fn open(&mut self, new: Opening) {
        if !self.openings.iter().any(|known| known.covers(&new)) {
            self.openings.retain(|known| !new.covers(known));
            self.openings.push(new);
        }
    }

    /// A container and a host of the same name: the container, which the owner named more exactly.
    fn name(&mut self, name: &str, source: Source, port: u16) {
        let known = self.names.entry(name.to_owned()).or_insert_with(|| Named {
            source: source.clone(),
            ports: BTreeSet::new(),
        });
        if matches!(source, Source::Container(_)) {
            known.source = source;
        }
        known.ports.insert(port);
    }
}

/// Whether a name is the owner's own: a single label, or in a zone that nobody on the internet can have.
fn is_private(name: &str) -> bool {
    let within = |zone: &&str| {
        name.strip_suffix(*zone)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') || PRIVATE_ZONES.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Allowed {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        Allowed::read(&texts).unwrap()
    }

    #[test]
    fn the_widest_of_overlapping_ones_stays() {
        let found = read(&[
            "10.0.5.0/24:1",
            "10.0.0.0/8:1",
            "10.0.6.0/24:1",
            "10.0.6.0/24:2",
            "10.0.0.6:1",
            "10.0.0.6:1",
        ])
        .openings;
        let ports: Vec<_> = found
            .iter()
            .map(|one| (one.prefix.length, one.port))
            .collect();
        // Single addresses are in a set of their own.
        assert_eq!(ports, [(8, 1), (24, 2), (32, 1)]);
    }

    #[test]
    fn only_what_was_named_is_found() {
        let all = read(&[
            "db.internal:1",
            "db.internal:2",
            "example.com:3",
            "container:Pg:4",
        ]);
        let found = all.find("db.internal").unwrap();
        assert_eq!(found.source, Source::PrivateName);
        assert_eq!(found.ports, BTreeSet::from([1, 2]));
        assert_eq!(all.find("example.com").unwrap().source, Source::PublicName);
        assert_eq!(
            all.find("pg").unwrap().source,
            Source::Container("Pg".into())
        );
        for other in ["x.db.internal", "internal", "com", MACHINE, ""] {
            assert_eq!(all.find(other), None, "{other}");
        }
        let machine = read(&["host:5432"]);
        assert_eq!(machine.find(MACHINE).unwrap().source, Source::Machine);
        assert_eq!(machine.openings[0].prefix.address, MACHINE_V4);
        assert!(read(&["network:shop:80"]).find("db").is_some());
    }

    #[test]
    fn own_names_are_told_from_those_of_others() {
        for name in ["db", "db.internal", "a.b.home.arpa", "nas.lan"] {
            assert!(is_private(name), "{name}");
        }
        for name in ["example.com", "notinternal.com", "x.arpa", "xlan.net"] {
            assert!(!is_private(name), "{name}");
        }
    }

    #[test]
    fn their_number_is_limited() {
        let many: Vec<_> = (1..=65).map(|port| format!("10.0.0.1:{port}")).collect();
        assert!(Allowed::read(&many).unwrap_err().contains("may have 64"));
    }
}
