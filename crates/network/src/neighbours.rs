//! What stands next to this host: its own addresses, the networks it is on, and its gateways. They may have public addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    NetworkError,
    netlink::{Socket, attributes},
};

const RTM_GETROUTE: u16 = 26;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
/// Length of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;
/// Routes without a gateway that are wider than these are no network that the host stands on, but a tunnel that takes all traffic.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) address: IpAddr,
    /// How many bits count.
    pub(crate) length: u8,
}

impl Prefix {
    /// One address.
    pub(crate) fn single(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }

    /// Whether it is one address.
    pub(crate) fn is_single(self) -> bool {
        self == Self::single(self.address)
    }

    /// The first address of its range.
    pub(crate) fn start(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length));
                Ipv4Addr::from(u32::from(address) & mask.unwrap_or(0)).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length));
                Ipv6Addr::from(u128::from(address) & mask.unwrap_or(0)).into()
            }
        }
    }

    /// Whether all of another range is in it.
    pub(crate) fn covers(self, other: Self) -> bool {
        let widened = Self {
            length: self.length,
            ..other
        };
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.length <= other.length
            && self.start() == widened.start()
    }
}

/// The neighbourhood at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Neighbours(BTreeSet<Prefix>);

impl Neighbours {
    /// As the routes of the calling thread's namespace say.
    pub(crate) fn find() -> Result<Self, NetworkError> {
        let routes = Socket::open()?.dump("list routes", RTM_GETROUTE, &[0; RTMSG])?;
        Ok(Self::of(routes.iter().flat_map(|route| prefixes(route))))
    }

    pub(crate) fn of(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        Self(prefixes.into_iter().collect())
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.0.iter()
    }
}

/// The near prefixes that one route (`struct rtmsg`, rtnetlink(7)) speaks of.
fn prefixes(route: &[u8]) -> Vec<Prefix> {
    let (Some(fixed), Some(rest)) = (route.get(..RTMSG), route.get(RTMSG..)) else {
        return Vec::new();
    };
    let mut near = Vec::new();
    let mut destination = None;
    let mut direct = true;
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_DST => destination = address(value),
            RTA_GATEWAY => {
                direct = false;
                near.extend(address(value).map(Prefix::single));
            }
            RTA_MULTIPATH => {
                direct = false;
                near.extend(gateways(value));
            }
            _ => {}
        }
    }
    let wide = |address: &IpAddr| match address {
        IpAddr::V4(_) => fixed[1] < WIDEST_V4,
        IpAddr::V6(_) => fixed[1] < WIDEST_V6,
    };
    if let Some(address) = destination.filter(|address| direct && !wide(address)) {
        near.push(Prefix {
            address,
            length: fixed[1],
        });
    }
    near
}

/// The gateways of a route with several.
fn gateways(mut hops: &[u8]) -> Vec<Prefix> {
    let mut found = Vec::new();
    while let Some(length) = hops.get(..2) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let Some(inner) = hops.get(RTNEXTHOP..length) else {
            break;
        };
        let gateway = |(kind, value)| (kind == RTA_GATEWAY).then(|| address(value))?;
        found.extend(attributes(inner).filter_map(gateway).map(Prefix::single));
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(length: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; RTMSG];
        bytes[1] = length;
        for (kind, value) in attributes {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn networks_of_the_host_and_gateways_are_near() {
        let lan = prefixes(&route(24, &[(RTA_DST, &[203, 0, 113, 0])]));
        assert_eq!(lan.len(), 1);
        assert_eq!(
            (lan[0].length, lan[0].address.to_string()),
            (24, "203.0.113.0".into())
        );
        let default = prefixes(&route(0, &[(RTA_GATEWAY, &[203, 0, 113, 1])]));
        assert_eq!(default, [Prefix::single("203.0.113.1".parse().unwrap())]);
        let behind = prefixes(&route(
            16,
            &[
                (RTA_DST, &[198, 51, 0, 0]),
                (RTA_GATEWAY, &[203, 0, 113, 1]),
            ],
        ));
        assert_eq!(behind, [Prefix::single("203.0.113.1".parse().unwrap())]);
    }

    #[test]
    fn ranges_cover_their_parts() {
        let prefix = |address: &str, length| Prefix {
            address: address.parse().unwrap(),
            length,
        };
        assert_eq!(prefix("10.1.2.3", 8).start().to_string(), "10.0.0.0");
        assert_eq!(prefix("2001:db8::1", 0).start().to_string(), "::");
        assert!(prefix("10.0.0.0", 8).covers(prefix("10.1.2.3", 32)));
        assert!(prefix("0.0.0.0", 0).covers(prefix("10.1.2.3", 32)));
        assert!(!prefix("10.0.0.0", 8).covers(prefix("11.0.0.0", 8)));
        assert!(!prefix("10.1.2.3", 32).covers(prefix("10.0.0.0", 8)));
        assert!(!prefix("0.0.0.0", 0).covers(prefix("::", 0)));
    }

    #[test]
    fn a_tunnel_that_takes_everything_is_no_neighbour() {
        assert!(prefixes(&route(1, &[(RTA_DST, &[128, 0, 0, 0])])).is_empty());
        assert!(prefixes(&route(0, &[])).is_empty());
        assert!(prefixes(&[0; 3]).is_empty());
    }
}
