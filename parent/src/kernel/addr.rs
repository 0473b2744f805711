//! IPv6 addresses of the tunnel.

use std::net::{IpAddr, Ipv6Addr};

use isatapd_proto::Lifetime;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::{IfIndex, KernelError, Netlink};

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// 64 if neighbours with the same prefix are on the link, else 128: `sit` takes packets of
    /// hosts that are not in the PRL if their source is in a prefix of an address of the tunnel.
    pub prefix_len: u8,
    /// Time left; not zero when set.
    pub valid: Lifetime,
    /// Time left; at most `valid` when set.
    pub preferred: Lifetime,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an address comes from (`IFA_PROTO`, Linux 5.18; `Other` before).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A router advertisement; no route comes with it.
    Advertised,
    /// The link itself; the route to fe80::/64 comes with it.
    LinkLocal,
    /// Something else: not by us, at least not on a kernel that keeps the origin.
    Other,
}

impl Netlink {
    /// Adds the address, or gives it these lifetimes. Duplicate address detection is off: `sit` has
    /// no multicast.
    pub fn set_address(&mut self, index: IfIndex, address: &Address) -> Result<(), KernelError> {
        let present = self.addresses(index)?;
        // The kernel keeps the prefix length of an address that is there.
        if let Some(present) = present.iter().find(|a| a.address == address.address)
            && present.prefix_len != address.prefix_len
        {
            self.delete_address(index, present)?;
        }
        let (flags, protocol) = match address.origin {
            Origin::LinkLocal => (AddressFlags::empty(), Some(AddressProtocol::LinkLocal)),
            Origin::Advertised => {
                (AddressFlags::Noprefixroute, Some(AddressProtocol::RouterAnnouncement))
            }
            Origin::Other => (AddressFlags::Noprefixroute, None),
        };
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = address.valid.secs();
        lifetimes.ifa_preferred = address.preferred.secs();
        let mut message = address_message(index, address);
        message.attributes.extend([
            AddressAttribute::Flags(flags | AddressFlags::Nodad),
            AddressAttribute::CacheInfo(lifetimes),
        ]);
        message.attributes.extend(protocol.map(AddressAttribute::Protocol));
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|e| KernelError::new(address.address, "set the address", e))?;
        Ok(())
    }

    /// Deletes the address; `Ok` if it, or the interface, is gone already.
    pub fn delete_address(&mut self, index: IfIndex, address: &Address) -> Result<(), KernelError> {
        let message = RouteNetlinkMessage::DelAddress(address_message(index, address));
        self.request(message, 0)
            .map(drop)
            .or_else(|e| e.unless(&[Errno::EADDRNOTAVAIL, Errno::ENODEV]))
            .map_err(|e| KernelError::new(address.address, "delete the address", e))
    }

    /// All IPv6 addresses of the interface, the kernel's own too; none if it is gone.
    pub fn addresses(&mut self, index: IfIndex) -> Result<Vec<Address>, KernelError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.index = index.get();
        let answers = self
            .dump(&RouteNetlinkMessage::GetAddress(message))
            .or_else(|e| e.unless(&[Errno::ENODEV]).map(|()| Vec::new()))
            .map_err(|e| KernelError::new(index, "list the addresses", e))?;
        Ok(answers.into_iter().filter_map(|answer| parse(answer, index)).collect())
    }
}

fn address_message(index: IfIndex, address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = address.prefix_len;
    message.header.index = index.get();
    message.attributes.push(AddressAttribute::Address(IpAddr::V6(address.address)));
    message
}

fn parse(answer: RouteNetlinkMessage, index: IfIndex) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    let mut address = Address {
        address: Ipv6Addr::UNSPECIFIED,
        prefix_len: message.header.prefix_len,
        valid: Lifetime::INFINITE,
        preferred: Lifetime::INFINITE,
        origin: Origin::Other,
    };
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Address(IpAddr::V6(v6)) => address.address = v6,
            AddressAttribute::CacheInfo(lifetimes) => {
                address.valid = Lifetime::from_secs(lifetimes.ifa_valid);
                address.preferred = Lifetime::from_secs(lifetimes.ifa_preferred);
            }
            AddressAttribute::Protocol(AddressProtocol::RouterAnnouncement) => {
                address.origin = Origin::Advertised;
            }
            AddressAttribute::Protocol(AddressProtocol::LinkLocal) => {
                address.origin = Origin::LinkLocal;
            }
            _ => {}
        }
    }
    (message.header.index == index.get() && !address.address.is_unspecified()).then_some(address)
}
