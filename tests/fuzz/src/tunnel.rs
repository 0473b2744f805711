//! The tunnel that the packets of the data path's targets are judged by, and how packets look.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_datapath::{Role, Route, Source, Table};
use isatapd_proto::{Mtu, MtuMethod, Preference};

/// Our end. The host has 10.9.9.9/24, too.
pub const LOCATOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The first router; the others are 192.0.2.11 and 198.51.100.7.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Our global address.
pub const OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0x5efe, 0xc000, 0x201);

/// An IPv6 address of text.
pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

/// An IPv4 address of text.
pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

/// A route by a router at `next_hop`.
pub fn route(destination: &str, next_hop: &str, slot: u8, preference: Preference) -> Route {
    Route {
        destination: destination.parse().expect("a network"),
        next_hop: Some(v4(next_hop).try_into().expect("of a host")),
        slot: Some(slot.try_into().expect("below 64")),
        preference,
        reachable: true,
    }
}

/// The table: 2001:db8:1:1::/64 is on the link, two routers advertise.
pub fn table(role: Role, mtu_method: MtuMethod) -> Table {
    let routers = ["192.0.2.10", "192.0.2.11", "198.51.100.7"];
    Table {
        hold: false,
        locator: Some(LOCATOR.try_into().expect("of a host")),
        role,
        mtu: Some(Mtu::try_from(1480).expect("in range")),
        mtu_method: Some(mtu_method),
        inherit_ttl: false,
        own: vec![v6("fe80::5efe:c000:201"), v6("fe80::200:5efe:c000:201"), OURS],
        own_v4: vec![LOCATOR, v4("10.9.9.9")],
        broadcasts: vec![v4("192.0.2.255"), v4("10.9.9.255")],
        on_link: vec![v6("2001:db8:1:1::").try_into().expect("a prefix")],
        routes: vec![
            route("2001:db8:5::/48", "192.0.2.11", 1, Preference::Medium),
            route("::/0", "192.0.2.10", 0, Preference::Medium),
        ],
        routers: (0_u8..)
            .zip(routers)
            .map(|(slot, router)| {
                let router = v4(router).try_into().expect("of a host");
                (router, slot.try_into().expect("a slot"))
            })
            .collect(),
        sources: vec![Source {
            prefix: v6("2001:db8:1:1::").try_into().expect("a prefix"),
            advertisers: 0b11,
        }],
        error_source: Some(OURS),
    }
}

/// An IPv6 packet, hop limit 64.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a packet");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An IPv4 packet of protocol 41, as a raw socket gives it.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let length = u16::try_from(inner.len() + 20).expect("a packet");
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 41, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(inner);
    packet
}

/// Whether `error` is right in every octet but type and word: about `packet`, to its source, as long
/// as it may be. Returns type, code and word.
pub fn check_error(error: &[u8], packet: &[u8]) -> (u8, u8, u32) {
    let quoted = packet.len().min(1280 - 48);
    assert_eq!(error.len(), 48 + quoted);
    assert_eq!(error[..4], [0x60, 0, 0, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([error[4], error[5]])), 8 + quoted);
    assert_eq!(error[6..8], [58, 64]);
    assert_eq!(error[8..24], OURS.octets());
    assert_eq!(error[24..40], packet[8..24]);
    assert_eq!(error[48..], packet[..quoted]);
    // RFC 4443 section 2.3: the sum with the pseudo-header and the checksum itself is all ones.
    let pseudo = [&error[8..40], &[0, 0, error[4], error[5], 0, 0, 0, 58]].concat();
    let octets = [&pseudo, &error[40..]].concat();
    let words = octets.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    assert_eq!(words.sum::<u64>() % 0xffff, 0, "checksum");
    (error[40], error[41], u32::from_be_bytes([error[44], error[45], error[46], error[47]]))
}
