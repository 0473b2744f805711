//! Loops through tunnels (RFC 6324). An outsider's packet goes round if a router sends it out to
//! itself by another tunnel (section 3.3), or to another router of the site (section 3.2.3). A host
//! forwards nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_proto::isatap;

use crate::header::{Header, LINK_LOCAL, prefix};
use crate::{Role, Table};

impl Table {
    /// Whether a packet that `outer` sent to us, to be forwarded, would go round.
    pub(crate) fn loops_in(&self, outer: Ipv4Addr, destination: Ipv6Addr) -> bool {
        self.role == Role::Router
            && !self.own.contains(&destination)
            && (self.is_ours_elsewhere(destination)
                || self.is_router(outer) && self.is_other_router(destination))
    }

    /// Whether a packet that we are to send has gone round, or would.
    pub(crate) fn loops_out(&self, header: &Header) -> bool {
        self.role == Role::Router
            && !self.own.contains(&header.source)
            && (self.is_ours_elsewhere(header.source) || self.is_other_router(header.destination))
    }

    /// Whether `address` embeds an IPv4 address of ours as that of another tunnel's end. Private ones
    /// may be somebody else's at another site; a prefix of the link may be of our 6to4 addresses.
    fn is_ours_elsewhere(&self, address: Ipv6Addr) -> bool {
        let isatap = isatap::embedded(address).map(|(v4, _)| v4);
        let ends = [isatap, six_to_four(address)];
        let is_ours = |v4: Ipv4Addr| self.own_v4.contains(&v4) && !is_private(v4);
        !self.is_on_link(address) && ends.into_iter().flatten().any(is_ours)
    }

    /// Whether `address` is the ISATAP address of another router; those of the link itself are never
    /// forwarded.
    fn is_other_router(&self, address: Ipv6Addr) -> bool {
        prefix(address) != LINK_LOCAL
            && self.is_on_link(address)
            && isatap::embedded(address).is_some_and(|(v4, _)| self.is_router(v4))
    }
}

/// The IPv4 address in a 6to4 address (RFC 3056 section 2).
const fn six_to_four(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0x20, 0x02, a, b, c, d, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// RFC 1918, RFC 3927, RFC 6598.
const fn is_private(v4: Ipv4Addr) -> bool {
    v4.is_private() || v4.is_link_local() || matches!(v4.octets(), [100, 64..=127, ..])
}
