//! The link of one sandbox: a veth pair whose outer end is in the router. Addresses and hardware addresses are fixed on both sides, so nothing is asked
//! or announced, and nothing that a sandbox says is learned.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
};

use crate::{
    NetworkError,
    address::{GATEWAY_V4, GATEWAY_V6, MACHINE_V4, Slot},
    namespace,
    netlink::{Batch, CREATE, Socket, attributes},
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
/// Length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const IFF_UP: u32 = 1;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;

/// Interface number of `lo`, always.
const LOOPBACK: u32 = 1;
/// Interface number of the inner end.
const INNER_INDEX: u32 = 1000;
/// Name of the inner end.
const INNER: &str = "eth0";

/// One of the two address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Bits of an address.
    fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// Whether this kernel has IPv6; then every sandbox with a network has it too.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn families() -> impl Iterator<Item = Family> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter(|family| *family == Family::V4 || has_ipv6())
}

/// Makes the namespace of the calling thread a router, with the addresses that sandboxes reach.
pub(crate) fn become_router(socket: &Socket) -> Result<(), NetworkError> {
    set("ipv4/ip_forward", "1")?;
    if has_ipv6() {
        set("ipv6/conf/all/forwarding", "1")?;
        // The uplink is not there yet: its address is good at once, as no other is on its link.
        set("ipv6/conf/default/accept_dad", "0")?;
    }
    let mut batch = Batch::default();
    up(&mut batch, LOOPBACK);
    address(&mut batch, LOOPBACK, Family::V4, &GATEWAY_V4.octets());
    address(&mut batch, LOOPBACK, Family::V4, &MACHINE_V4.octets());
    socket.execute(&batch)
}

/// Gives a sandbox its link; the calling thread is in `router` and is there again afterwards, also on an error other than
/// [`Astray`](NetworkError::Astray). Blocking, a few milliseconds.
pub(crate) fn attach(
    socket: &Socket,
    router: &File,
    sandbox: &File,
    slot: Slot,
) -> Result<(), NetworkError> {
    namespace::enter(sandbox)?;
    let prepared = prepare();
    namespace::enter(router).map_err(|error| NetworkError::Astray(Box::new(error)))?;
    let inside = prepared?;
    socket.execute(&outer(slot, sandbox))?;
    let inner_done = inside.execute(&inner(slot));
    if inner_done.is_err() {
        // A half-made link is of no use; its removal can fail no worse.
        let _ = detach(socket, slot);
    }
    inner_done
}

/// Removes a link; one that went with its sandbox counts as removed.
pub(crate) fn detach(socket: &Socket, slot: Slot) -> Result<(), NetworkError> {
    const ENODEV: i32 = 19;
    let mut batch = Batch::default();
    batch.request("remove a sandbox's link", RTM_DELLINK, 0, &ifinfo(0, 0));
    batch.attribute(IFLA_IFNAME, &terminated(&slot.link()));
    match socket.execute(&batch) {
        Err(NetworkError::Kernel { source, .. }) if source.raw_os_error() == Some(ENODEV) => Ok(()),
        outcome => outcome,
    }
}

/// The first link that is up and not the loopback. Others are the kernel's own (`tunl0`), which the sandbox has no right to bring up.
fn foreign(links: &[Vec<u8>]) -> Option<String> {
    links.iter().find_map(|link| {
        let number = |at: usize| {
            let bytes = link.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(bytes))
        };
        let (index, flags) = (number(4)?, number(8)?);
        if index == LOOPBACK || flags & IFF_UP == 0 {
            return None;
        }
        let name = attributes(link.get(IFINFOMSG..)?).find(|(kind, _)| *kind == IFLA_IFNAME);
        let name = name.map_or(&[][..], |(_, name)| name);
        Some(
            String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned(),
        )
    })
}

/// In the sandbox's namespace: nothing there but the loopback; IPv6 on, which Docker switches off where it makes no network.
fn prepare() -> Result<Socket, NetworkError> {
    if has_ipv6() {
        set("ipv6/conf/default/addr_gen_mode", "1")?;
        set("ipv6/conf/all/disable_ipv6", "0")?;
        set("ipv6/conf/default/disable_ipv6", "0")?;
    }
    let socket = Socket::open()?;
    let links = socket.dump("list links", RTM_GETLINK, &[0; IFINFOMSG])?;
    match foreign(&links) {
        Some(name) => Err(NetworkError::Occupied(name)),
        None => Ok(socket),
    }
}

/// The pair, and the router's way to the sandbox.
fn outer(slot: Slot, sandbox: &File) -> Batch {
    let mut batch = Batch::default();
    let index = slot.index();
    batch.request(
        "make a sandbox's link",
        RTM_NEWLINK,
        CREATE,
        &ifinfo(index, 0),
    );
    batch.attribute(IFLA_IFNAME, &terminated(&slot.link()));
    batch.attribute(IFLA_ADDRESS, &slot.outer_mac());
    batch.nested(IFLA_LINKINFO, &[], |batch| {
        batch.attribute(IFLA_INFO_KIND, b"veth");
        batch.nested(IFLA_INFO_DATA, &[], |batch| {
            batch.nested(VETH_INFO_PEER, &ifinfo(INNER_INDEX, 0), |batch| {
                batch.attribute(IFLA_IFNAME, &terminated(INNER));
                batch.attribute(IFLA_ADDRESS, &slot.inner_mac());
                batch.attribute(IFLA_NET_NS_FD, &sandbox.as_raw_fd().to_ne_bytes());
            });
        });
    });
    if has_ipv6() {
        // No address of its own for the outer end, so that nothing is said on it.
        batch.request("keep a link silent", RTM_NEWLINK, 0, &ifinfo(index, 0));
        batch.nested(IFLA_AF_SPEC, &[], |batch| {
            batch.nested(u16::from(Family::V6.number()), &[], |batch| {
                batch.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        });
    }
    up(&mut batch, index);
    for family in families() {
        let sandbox = sandbox_address(slot, family);
        route(&mut batch, index, family, Some(&sandbox), None);
        neighbour(&mut batch, index, family, &sandbox, slot.inner_mac());
    }
    batch
}

/// The sandbox's own end: its address and the way out.
fn inner(slot: Slot) -> Batch {
    let mut batch = Batch::default();
    up(&mut batch, LOOPBACK);
    up(&mut batch, INNER_INDEX);
    for family in families() {
        let gateway = match family {
            Family::V4 => GATEWAY_V4.octets().to_vec(),
            Family::V6 => GATEWAY_V6.octets().to_vec(),
        };
        let own = sandbox_address(slot, family);
        address(&mut batch, INNER_INDEX, family, &own);
        neighbour(&mut batch, INNER_INDEX, family, &gateway, slot.outer_mac());
        route(&mut batch, INNER_INDEX, family, Some(&gateway), None);
        route(&mut batch, INNER_INDEX, family, None, Some(&gateway));
    }
    batch
}

fn sandbox_address(slot: Slot, family: Family) -> Vec<u8> {
    match family {
        Family::V4 => slot.v4().octets().to_vec(),
        Family::V6 => slot.v6().octets().to_vec(),
    }
}

fn up(batch: &mut Batch, index: u32) {
    batch.request("bring a link up", RTM_NEWLINK, 0, &ifinfo(index, IFF_UP));
}

/// A single address, which is known not to be anybody else's.
fn address(batch: &mut Batch, index: u32, family: Family, value: &[u8]) {
    // struct ifaddrmsg
    let mut fixed = vec![
        family.number(),
        family.bits(),
        IFA_F_NODAD,
        RT_SCOPE_UNIVERSE,
    ];
    fixed.extend(index.to_ne_bytes());
    batch.request("give a link its address", RTM_NEWADDR, CREATE, &fixed);
    batch.attribute(IFA_LOCAL, value);
    batch.attribute(IFA_ADDRESS, value);
}

/// To one address, or to all others; through a gateway, or straight.
fn route(batch: &mut Batch, index: u32, family: Family, to: Option<&[u8]>, gateway: Option<&[u8]>) {
    let scope = match (family, gateway) {
        (Family::V4, None) => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    };
    // struct rtmsg
    let mut fixed = vec![family.number(), to.map_or(0, |_| family.bits()), 0, 0];
    fixed.extend([RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST]);
    fixed.extend([0; 4]);
    batch.request("make a route", RTM_NEWROUTE, CREATE, &fixed);
    if let Some(to) = to {
        batch.attribute(RTA_DST, to);
    }
    if let Some(gateway) = gateway {
        batch.attribute(RTA_GATEWAY, gateway);
    }
    batch.attribute(RTA_OIF, &index.to_ne_bytes());
}

/// Who has an address, once and for all.
fn neighbour(batch: &mut Batch, index: u32, family: Family, address: &[u8], mac: [u8; 6]) {
    // struct ndmsg
    let mut fixed = vec![family.number(), 0, 0, 0];
    fixed.extend(index.to_ne_bytes());
    fixed.extend(NUD_PERMANENT.to_ne_bytes());
    fixed.extend([0, RTN_UNICAST]);
    batch.request("name a neighbour", RTM_NEWNEIGH, CREATE, &fixed);
    batch.attribute(NDA_DST, address);
    batch.attribute(NDA_LLADDR, &mac);
}

/// struct ifinfomsg.
fn ifinfo(index: u32, flags: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// A setting of the calling thread's network namespace.
fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys/net").join(name);
    fs::write(&path, value).map_err(NetworkError::host("set", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, flags: u32, name: &str) -> Vec<u8> {
        let mut bytes = ifinfo(index, flags).to_vec();
        let name = terminated(name);
        bytes.extend(u16::try_from(4 + name.len()).unwrap().to_ne_bytes());
        bytes.extend(IFLA_IFNAME.to_ne_bytes());
        bytes.extend(name);
        bytes
    }

    #[test]
    fn a_link_of_somebody_else_is_found() {
        let (lo, tunnel) = (link(1, IFF_UP, "lo"), link(2, 0, "tunl0"));
        assert_eq!(foreign(&[lo.clone(), tunnel.clone()]), None);
        let other = link(7, IFF_UP, "eth7");
        assert_eq!(foreign(&[lo, tunnel, other]), Some("eth7".to_owned()));
        assert_eq!(foreign(&[vec![0; 3]]), None);
    }
}
