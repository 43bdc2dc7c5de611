//! Which addresses sandboxes have. They mean something inside the router namespace only.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::NetworkError;

/// Sandboxes with the policy `internet`, as nftables writes it. The rules tell policies by these.
pub(crate) const INTERNET_V4: &str = "100.96.0.0/16";
/// The same in IPv6.
pub(crate) const INTERNET_V6: &str = "fd63:6172:7265::/112";
/// Sandboxes with the policy `allow`.
pub(crate) const ALLOW_V4: &str = "100.98.0.0/16";
/// The same in IPv6.
pub(crate) const ALLOW_V6: &str = "fd63:6172:7265:2::/112";
/// The router as sandboxes see it: their gateway and their resolver.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The machine itself, for sandboxes that may reach it.
pub(crate) const MACHINE_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);
/// Their gateway in IPv6.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The router's own end of the uplink, and the other.
pub(crate) const UPLINK_V4: &str = "100.97.0.2";
pub(crate) const UPLINK_GATEWAY_V4: &str = "100.97.0.1";
pub(crate) const UPLINK_V6: &str = "fd63:6172:7265:1::2";
pub(crate) const UPLINK_GATEWAY_V6: &str = "fe80::1";

/// Second byte of their IPv4 addresses, by policy.
const INTERNET: u8 = 96;
const ALLOW: u8 = 98;

/// Most sandboxes at one time: all numbers of a /16 but the first and the last.
const LAST: u16 = u16::MAX - 1;
/// Interface numbers of sandboxes begin here, clear of what the kernel gives.
const FIRST_INDEX: u32 = 1000;

/// By which rules a sandbox is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Internet,
    Allow,
}

/// The rules of the sandbox that has this address; none if none can have it.
pub(crate) fn policy_of(address: IpAddr) -> Option<Policy> {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [100, INTERNET, ..] => Some(Policy::Internet),
            [100, ALLOW, ..] => Some(Policy::Allow),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// A sandbox's number and kind: its link, addresses and hardware addresses follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u16, Policy);

impl Slot {
    /// Name of the outer end of its link.
    pub(crate) fn link(self) -> String {
        format!("s{}", self.0)
    }

    /// Interface number of the outer end.
    pub(crate) fn index(self) -> u32 {
        FIRST_INDEX + u32::from(self.0)
    }

    /// Its IPv4 address.
    pub(crate) fn v4(self) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        let net = match self.1 {
            Policy::Internet => INTERNET,
            Policy::Allow => ALLOW,
        };
        Ipv4Addr::new(100, net, high, low)
    }

    /// Its IPv6 address.
    pub(crate) fn v6(self) -> Ipv6Addr {
        let net = match self.1 {
            Policy::Internet => 0,
            Policy::Allow => 2,
        };
        Ipv6Addr::new(0xfd63, 0x6172, 0x7265, net, 0, 0, 0, self.0)
    }

    /// The IPv4 address of the sandbox that has this one; none if none can have it.
    pub(crate) fn v4_of(address: Ipv6Addr) -> Option<Ipv4Addr> {
        let [a, b, c, net, 0, 0, 0, number] = address.segments() else {
            return None;
        };
        let policy = match ([a, b, c], net) {
            ([0xfd63, 0x6172, 0x7265], 0) => Policy::Internet,
            ([0xfd63, 0x6172, 0x7265], 2) => Policy::Allow,
            _ => return None,
        };
        Some(Self(number, policy).v4())
    }

    /// Hardware address of the inner end; the outer one's has another middle.
    pub(crate) fn inner_mac(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x02, 0x57, 0, 0, high, low]
    }

    /// Hardware address of the outer end.
    pub(crate) fn outer_mac(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x02, 0x57, 0, 1, high, low]
    }
}

/// Slots that are taken. A free one is given again only after all others, so that no connection outlives its sandbox into the next one.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: BTreeSet<u16>,
    latest: u16,
}

impl Slots {
    pub(crate) fn take(&mut self, kind: Policy) -> Result<Slot, NetworkError> {
        for _ in 0..LAST {
            self.latest = self.latest % LAST + 1;
            if self.taken.insert(self.latest) {
                return Ok(Slot(self.latest, kind));
            }
        }
        Err(NetworkError::Full)
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.taken.remove(&slot.0);
    }

    /// How many are taken, and the number of the one that was given last.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, u16) {
        (self.taken.len(), self.latest)
    }

    /// Has the first slot given next, as after all others.
    #[cfg(test)]
    pub(crate) fn wrap(&mut self) {
        self.latest = LAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_last() {
        let mut slots = Slots::default();
        let first = slots.take(Policy::Internet).unwrap();
        assert_eq!(first.v4(), Ipv4Addr::new(100, 96, 0, 1));
        assert_eq!(first.v6(), "fd63:6172:7265::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(Slot::v4_of(first.v6()), Some(first.v4()));
        slots.give_back(first);
        let second = slots.take(Policy::Allow).unwrap();
        assert_eq!(second.v4(), Ipv4Addr::new(100, 98, 0, 2));
        assert_eq!(Slot::v4_of(second.v6()), Some(second.v4()));
        assert_eq!(Slot::v4_of(Ipv6Addr::LOCALHOST), None);
        for _ in 2..LAST {
            slots.take(Policy::Internet).unwrap();
        }
        assert_eq!(slots.take(Policy::Internet).unwrap(), first);
        assert_eq!(policy_of(second.v4().into()), Some(Policy::Allow));
        assert_eq!(policy_of(Ipv4Addr::new(100, 97, 0, 1).into()), None);
        assert!(matches!(slots.take(Policy::Allow), Err(NetworkError::Full)));
    }
}
