//! What policies refused, for the owners of the functions: the rules note the destinations of what they refuse in sets that forget, these are read every
//! few seconds, and each destination is told once for each sandbox. Nothing is noted of what is let through.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard},
};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use warren_model::NetworkPolicy;

use crate::{
    address::{GATEWAY_V4, MACHINE_V4, Slot, policy_of},
    destination::MACHINE,
    link::has_ipv6,
};

/// Destinations of one sandbox that are told; then only that there were more.
const MOST: usize = 16;

/// What a sandbox asked for and its policy refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refused {
    /// A connection, or a datagram.
    Destination(Protocol, SocketAddr),
    /// The addresses of a name, lower case.
    Name(String),
    /// More than is told of one sandbox.
    More,
}

/// How a destination was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl Refused {
    /// For the function's log: what was refused by which policy, and what would allow it.
    pub fn explain(&self, policy: &NetworkPolicy) -> String {
        let policy = match policy {
            NetworkPolicy::None => "none",
            NetworkPolicy::Internet => "internet",
            NetworkPolicy::Allow(_) => "allow",
        };
        let beside = match policy {
            "allow" => "beside those that the function has: `--allow` replaces them all",
            _ => "and all else that it needs: `--allow` replaces this policy",
        };
        match self {
            Self::More => format!(
                "The network policy '{policy}' refused more; of one instance the first {MOST} are told."
            ),
            Self::Name(name) if name == MACHINE => format!(
                "The network policy '{policy}' did not answer the name {name}. To allow a port of the server's machine: --allow host:PORT, {beside}."
            ),
            // Whatever letters it was asked with, it is one line.
            Self::Name(name) => {
                let name = name.escape_default();
                format!(
                    "The network policy '{policy}' did not answer the name {name}. To allow it: --allow {name}:PORT, {beside}."
                )
            }
            Self::Destination(protocol, to) => format!(
                "The network policy '{policy}' refused {to} ({protocol}). {}.",
                advice(*to, beside)
            ),
        }
    }
}

fn advice(to: SocketAddr, beside: &str) -> String {
    let port = to.port();
    let ip = to.ip();
    if ip == IpAddr::from(MACHINE_V4) {
        return format!(
            "To allow that port of the server's machine: --allow host:{port}, {beside}"
        );
    }
    if ip == IpAddr::from(GATEWAY_V4) {
        return "That address answers questions for names and nothing else".to_owned();
    }
    if policy_of(ip).is_some() || is_sandbox_v6(ip) {
        return "It is another function's instance, which no policy opens: call that function by its route or its name"
            .to_owned();
    }
    let warned = match is_metadata(ip) {
        true => " (a metadata address: it may hand out the machine's own credentials)",
        false => "",
    };
    format!(
        "To allow it: --allow {to}{warned}, {beside}. The server's own machine is --allow host:{port}, which functions reach as {MACHINE}"
    )
}

/// Addresses of sandboxes begin so (`address.rs`).
fn is_sandbox_v6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[..3] == [0xfd63, 0x6172, 0x7265])
}

/// Where clouds hand out credentials.
fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.octets() == [168, 63, 129, 16],
        IpAddr::V6(ip) => ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// Who is told of whose refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    listeners: Mutex<HashMap<IpAddr, Listener>>,
}

#[derive(Debug)]
struct Listener {
    tell: UnboundedSender<Refused>,
    told: HashSet<Refused>,
    /// Its sandbox is gone; what was noted before is told still.
    leaving: bool,
}

impl Refusals {
    /// Tells of this sandbox from now on.
    pub(crate) fn listen(&self, slot: Slot, tell: UnboundedSender<Refused>) {
        let listener = Listener {
            tell,
            told: HashSet::new(),
            leaving: false,
        };
        self.listeners().insert(slot.v4().into(), listener);
    }

    /// Ends with the next look. Its address is not another's before all others were.
    pub(crate) fn leave(&self, slot: Slot) {
        if let Some(listener) = self.listeners().get_mut(&IpAddr::from(slot.v4())) {
            listener.leaving = true;
        }
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners().is_empty()
    }

    /// Tells of one thing, once.
    pub(crate) fn tell(&self, sandbox: IpAddr, refused: Refused) {
        if let Some(listener) = self.listeners().get_mut(&sandbox) {
            listener.hear(refused);
        }
    }

    /// Tells of what the sets hold now.
    pub(crate) fn tell_all(&self, noted: Vec<(IpAddr, Refused)>) {
        for (sandbox, refused) in noted {
            self.tell(sandbox, refused);
        }
    }

    /// Those whose sandbox was gone before the last look.
    pub(crate) fn leaving(&self) -> Vec<IpAddr> {
        let listeners = self.listeners();
        let leaving = listeners.iter().filter(|(_, one)| one.leaving);
        leaving.map(|(address, _)| *address).collect()
    }

    /// Forgets these.
    pub(crate) fn forget(&self, gone: &[IpAddr]) {
        self.listeners()
            .retain(|address, _| !gone.contains(address));
    }

    fn listeners(&self) -> MutexGuard<'_, HashMap<IpAddr, Listener>> {
        self.listeners.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Listener {
    fn hear(&mut self, refused: Refused) {
        let refused = match self.told.len() {
            0..MOST => refused,
            MOST if !self.told.contains(&refused) => Refused::More,
            _ => return,
        };
        if self.told.insert(refused.clone()) {
            // Its instance may be gone.
            let _ = self.tell.send(refused);
        }
    }
}

/// The sets in which the rules note what they refuse: of IPv4, and of IPv6 where this kernel has it.
pub(crate) fn sets() -> &'static [&'static str] {
    match has_ipv6() {
        true => &["refused4", "refused6"],
        false => &["refused4"],
    }
}

/// What such a set holds, as `nft -j` says it: source, destination, protocol and port of each. What is not one host's is left out.
pub(crate) fn read(said: &[u8]) -> Vec<(IpAddr, Refused)> {
    let said: Value = serde_json::from_slice(said).unwrap_or_default();
    let objects = said["nftables"].as_array().into_iter().flatten();
    let elements = objects.filter_map(|object| object["set"]["elem"].as_array());
    elements.flatten().filter_map(element).collect()
}

fn element(element: &Value) -> Option<(IpAddr, Refused)> {
    let parts = element["elem"]["val"]["concat"].as_array()?;
    let [from, to, protocol, port] = parts.as_slice() else {
        return None;
    };
    let sandbox = match from.as_str()?.parse().ok()? {
        // Listeners go by the IPv4 address of the same number.
        IpAddr::V6(from) => Slot::v4_of(from)?.into(),
        from => from,
    };
    let to: IpAddr = to.as_str()?.parse().ok()?;
    let broadcast = matches!(to, IpAddr::V4(to) if to.is_broadcast());
    if to.is_multicast() || to.is_unspecified() || broadcast {
        return None;
    }
    let protocol = match protocol.as_str()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let port = u16::try_from(port.as_u64()?).ok()?;
    Some((
        sandbox,
        Refused::Destination(protocol, SocketAddr::new(to, port)),
    ))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::address::{Policy, Slots};

    fn tcp(to: &str) -> Refused {
        Refused::Destination(Protocol::Tcp, to.parse().unwrap())
    }

    #[test]
    fn what_the_sets_hold_is_read() {
        let said = br#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"name": "refused4", "elem": [
            {"elem": {"val": {"concat": ["100.96.0.1", "10.0.0.5", "tcp", 5432]}, "expires": 9}},
            {"elem": {"val": {"concat": ["fd63:6172:7265:2::3", "2001:db8::1", "udp", 53]}, "expires": 9}},
            {"elem": {"val": {"concat": ["100.96.0.1", "224.0.0.251", "udp", 5353]}, "expires": 9}},
            {"elem": {"val": {"concat": ["100.96.0.1", "10.0.0.5", "sctp", 1]}}},
            {"elem": {"val": "x"}}]}}]}"#;
        let found = read(said);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], ([100, 96, 0, 1].into(), tcp("10.0.0.5:5432")));
        assert_eq!(found[1].0, IpAddr::from([100, 98, 0, 3]));
        assert!(read(b"").is_empty() && read(br#"{"nftables": [{"set": {}}]}"#).is_empty());
    }

    #[test]
    fn each_is_told_once_and_not_without_end() {
        let refusals = Refusals::default();
        let slot = Slots::default().take(Policy::Allow).unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        refusals.listen(slot, tell);
        for port in 1..=1000 {
            for _ in 0..2 {
                refusals.tell(slot.v4().into(), tcp(&format!("10.0.0.5:{port}")));
            }
        }
        refusals.tell([100, 98, 9, 9].into(), tcp("10.0.0.5:1"));
        let all: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!((&all[0], &all[MOST]), (&tcp("10.0.0.5:1"), &Refused::More));
        refusals.leave(slot);
        assert_eq!(refusals.leaving(), [IpAddr::from(slot.v4())]);
        refusals.forget(&refusals.leaving());
        assert!(refusals.is_empty());
    }

    #[test]
    fn a_line_names_policy_destination_and_flag() {
        let allow = NetworkPolicy::Allow(vec!["10.0.0.1:1".to_owned()]);
        for (refused, policy, words) in [
            (
                tcp("10.0.0.5:5432"),
                &NetworkPolicy::Internet,
                "'internet' refused 10.0.0.5:5432 (TCP). To allow it: --allow 10.0.0.5:5432, and all else",
            ),
            (tcp("[fd00::1]:80"), &allow, "--allow [fd00::1]:80, beside"),
            (tcp("169.254.1.2:80"), &allow, "--allow host:80"),
            (tcp("169.254.169.254:80"), &allow, "credentials"),
            (tcp("100.98.0.7:80"), &allow, "another function's"),
            (
                Refused::Name("a\nb.example".to_owned()),
                &allow,
                "did not answer the name a\\nb.example. To allow it: --allow a\\nb.example:PORT",
            ),
        ] {
            let line = refused.explain(policy);
            assert!(line.contains(words) && !line.contains('\n'), "{line}");
        }
    }
}
