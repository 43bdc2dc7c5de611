//! DNS messages (RFC 1035): questions of sandboxes, which are hostile, and answers of name servers, which may be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question as Asked, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, OPT, RData},
};

/// Addresses of an answer; more are left out, so that it fits into the 512 bytes that every client takes (RFC 1035, 4.2.1).
pub(crate) const ADDRESSES: usize = 12;
/// Largest answer that a name server is told to send (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// Aliases that are followed.
const ALIASES: usize = 16;

/// What is asked about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    V4,
    V6,
    /// Nothing that is answered here.
    Other,
}

impl Kind {
    fn record(self) -> Option<TYPE> {
        match self {
            Self::V4 => Some(TYPE::A),
            Self::V6 => Some(TYPE::AAAA),
            Self::Other => None,
        }
    }

    pub(crate) fn fits(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Other => false,
        }
    }
}

/// A question of a sandbox.
pub(crate) struct Question<'a> {
    packet: Packet<'a>,
    /// Lower case, without a dot at its end.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl<'a> Question<'a> {
    /// None for what is no question, or several.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let packet = Packet::parse(bytes).ok()?;
        let [asked] = packet.questions.as_slice() else {
            return None;
        };
        if packet.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        let kind = match (asked.qclass, asked.qtype) {
            (QCLASS::CLASS(CLASS::IN), QTYPE::TYPE(TYPE::A)) => Kind::V4,
            (QCLASS::CLASS(CLASS::IN), QTYPE::TYPE(TYPE::AAAA)) => Kind::V6,
            _ => Kind::Other,
        };
        let name = asked.qname.to_string().to_ascii_lowercase();
        Some(Self { packet, name, kind })
    }

    /// The answer in bytes.
    pub(crate) fn answer(self, outcome: &Outcome) -> Option<Vec<u8>> {
        let recursive = self.packet.has_flags(PacketFlag::RECURSION_DESIRED);
        let extended = self.packet.opt().is_some();
        let mut reply = Packet::new_reply(self.packet.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if recursive {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        if extended {
            *reply.opt_mut() = Some(options());
        }
        let asked = self.packet.questions.into_iter().next()?;
        let (code, addresses, ttl) = match outcome {
            Outcome::Found { addresses, ttl } => (RCODE::NoError, addresses.as_slice(), *ttl),
            Outcome::Unknown => (RCODE::NameError, [].as_slice(), 0),
            Outcome::Failed => (RCODE::ServerFailure, [].as_slice(), 0),
        };
        *reply.rcode_mut() = code;
        for address in addresses.iter().take(ADDRESSES) {
            let data = match address {
                IpAddr::V4(address) => RData::A(A::from(*address)),
                IpAddr::V6(address) => RData::AAAA(AAAA::from(*address)),
            };
            let record = ResourceRecord::new(asked.qname.clone(), CLASS::IN, ttl, data);
            reply.answers.push(record);
        }
        reply.questions.push(asked);
        reply.build_bytes_vec_compressed().ok()
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// None of this kind, maybe.
    Found {
        addresses: Vec<IpAddr>,
        /// In seconds.
        ttl: u32,
    },
    /// There is no such name, for this sandbox.
    Unknown,
    /// It could not be found out.
    Failed,
}

impl Outcome {
    pub(crate) fn nothing() -> Self {
        Self::Found {
            addresses: Vec::new(),
            ttl: 0,
        }
    }
}

fn options<'a>() -> OPT<'a> {
    OPT {
        opt_codes: Vec::new(),
        udp_packet_size: PAYLOAD,
        version: 0,
    }
}

/// A question of ours to a name server.
pub(crate) fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    *packet.opt_mut() = Some(options());
    let record = QTYPE::TYPE(kind.record()?);
    packet.questions.push(Asked::new(
        Name::new(name).ok()?,
        record,
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

/// What a name server says to it: the addresses of the name and of its aliases, with the shortest time to live among them.
pub(crate) fn outcome(bytes: &[u8], name: &str, kind: Kind) -> Outcome {
    let (Ok(packet), Some(record)) = (Packet::parse(bytes), kind.record()) else {
        return Outcome::Failed;
    };
    let (Ok(name), [asked]) = (Name::new(name), packet.questions.as_slice()) else {
        return Outcome::Failed;
    };
    if asked.qname != name || asked.qtype != QTYPE::TYPE(record) {
        return Outcome::Failed;
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Outcome::Unknown,
        _ => return Outcome::Failed,
    }
    let (mut current, mut shortest) = (name, u32::MAX);
    for _ in 0..ALIASES {
        let alias = packet.answers.iter().find_map(|found| match &found.rdata {
            RData::CNAME(to) if found.name == current => Some((to.0.clone(), found.ttl)),
            _ => None,
        });
        let Some((to, ttl)) = alias else { break };
        shortest = shortest.min(ttl);
        current = to;
    }
    let mut addresses = Vec::new();
    for found in packet.answers.iter().filter(|found| found.name == current) {
        let address: IpAddr = match &found.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).into(),
            RData::AAAA(a) => Ipv6Addr::from(a.address).into(),
            _ => continue,
        };
        if kind.fits(&address) && addresses.len() < ADDRESSES {
            shortest = shortest.min(found.ttl);
            addresses.push(address);
        }
    }
    if addresses.is_empty() && packet.has_flags(PacketFlag::TRUNCATION) {
        return Outcome::Failed;
    }
    Outcome::Found {
        ttl: if addresses.is_empty() { 0 } else { shortest },
        addresses,
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::CNAME;

    use super::*;

    fn answered(records: &[(&str, u32, RData<'static>)]) -> Vec<u8> {
        let question = query(7, "db.internal", Kind::V4).unwrap();
        let mut packet = Packet::parse(&question).unwrap().into_reply();
        for (name, ttl, data) in records {
            let name = Name::new(name).unwrap().into_owned();
            packet
                .answers
                .push(ResourceRecord::new(name, CLASS::IN, *ttl, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(A::from(Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn aliases_are_followed_and_strangers_left_out() {
        let alias = RData::CNAME(CNAME(Name::new("real.internal").unwrap()));
        let bytes = answered(&[
            ("stranger.internal", 1, a(9)),
            ("db.internal", 30, alias),
            ("real.internal", 60, a(5)),
            ("real.internal", 60, a(6)),
        ]);
        let expected = Outcome::Found {
            addresses: vec![[10, 0, 0, 5].into(), [10, 0, 0, 6].into()],
            ttl: 30,
        };
        assert_eq!(outcome(&bytes, "db.internal", Kind::V4), expected);
        assert_eq!(outcome(&bytes, "other", Kind::V4), Outcome::Failed);
        assert_eq!(outcome(&bytes, "db.internal", Kind::V6), Outcome::Failed);
    }

    #[test]
    fn aliases_in_a_circle_end() {
        let alias = RData::CNAME(CNAME(Name::new("db.internal").unwrap()));
        let bytes = answered(&[("db.internal", 1, alias)]);
        assert_eq!(outcome(&bytes, "db.internal", Kind::V4), Outcome::nothing());
    }

    #[test]
    fn a_full_answer_fits_every_client() {
        let name = format!("{}.internal", "a".repeat(63));
        let bytes = query(3, &name, Kind::V6).unwrap();
        let question = Question::read(&bytes).unwrap();
        assert_eq!(
            (question.name.as_str(), question.kind),
            (name.as_str(), Kind::V6)
        );
        let addresses = vec![IpAddr::from(Ipv6Addr::LOCALHOST); 40];
        let found = Outcome::Found { addresses, ttl: 5 };
        let reply = question.answer(&found).unwrap();
        assert!(reply.len() <= 512, "{}", reply.len());
        let read = outcome(&reply, &name, Kind::V6);
        assert!(
            matches!(read, Outcome::Found { addresses, ttl: 5 } if addresses.len() == ADDRESSES)
        );
    }

    #[test]
    fn garbage_is_no_question() {
        for bytes in [&[][..], &[0; 11], &[0xff; 64], &answered(&[])] {
            assert!(Question::read(bytes).is_none());
        }
    }
}
