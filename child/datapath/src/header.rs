//! The IPv6 header, what stands behind its extension headers, and which addresses may be where.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

/// Octets of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;
/// Extension headers that are looked behind; Linux takes any number.
const MAX_EXTENSIONS: usize = 8;

/// Protocol numbers of IPv4 and IPv6.
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const IPV6: u8 = 41;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const AUTHENTICATION: u8 = 51;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
    pub(crate) const MOBILITY: u8 = 135;
}

/// Neighbour Discovery and listener messages (RFC 4861 section 4, RFC 2710, RFC 3810).
pub(crate) mod icmp {
    pub(crate) const LISTENER_QUERY: u8 = 130;
    pub(crate) const LISTENER_DONE: u8 = 132;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub(crate) const REDIRECT: u8 = 137;
    pub(crate) const LISTENER_REPORT_2: u8 = 143;
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// ECN field of the traffic class: 0 to 3.
    pub(crate) ecn: u8,
    /// Octets of the packet, this header too.
    pub(crate) length: usize,
    pub(crate) next: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

impl Header {
    /// `None` if it is not whole or not IPv6. The packet may be shorter or longer than it says.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        // By hand: this is done for each packet, and pnet is built for size.
        let &[first, second, _, _, high, low, next, hop_limit, ref ends @ ..] =
            packet.first_chunk::<IPV6_HEADER>()?;
        (first >> 4 == 6).then_some(())?;
        Some(Self {
            ecn: second >> 4 & 3,
            length: usize::from(u16::from_be_bytes([high, low])).saturating_add(IPV6_HEADER),
            next,
            hop_limit,
            source: Ipv6Addr::from(*ends.first_chunk()?),
            destination: Ipv6Addr::from(*ends.last_chunk()?),
        })
    }

    /// A payload of 0 octets that is yet to come: in a hop-by-hop option (RFC 2675).
    pub(crate) fn is_jumbo(&self) -> bool {
        self.length == IPV6_HEADER && self.next == protocol::HOP_BY_HOP
    }
}

/// What a packet carries, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// An ICMPv6 message of this type; `direct` if no extension header is before it.
    Icmp { kind: u8, direct: bool },
    /// A fragment that is not the first.
    Fragment,
    /// Extension headers that are cut off, or too many.
    Unclear,
    /// Another protocol, or what only its receiver can read.
    Other,
}

/// Looks behind the extension headers of `packet` whose first is `next` (RFC 8200 section 4).
pub(crate) fn carried(packet: &[u8], mut next: u8) -> Carried {
    let mut at = IPV6_HEADER;
    for extensions in 0..=MAX_EXTENSIONS {
        let rest = packet.get(at..).unwrap_or_default();
        if next == protocol::ICMPV6 {
            let direct = extensions == 0;
            return rest.first().map_or(Carried::Unclear, |&kind| Carried::Icmp { kind, direct });
        } else if !is_extension(next) {
            return Carried::Other;
        }
        let Some([following, units, high, low, ..]) = rest.first_chunk::<8>() else {
            return Carried::Unclear;
        };
        let length = match next {
            protocol::FRAGMENT if u16::from_be_bytes([*high, *low]) >> 3 != 0 => {
                return Carried::Fragment;
            }
            protocol::FRAGMENT => 8,
            // RFC 4302 section 2.2.
            protocol::AUTHENTICATION => usize::from(*units).saturating_add(2).saturating_mul(4),
            _ => usize::from(*units).saturating_add(1).saturating_mul(8),
        };
        next = *following;
        at = at.saturating_add(length);
    }
    Carried::Unclear
}

fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
    )
}

/// What no packet on a tunnel comes from (RFC 4213 section 3.6): a group, ::, ::1, IPv4-compatible
/// and IPv4-mapped addresses. Nor is any of them, groups aside, a destination.
pub(crate) fn is_never_source(address: Ipv6Addr) -> bool {
    address.is_multicast() || is_never_destination(address)
}

/// As [`is_never_source`], without groups.
pub(crate) fn is_never_destination(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, _, _])
}

/// The first 64 bits.
pub(crate) const fn prefix(address: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d]
}

/// Whether `address` is in `net`: ipnet is built for size, too.
pub(crate) const fn is_in(address: Ipv6Addr, net: Ipv6Net) -> bool {
    let differing = address.to_bits() ^ net.addr().to_bits();
    differing.leading_zeros() >= net.prefix_len() as u32
}

/// fe80::/64, on-link on every link.
pub(crate) const LINK_LOCAL: [u16; 4] = [0xfe80, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// What is carried by a packet of these octets behind its header.
    fn look(next: u8, rest: &[u8]) -> Carried {
        carried(&[&[0; IPV6_HEADER], rest].concat(), next)
    }

    #[test]
    fn extension_headers() {
        let hidden = Carried::Icmp { kind: 134, direct: false };
        for (next, rest, expected) in [
            (6, &[][..], Carried::Other),
            (17, &[58; 8], Carried::Other),
            (50, &[58; 8], Carried::Other),
            (59, &[], Carried::Other),
            (58, &[134], Carried::Icmp { kind: 134, direct: true }),
            (58, &[], Carried::Unclear),
            (0, &[58, 0, 0, 0, 0, 0, 0, 0, 134], hidden),
            (43, &[58, 0, 0, 0, 0, 0, 0, 0, 134], hidden),
            (60, &[58, 0, 0, 0, 0, 0, 0, 0, 134], hidden),
            (135, &[58, 0, 0, 0, 0, 0, 0, 0, 134], hidden),
            (51, &[58, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 134], hidden),
            (60, &[58, 1, 0, 0, 0, 0, 0, 0, 134], Carried::Unclear),
            (60, &[6, 0, 0, 0, 0, 0, 0, 0], Carried::Other),
            (60, &[58, 0, 0, 0, 0, 0, 0, 0], Carried::Unclear),
            (60, &[58], Carried::Unclear),
            // Atomic, first, last but reserved bits set, second.
            (44, &[58, 9, 0, 0, 0, 0, 0, 0, 134], hidden),
            (44, &[58, 0, 0, 1, 0, 0, 0, 0, 134], hidden),
            (44, &[58, 0, 0, 6, 0, 0, 0, 0, 134], hidden),
            (44, &[58, 0, 0, 8, 0, 0, 0, 0, 134], Carried::Fragment),
            (44, &[58, 0, 0], Carried::Unclear),
            (44, &[58, 0, 0, 0, 0, 0, 0], Carried::Unclear),
        ] {
            assert_eq!(look(next, rest), expected, "{next} {rest:?}");
        }
    }

    #[test]
    fn networks() {
        let address: Ipv6Addr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
        for length in 0..=128 {
            let net = Ipv6Net::new_assert(address, length);
            for bit in 0..128 {
                let other = Ipv6Addr::from_bits(address.to_bits() ^ 1 << bit);
                assert_eq!(is_in(other, net), net.contains(&other), "{other} {net}");
            }
            assert!(is_in(address, net));
        }
    }

    #[test]
    fn extension_headers_have_an_end() {
        let chain = |count: usize| {
            let mut rest = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
            let last = rest.len() - 8;
            rest[last] = 58;
            rest.push(133);
            look(60, &rest)
        };
        assert_eq!(chain(MAX_EXTENSIONS), Carried::Icmp { kind: 133, direct: false });
        assert_eq!(chain(MAX_EXTENSIONS + 1), Carried::Unclear);
        assert_eq!(look(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(8000)), Carried::Unclear);
    }
}
