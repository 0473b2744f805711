//! Where a packet goes next: which IPv4 address.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_proto::{Slot, UnicastV4, isatap};

use crate::header::{Header, LINK_LOCAL, is_in, is_never_destination, is_never_source, prefix};
use crate::icmp6::{Error, Unreachable};
use crate::{Counter, Role, Route, Table};

/// Why a packet is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is only counted.
    Silent(Counter),
    /// Its sender is told.
    Told(Error),
}

const UNREACHABLE: Refusal = Refusal::Told(Error::Unreachable(Unreachable::Address));

impl Table {
    /// Whether the first 64 bits of `address` are on the link.
    pub(crate) fn is_on_link(&self, address: Ipv6Addr) -> bool {
        let net = prefix(address);
        net == LINK_LOCAL || self.on_link.iter().any(|on_link| prefix((*on_link).into()) == net)
    }

    /// Whether `address` is in the PRL.
    pub(crate) fn is_router(&self, address: Ipv4Addr) -> bool {
        self.slot_of(address).is_some()
    }

    /// Its place in the PRL, which is in order.
    pub(crate) fn slot_of(&self, address: Ipv4Addr) -> Option<Slot> {
        let at = self.routers.binary_search_by(|(router, _)| router.get().cmp(&address)).ok()?;
        self.routers.get(at).map(|(_, slot)| *slot)
    }

    /// The IPv4 address to send a packet to, and the place of the router that it goes by.
    pub(crate) fn next_hop(&self, header: &Header) -> Result<(Ipv4Addr, Option<Slot>), Refusal> {
        let &Header { source, destination, .. } = header;
        if destination.is_multicast() {
            return Err(Refusal::Silent(Counter::Multicast));
        } else if is_never_source(source) || is_never_destination(destination) {
            return Err(Refusal::Silent(Counter::BadAddress));
        }
        let (next_hop, slot) =
            if self.is_on_link(destination) || destination.is_unicast_link_local() {
                (self.neighbour(destination).ok_or(UNREACHABLE)?, None)
            } else if source.is_unicast_link_local() {
                return Err(Refusal::Told(Error::Unreachable(Unreachable::BeyondScope)));
            } else {
                let route = self
                    .route(header)
                    .ok_or(Refusal::Told(Error::Unreachable(Unreachable::NoRoute)))?;
                let next_hop = match route.next_hop {
                    Some(router) => router.get(),
                    None => self.neighbour(destination).ok_or(UNREACHABLE)?,
                };
                (next_hop, route.slot)
            };
        self.check(next_hop, source).map(|()| (next_hop, slot))
    }

    /// A next hop must be another host of this site, and not the one that the packet came from.
    fn check(&self, next_hop: Ipv4Addr, source: Ipv6Addr) -> Result<(), Refusal> {
        if self.own_v4.contains(&next_hop) {
            Err(Refusal::Silent(Counter::ToOurselves))
        } else if self.broadcasts.contains(&next_hop) {
            Err(UNREACHABLE)
        } else if self.role == Role::Router && self.came_from(next_hop, source) {
            Err(Refusal::Silent(Counter::BackToSender))
        } else {
            Ok(())
        }
    }

    /// Whether a packet from `source` that we forward came from `neighbour`.
    fn came_from(&self, neighbour: Ipv4Addr, source: Ipv6Addr) -> bool {
        isatap::embedded(source).is_some_and(|(v4, _)| v4 == neighbour)
            && self.is_on_link(source)
            && !self.own.contains(&source)
    }

    /// The IPv4 address of a neighbour. `None` if it has none, or one that no host has, or ours.
    fn neighbour(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        // fe80::/10 beyond the first /64 is on no link.
        if address.is_unicast_link_local() && prefix(address) != LINK_LOCAL {
            return None;
        }
        let (v4, _) = isatap::embedded(address)?;
        UnicastV4::try_from(v4).ok()?;
        (!self.own_v4.contains(&v4)).then_some(v4)
    }

    /// The best route (RFC 4191 section 3.2): a reachable router before one that is not, then the
    /// longest prefix, then a router that advertised the prefix of the source (RFC 8028), then the
    /// preference, then the first.
    fn route(&self, header: &Header) -> Option<&Route> {
        let advertisers = self.advertisers(header.source);
        let mut best: Option<(&Route, _)> = None;
        for route in &self.routes {
            let length = route.destination.prefix_len();
            if best
                .is_some_and(|(best, _)| best.reachable && best.destination.prefix_len() > length)
            {
                break;
            }
            if !is_in(header.destination, route.destination) {
                continue;
            }
            // What the administrator routes goes for any source.
            let advertised = route.slot.is_none_or(|slot| advertisers >> slot.get() & 1 == 1);
            let rank = (route.reachable, length, advertised, route.preference);
            if best.is_none_or(|(_, best)| best < rank) {
                best = Some((route, rank));
            }
        }
        best.map(|(route, _)| route)
    }

    /// A bit for each router that advertised the prefix of `source`; all, if it is of none.
    fn advertisers(&self, source: Ipv6Addr) -> u64 {
        let net = prefix(source);
        self.sources
            .iter()
            .find(|known| prefix(known.prefix.into()) == net)
            .map_or(u64::MAX, |known| known.advertisers)
    }

    /// Whether a packet to `destination` can have been sent to `next_hop`.
    pub(crate) fn may_go_by(&self, destination: Ipv6Addr, next_hop: Ipv4Addr) -> bool {
        let direct = self.neighbour(destination) == Some(next_hop);
        if self.is_on_link(destination) {
            return direct;
        }
        self.routes
            .iter()
            .filter(|route| is_in(destination, route.destination))
            .any(|route| route.next_hop.map_or(direct, |router| router.get() == next_hop))
    }
}
