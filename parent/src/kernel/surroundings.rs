//! What else the host has: its IPv4 addresses, others' addresses and routes on the tunnel.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::libc;

use super::{IfIndex, KernelError, Netlink};

/// The table of the host's own addresses (linux/rtnetlink.h).
const RT_TABLE_LOCAL: u8 = libc::RT_TABLE_LOCAL;
/// Whether the host forwards IPv6; to write it sets every interface.
pub const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// An IPv4 address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddress {
    /// On which interface.
    pub index: IfIndex,
    /// The address.
    pub address: Ipv4Addr,
    /// The broadcast address of its network, if it has one.
    pub broadcast: Option<Ipv4Addr>,
    /// Whether it is for more than its link or this host.
    pub global: bool,
}

/// An IPv6 route, of whatever making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnyRoute {
    /// What it reaches.
    pub destination: Ipv6Net,
    /// By whom; `None`: it is on the link.
    pub gateway: Option<Ipv6Addr>,
    /// Lower is better.
    pub metric: u32,
}

impl Netlink {
    /// All IPv4 addresses of the host, in the kernel's order.
    pub fn own_addresses(&mut self) -> Result<Vec<OwnAddress>, KernelError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let answers = self
            .dump(&RouteNetlinkMessage::GetAddress(message))
            .map_err(|e| KernelError::new("IPv4", "list the addresses", e))?;
        Ok(answers.into_iter().filter_map(parse_own).collect())
    }

    /// The unicast IPv6 routes through the interface in all tables but that of the host's own
    /// addresses; none if it is gone.
    pub fn all_routes(&mut self, index: IfIndex) -> Result<Vec<AnyRoute>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet6;
        message.attributes.push(RouteAttribute::Oif(index.get()));
        let answers = self
            .dump(&RouteNetlinkMessage::GetRoute(message))
            .or_else(|e| e.unless(&[Errno::ENODEV]).map(|()| Vec::new()))
            .map_err(|e| KernelError::new(index, "list the routes", e))?;
        Ok(answers.into_iter().filter_map(|answer| parse_any(answer, index)).collect())
    }
}

/// Whether the host forwards IPv6.
pub fn forwards() -> bool {
    fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim_end() != "0")
}

fn parse_own(answer: RouteNetlinkMessage) -> Option<OwnAddress> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    let (mut local, mut peer, mut broadcast) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(v4)) => local = Some(v4),
            // The other end's on a point-to-point link, else the same.
            AddressAttribute::Address(IpAddr::V4(v4)) => peer = Some(v4),
            AddressAttribute::Broadcast(v4) => broadcast = Some(v4),
            _ => {}
        }
    }
    Some(OwnAddress {
        index: IfIndex::new(message.header.index)?,
        address: local.or(peer)?,
        broadcast,
        global: message.header.scope == AddressScope::Universe,
    })
}

fn parse_any(answer: RouteNetlinkMessage, index: IfIndex) -> Option<AnyRoute> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let (mut oif, mut to, mut gateway, mut metric) = (None, Ipv6Addr::UNSPECIFIED, None, 0);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Oif(number) => oif = IfIndex::new(number),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = address,
            RouteAttribute::Gateway(RouteAddress::Inet6(via)) => gateway = Some(via),
            RouteAttribute::Priority(priority) => metric = priority,
            _ => {}
        }
    }
    let unicast =
        message.header.kind == RouteType::Unicast && message.header.table != RT_TABLE_LOCAL;
    let destination = Ipv6Net::new(to, message.header.destination_prefix_length).ok()?;
    (unicast && oif == Some(index)).then_some(AnyRoute { destination, gateway, metric })
}
