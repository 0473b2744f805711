//! The IPv6 header, what stands behind its extension headers, and which addresses may be where.

use std::net::Ipv6Addr;

use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols as protocol};
use pnet_packet::ipv6::Ipv6Packet;

/// Octets of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;
/// Extension headers that are looked behind; Linux takes any number.
const MAX_EXTENSIONS: usize = 8;

/// Neighbour Discovery and listener messages (RFC 4861 section 4, RFC 2710, RFC 3810).
pub(crate) mod icmp {
    pub(crate) const LISTENER_QUERY: u8 = 130;
    pub(crate) const LISTENER_DONE: u8 = 132;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
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
    pub(crate) next: IpNextHeaderProtocol,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

impl Header {
    /// `None` if it is not whole or not IPv6. The packet may be shorter or longer than it says.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let view = Ipv6Packet::new(packet)?;
        (view.get_version() == 6).then(|| Self {
            ecn: view.get_traffic_class() & 3,
            length: usize::from(view.get_payload_length()).saturating_add(IPV6_HEADER),
            next: view.get_next_header(),
            hop_limit: view.get_hop_limit(),
            source: view.get_source(),
            destination: view.get_destination(),
        })
    }

    /// A payload of 0 octets that is yet to come: in a hop-by-hop option (RFC 2675).
    pub(crate) fn is_jumbo(&self) -> bool {
        self.length == IPV6_HEADER && self.next == protocol::Hopopt
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
pub(crate) fn carried(packet: &[u8], mut next: IpNextHeaderProtocol) -> Carried {
    let mut at = IPV6_HEADER;
    for extensions in 0..=MAX_EXTENSIONS {
        let rest = packet.get(at..).unwrap_or_default();
        if next == protocol::Icmpv6 {
            let direct = extensions == 0;
            return rest.first().map_or(Carried::Unclear, |&kind| Carried::Icmp { kind, direct });
        } else if !is_extension(next) {
            return Carried::Other;
        }
        let Some([following, units, high, low, ..]) = rest.first_chunk::<8>() else {
            return Carried::Unclear;
        };
        let length = match next {
            // Own reading: pnet's mask leaves a reserved bit in the offset.
            protocol::Ipv6Frag if u16::from_be_bytes([*high, *low]) >> 3 != 0 => {
                return Carried::Fragment;
            }
            protocol::Ipv6Frag => 8,
            // RFC 4302 section 2.2.
            protocol::Ah => usize::from(*units).saturating_add(2).saturating_mul(4),
            _ => usize::from(*units).saturating_add(1).saturating_mul(8),
        };
        next = IpNextHeaderProtocol(*following);
        at = at.saturating_add(length);
    }
    Carried::Unclear
}

fn is_extension(next: IpNextHeaderProtocol) -> bool {
    matches!(
        next,
        protocol::Hopopt
            | protocol::Ipv6Route
            | protocol::Ipv6Frag
            | protocol::Ah
            | protocol::Ipv6Opts
            | protocol::MobilityHeader
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

/// fe80::/64, on-link on every link.
pub(crate) const LINK_LOCAL: [u16; 4] = [0xfe80, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// What is carried by a packet of these octets behind its header.
    fn look(next: u8, rest: &[u8]) -> Carried {
        carried(&[&[0; IPV6_HEADER], rest].concat(), IpNextHeaderProtocol(next))
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
