//! The rule sets: one in the router namespace, one in the host's. Rules name no sandbox: its policy follows from its address, and that it uses no other
//! from the router's routes. Only what the policy `allow` names is an element of a set, for as long as the sandbox lives.

use std::{fmt::Write, net::IpAddr, time::Duration};

use warren_model::ServerId;

use crate::{
    address::{ALLOW_V4, ALLOW_V6, GATEWAY_V4, INTERNET_V4, INTERNET_V6, MACHINE_V4, Slot},
    destination::Opening,
    neighbours::{Neighbours, Prefix},
    uplink::{LINK, UID},
};

/// How the names of servers' tables in the host's rules begin.
pub(crate) const TABLES: &str = "warren_";

/// How long a refused destination is noted: some looks of whoever reads them.
const NOTED: Duration = Duration::from_secs(10);
/// Connections that one sandbox may have through the uplink, which is one process for all.
const CONNECTIONS: u32 = 1024;

/// Not the internet, by RFC 6890 and by what clouds put there: 169.254.169.254 and the like are in the ranges, 168.63.129.16 (Azure's host) is not.
const DENIED_V4: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";
/// Ways to IPv4 in disguise (NAT64, Teredo, 6to4); everything outside 2000::/3 is denied too.
const DENIED_V6: &str = "2001::/32, 2002::/16";

/// What no name may lead to, not even one of the owner's own zones: the machine, its links and metadata addresses.
const NEVER_V4: &str = "0.0.0.0/8, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 224.0.0.0/3";
/// The same in IPv6, IPv4 in disguise included.
const NEVER_V6: &str = "::/8, 2001::/32, 2002::/16, fd00:ec2::254, fe80::/10, ff00::/8";

/// The table of the router namespace.
pub(crate) fn router(neighbours: &Neighbours) -> String {
    format!(
        r#"table inet warren
delete table inet warren
table inet warren {{
  set near4 {{ type ipv4_addr; flags interval; auto-merge; }}
  set near6 {{ type ipv6_addr; flags interval; auto-merge; }}
  set denied4 {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {DENIED_V4} }}; }}
  set denied6 {{ type ipv6_addr; flags interval; auto-merge; elements = {{ {DENIED_V6} }}; }}
  set single4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
  set single6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; }}
  set allowed4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; }}
  set allowed6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags interval; }}
  set never4 {{ type ipv4_addr; flags interval; elements = {{ {NEVER_V4} }}; }}
  set never6 {{ type ipv6_addr; flags interval; elements = {{ {NEVER_V6} }}; }}
  set own4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags timeout; }}
  set own6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags timeout; }}
  set public4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags timeout; }}
  set public6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags timeout; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  # What is refused, for the owner's log ([`notes`] fills it).
  chain note {{
  }}
  # By the sandbox's policy.
  chain deny {{
    jump note
    goto refuse
  }}
  # What one sandbox may have of the uplink ([`bound`] fills it).
  chain bound {{
  }}
  chain internet {{
    ip daddr @denied4 goto deny
    ip daddr @near4 goto deny
    meta nfproto ipv6 ip6 daddr != 2000::/3 goto deny
    ip6 daddr @denied6 goto deny
    ip6 daddr @near6 goto deny
    accept
  }}
  # What was open when a connection began stays so: names are open for a while only, connections of a database for hours.
  chain allow {{
    ct state established,related accept
    # A metadata address is open if it was named itself, and not by a range around it.
    ip saddr . ip daddr . meta l4proto . th dport @single4 accept
    ip6 saddr . ip6 daddr . meta l4proto . th dport @single6 accept
    ip daddr @never4 goto deny
    ip6 daddr @never6 goto deny
    ip saddr . ip daddr . meta l4proto . th dport @allowed4 accept
    ip6 saddr . ip6 daddr . meta l4proto . th dport @allowed6 accept
    ip saddr . ip daddr . meta l4proto . th dport @own4 accept
    ip6 saddr . ip6 daddr . meta l4proto . th dport @own6 accept
    ip saddr . ip daddr . meta l4proto . th dport @public4 goto internet
    ip6 saddr . ip6 daddr . meta l4proto . th dport @public6 goto internet
    goto deny
  }}
  # A sandbox has the address to which the router has a route through its link, and no other.
  chain source {{
    type filter hook prerouting priority raw; policy accept;
    iifname "s*" fib saddr . iif oif missing drop
    # The uplink refuses connections without the ACK that a waiting client looks for.
    iifname "{LINK}" tcp flags & (fin | syn | rst | ack) == rst tcp flags set rst | ack
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state invalid drop
    # What a sandbox sends is judged each time, so that nothing which is closed stays open.
    iifname "{LINK}" ct state established,related accept
    iifname != "s*" drop
    oifname != "{LINK}" goto deny
    jump bound
    ip saddr {INTERNET_V4} goto internet
    ip6 saddr {INTERNET_V6} goto internet
    ip saddr {ALLOW_V4} goto allow
    ip6 saddr {ALLOW_V6} goto allow
    goto refuse
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    iifname "{LINK}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    ip saddr {INTERNET_V4} ip daddr {GATEWAY_V4} meta l4proto {{ tcp, udp }} th dport 53 accept
    ip saddr {ALLOW_V4} ip daddr {GATEWAY_V4} udp dport 53 accept
    ip daddr {MACHINE_V4} ip saddr . ip daddr . meta l4proto . th dport @single4 accept
    iifname "s*" goto deny
  }}
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{LINK}" masquerade
  }}
}}
{}"#,
        near(neighbours)
    )
}

/// Commands that bound the connections of each sandbox. By themselves: not every kernel can count.
pub(crate) fn bound() -> String {
    format!(
        r#"table inet warren {{
  set connections4 {{ type ipv4_addr; size 65535; flags dynamic; }}
  set connections6 {{ type ipv6_addr; size 65535; flags dynamic; }}
  chain bound {{
    ct state new add @connections4 {{ ip saddr ct count over {CONNECTIONS} }} goto refuse
    ct state new add @connections6 {{ ip6 saddr ct count over {CONNECTIONS} }} goto refuse
  }}
}}
"#
    )
}

/// Commands that note where sandboxes were refused, for a while: each destination once, and of one sandbox no more than a few a second. By themselves:
/// not every kernel can limit.
pub(crate) fn notes() -> String {
    let mut text = "table inet warren {\n".to_owned();
    for (family, ip, address, number) in [
        ("ipv4", "ip", "ipv4_addr", 4),
        ("ipv6", "ip6", "ipv6_addr", 6),
    ] {
        let seconds = NOTED.as_secs();
        let _ = write!(
            text,
            r#"  set refused{number} {{ type {address} . {address} . inet_proto . inet_service; size 65535; flags dynamic, timeout; timeout {seconds}s; }}
  set refusals{number} {{ type {address}; size 65535; flags dynamic, timeout; timeout 60s; }}
  chain note {{
    meta nfproto {family} meta l4proto {{ tcp, udp }} {ip} saddr . {ip} daddr . meta l4proto . th dport != @refused{number} add @refusals{number} {{ {ip} saddr limit rate 2/second burst 16 packets }} add @refused{number} {{ {ip} saddr . {ip} daddr . meta l4proto . th dport }}
  }}
"#
        );
    }
    text + "}\n"
}

/// Commands that make the two sets of near prefixes these.
pub(crate) fn near(neighbours: &Neighbours) -> String {
    let mut text = "flush set inet warren near4\nflush set inet warren near6\n".to_owned();
    for (set, v4) in [("near4", true), ("near6", false)] {
        let family = |prefix: &&Prefix| prefix.address.is_ipv4() == v4;
        let mut elements = String::new();
        for prefix in neighbours.prefixes().filter(family) {
            let _ = match prefix.address {
                IpAddr::V4(address) => write!(elements, "{address}/{}, ", prefix.length),
                IpAddr::V6(address) => write!(elements, "{address}/{}, ", prefix.length),
            };
        }
        if !elements.is_empty() {
            let _ = writeln!(text, "add element inet warren {set} {{ {elements} }}");
        }
    }
    text
}

/// The command (`add` or `delete`) for what a sandbox with the policy `allow` may reach.
pub(crate) fn allowed(command: &str, slot: Slot, openings: &[Opening]) -> String {
    let mut text = String::new();
    for Opening { prefix, port } in openings {
        let (set, source): (_, IpAddr) = match (prefix.address, prefix.is_single()) {
            (IpAddr::V4(_), true) => ("single4", slot.v4().into()),
            (IpAddr::V6(_), true) => ("single6", slot.v6().into()),
            (IpAddr::V4(_), false) => ("allowed4", slot.v4().into()),
            (IpAddr::V6(_), false) => ("allowed6", slot.v6().into()),
        };
        let to = match prefix.is_single() {
            true => prefix.address.to_string(),
            false => format!("{}/{}", prefix.address, prefix.length),
        };
        for protocol in ["tcp", "udp"] {
            let _ = writeln!(
                text,
                "{command} element inet warren {set} {{ {source} . {to} . {protocol} . {port} }}"
            );
        }
    }
    text
}

/// What a name leads to, at one port, over TCP and UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pin {
    pub(crate) set: PinSet,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// How addresses that names lead to are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PinSet {
    /// Of a name that only the owner's own can have, or of a container: private ones too.
    Own,
    /// Of a name that anybody may have: as with the policy `internet`.
    Public,
}

impl Pin {
    /// The set and the element.
    fn elements(self, slot: Slot) -> [(&'static str, String); 2] {
        let (set, source): (_, IpAddr) = match (self.set, self.address) {
            (PinSet::Own, IpAddr::V4(_)) => ("own4", slot.v4().into()),
            (PinSet::Own, IpAddr::V6(_)) => ("own6", slot.v6().into()),
            (PinSet::Public, IpAddr::V4(_)) => ("public4", slot.v4().into()),
            (PinSet::Public, IpAddr::V6(_)) => ("public6", slot.v6().into()),
        };
        let Self { address, port, .. } = self;
        ["tcp", "udp"].map(|protocol| (set, format!("{source} . {address} . {protocol} . {port}")))
    }
}

/// Opens these for so long from now on, also those that are open already: adding one again would not make it last.
pub(crate) fn pin(slot: Slot, pins: &[Pin], open: Duration) -> String {
    let mut text = unpin(slot, pins);
    for (set, element) in pins.iter().flat_map(|pin| pin.elements(slot)) {
        let seconds = open.as_secs().max(1);
        let _ = writeln!(
            text,
            "add element inet warren {set} {{ {element} timeout {seconds}s }}"
        );
    }
    text
}

/// Closes these, whether they are open still or not.
pub(crate) fn unpin(slot: Slot, pins: &[Pin]) -> String {
    let mut text = String::new();
    for (set, element) in pins.iter().flat_map(|pin| pin.elements(slot)) {
        for command in ["add", "delete"] {
            let _ = writeln!(text, "{command} element inet warren {set} {{ {element} }}");
        }
    }
    text
}

/// The host's table of one server.
pub(crate) fn host_table(server: &ServerId) -> String {
    format!("{TABLES}{}", server.as_str().replace('-', "_"))
}

/// The table of the host's own namespace: the uplink, which is a process of the host, reaches no address of the host, whatever the router lets through.
/// It only refuses, and only what the uplink's own uid sends, so that it is in nobody's way.
pub(crate) fn host(server: &ServerId) -> String {
    let table = host_table(server);
    format!(
        r#"{}table inet {table} {{
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain output {{
    type filter hook output priority filter; policy accept;
    meta skuid {UID} fib daddr type {{ local, broadcast, multicast, anycast }} goto refuse
  }}
}}
"#,
        remove_host(server)
    )
}

/// Removes it, whether it is there or not.
pub(crate) fn remove_host(server: &ServerId) -> String {
    let table = host_table(server);
    format!("table inet {table}\ndelete table inet {table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_prefixes_are_told_by_family() {
        let prefix = |address: &str, length| Prefix {
            address: address.parse().unwrap(),
            length,
        };
        let neighbours = Neighbours::of([prefix("192.0.2.0", 24), prefix("2001:db8::", 64)]);
        let text = near(&neighbours);
        assert!(text.contains("near4 { 192.0.2.0/24,  }"), "{text}");
        assert!(text.contains("near6 { 2001:db8::/64,  }"), "{text}");
        assert!(!near(&Neighbours::default()).contains("add"));
    }
}
