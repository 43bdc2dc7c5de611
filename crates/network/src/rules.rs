//! The rule sets: one in the router namespace, one in the host's. Neither names a sandbox: what a sandbox may do follows from its address, and that
//! it uses no other from the router's routes.

use std::{fmt::Write, net::IpAddr};

use warren_model::ServerId;

use crate::{
    address::{GATEWAY_V4, INTERNET_V4, INTERNET_V6},
    neighbours::{Neighbours, Prefix},
    uplink::{LINK, UID},
};

/// Not the internet, by RFC 6890 and by what clouds put there: 169.254.169.254 and the like are in the ranges, 168.63.129.16 (Azure's host) is not.
const DENIED_V4: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";
/// Ways to IPv4 in disguise (NAT64, Teredo, 6to4); everything outside 2000::/3 is denied too.
const DENIED_V6: &str = "2001::/32, 2002::/16";

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
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain internet {{
    ip daddr @denied4 goto refuse
    ip daddr @near4 goto refuse
    meta nfproto ipv6 ip6 daddr != 2000::/3 goto refuse
    ip6 daddr @denied6 goto refuse
    ip6 daddr @near6 goto refuse
    accept
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
    ct state vmap {{ established : accept, related : accept, invalid : drop }}
    iifname != "s*" drop
    oifname != "{LINK}" goto refuse
    ip saddr {INTERNET_V4} goto internet
    ip6 saddr {INTERNET_V6} goto internet
    goto refuse
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    iifname "{LINK}" icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    iifname "s*" ip daddr {GATEWAY_V4} meta l4proto {{ tcp, udp }} th dport 53 accept
    iifname "s*" goto refuse
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

/// The host's table of one server.
pub(crate) fn host_table(server: &ServerId) -> String {
    format!("warren_{}", server.as_str().replace('-', "_"))
}

/// The table of the host's own namespace: the uplink, which is a process of the host, reaches no address of the host, whatever the router lets through.
/// It only drops, and only what the uplink's own uid sends, so that it is in nobody's way.
pub(crate) fn host(server: &ServerId) -> String {
    let table = host_table(server);
    format!(
        "{}table inet {table} {{\n  chain output {{\n    type filter hook output priority filter; policy accept;\n    meta skuid {UID} fib daddr type {{ local, broadcast, multicast, anycast }} drop\n  }}\n}}\n",
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
