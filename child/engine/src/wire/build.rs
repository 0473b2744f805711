//! Router Advertisements as octets (RFC 4861 section 4.2; their options: RFC 4191, 8106 and 8781).

use std::net::Ipv6Addr;
use std::time::Duration;

use isatapd_proto::{HostName, Lifetime, Preference};

use super::icmp6;
use super::nd_option::{
    AUTONOMOUS, DNS_SEARCH_LIST, Dnssl, MTU, NAT64_PREFIX, ON_LINK, PREFIX_INFORMATION, Pref64,
    PrefixInformation, RECURSIVE_DNS_SERVER, ROUTE_INFORMATION, Rdnss, RouteInformation,
};
use super::router_advert::{HEADER, MANAGED, OTHER, ROUTER_ADVERTISEMENT, RouterAdvert};

/// Octets of options in one advertisement: with its headers it fits the IPv6 minimum MTU of 1280, as
/// it must not be fragmented (RFC 6980 section 5).
const ROOM: usize = 1280 - icmp6::HEADER - HEADER;
/// Servers in one RDNSS option.
const SERVERS: usize = 8;

/// `advert` as ICMPv6 messages, checksums not filled in: one, or as many as are needed. Each has the
/// whole header and is complete in itself; each option is whole in one of them. The order is MTU,
/// prefixes, routes, DNS servers, search domains, NAT64 prefixes: what is needed most comes first.
pub fn router_advertisements(advert: &RouterAdvert) -> Vec<Vec<u8>> {
    let header = header(advert);
    let mut messages = vec![header.clone()];
    for option in options(advert) {
        let full = HEADER.saturating_add(ROOM).saturating_sub(option.len());
        match messages.last_mut().filter(|message| message.len() <= full) {
            Some(message) => message.extend(option),
            None => messages.push([header.clone(), option].concat()),
        }
    }
    messages
}

fn header(advert: &RouterAdvert) -> Vec<u8> {
    let lifetime = u16::try_from(advert.router_lifetime.as_secs()).unwrap_or(u16::MAX);
    let preference = match lifetime {
        0 => Preference::Medium,
        _ => advert.preference.unwrap_or(Preference::Medium),
    };
    let flags = flag(advert.managed, MANAGED) | flag(advert.other, OTHER) | bits(preference);
    let mut octets = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, advert.hop_limit.unwrap_or(0), flags];
    octets.extend(lifetime.to_be_bytes());
    octets.extend(milliseconds(advert.reachable_time));
    octets.extend(milliseconds(advert.retrans_timer));
    octets
}

fn options(advert: &RouterAdvert) -> impl Iterator<Item = Vec<u8>> {
    let mtu = advert.mtu.map(|mtu| option(MTU, &[&[0; 2], &mtu.to_be_bytes()]));
    mtu.into_iter()
        .chain(advert.prefixes.iter().map(prefix))
        .chain(advert.routes.iter().map(route))
        .chain(advert.rdnss.iter().flat_map(rdnss))
        .chain(advert.dnssl.iter().flat_map(dnssl))
        .chain(advert.pref64.iter().filter_map(pref64))
}

/// An option of this body, padded with zeros. All that are made here fit [`ROOM`].
fn option(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut octets = [&[kind, 0], body.concat().as_slice()].concat();
    let units = octets.len().div_ceil(8);
    octets.resize(units.saturating_mul(8), 0);
    if let Some(length) = octets.get_mut(1) {
        *length = u8::try_from(units).unwrap_or(u8::MAX);
    }
    octets
}

const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// RFC 4191 section 2.1, where it is in a flags octet.
const fn bits(preference: Preference) -> u8 {
    match preference {
        Preference::Medium => 0b00 << 3,
        Preference::High => 0b01 << 3,
        Preference::Low => 0b11 << 3,
    }
}

fn milliseconds(time: Option<Duration>) -> [u8; 4] {
    u32::try_from(time.unwrap_or_default().as_millis()).unwrap_or(u32::MAX).to_be_bytes()
}

const fn seconds(lifetime: Lifetime) -> [u8; 4] {
    lifetime.secs().to_be_bytes()
}

fn prefix(pio: &PrefixInformation) -> Vec<u8> {
    let flags = flag(pio.on_link, ON_LINK) | flag(pio.autonomous, AUTONOMOUS);
    let head = [pio.prefix.prefix_len(), flags];
    let (valid, preferred) = (seconds(pio.valid), seconds(pio.preferred));
    option(
        PREFIX_INFORMATION,
        &[&head, &valid, &preferred, &[0; 4], &pio.prefix.trunc().addr().octets()],
    )
}

/// With as much of the prefix as its length needs.
fn route(rio: &RouteInformation) -> Vec<u8> {
    let length = rio.prefix.prefix_len();
    let address = rio.prefix.trunc().addr().octets();
    let (high, _) = address.split_at(8);
    let needed = match length {
        0 => &[],
        1..=64 => high,
        _ => &address[..],
    };
    option(ROUTE_INFORMATION, &[&[length, bits(rio.preference)], &seconds(rio.lifetime), needed])
}

fn rdnss(rdnss: &Rdnss) -> impl Iterator<Item = Vec<u8>> {
    let lifetime = seconds(rdnss.lifetime);
    rdnss.servers.chunks(SERVERS).map(move |servers| {
        let servers: Vec<u8> = servers.iter().flat_map(Ipv6Addr::octets).collect();
        option(RECURSIVE_DNS_SERVER, &[&[0; 2], &lifetime, &servers])
    })
}

/// As many options as the names need.
fn dnssl(dnssl: &Dnssl) -> Vec<Vec<u8>> {
    const MOST: usize = ROOM - 8;
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for name in &dnssl.names {
        let name = wire_name(name);
        match parts.last_mut().filter(|part| part.len().saturating_add(name.len()) <= MOST) {
            Some(part) => part.extend(name),
            None => parts.push(name),
        }
    }
    let lifetime = seconds(dnssl.lifetime);
    parts.iter().map(|part| option(DNS_SEARCH_LIST, &[&[0; 2], &lifetime, part])).collect()
}

/// Without compression (RFC 8106 section 5.2).
fn wire_name(name: &HostName) -> Vec<u8> {
    let mut octets = Vec::new();
    let name = name.as_str();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(0));
        octets.extend(label.bytes());
    }
    octets.push(0);
    octets
}

/// `None` of a prefix whose length the option has no code for.
fn pref64(pref64: &Pref64) -> Option<Vec<u8>> {
    let length = pref64.prefix.prefix_len();
    let code = Pref64::LENGTHS.iter().position(|l| *l == length)?;
    let scaled = u16::try_from(pref64.lifetime.secs()).unwrap_or(u16::MAX) & !0b111;
    let scaled = scaled | u16::try_from(code).ok()?;
    let address = pref64.prefix.trunc().addr().octets();
    let (high, _) = address.split_at(12);
    Some(option(NAT64_PREFIX, &[&scaled.to_be_bytes(), high]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u32) -> Lifetime {
        Lifetime::from_secs(seconds)
    }

    /// By hand, of RFC 4861 section 4.2 and 4.6, RFC 4191 section 2.3, RFC 8106 section 5 and RFC
    /// 8781 section 4.
    #[test]
    fn to_the_octet() {
        let advert = RouterAdvert {
            hop_limit: Some(64),
            managed: true,
            preference: Some(Preference::Low),
            router_lifetime: Duration::from_secs(1800),
            reachable_time: Some(Duration::from_secs(30)),
            retrans_timer: Some(Duration::from_secs(1)),
            mtu: Some(1280),
            prefixes: vec![PrefixInformation {
                prefix: "2001:db8::/64".parse().unwrap(),
                on_link: true,
                autonomous: true,
                valid: seconds(2_592_000),
                preferred: seconds(604_800),
            }],
            routes: vec![RouteInformation {
                prefix: "2001:db8:1::/48".parse().unwrap(),
                preference: Preference::High,
                lifetime: seconds(600),
            }],
            rdnss: vec![Rdnss {
                servers: vec!["2001:db8::53".parse().unwrap()],
                lifetime: seconds(1),
            }],
            dnssl: vec![Dnssl { names: vec!["a.bc.".parse().unwrap()], lifetime: seconds(2) }],
            pref64: vec![Pref64 {
                prefix: "64:ff9b::/96".parse().unwrap(),
                lifetime: seconds(1800),
            }],
            ..RouterAdvert::default()
        };
        let expected = [
            &[134, 0, 0, 0, 64, 0x98, 0x07, 0x08, 0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8][..],
            &[5, 1, 0, 0, 0, 0, 5, 0],
            &[3, 4, 64, 0xc0, 0, 0x27, 0x8d, 0, 0, 0x09, 0x3a, 0x80, 0, 0, 0, 0],
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[24, 2, 48, 0x08, 0, 0, 2, 0x58, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0],
            &[25, 3, 0, 0, 0, 0, 0, 1, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
            &[31, 2, 0, 0, 0, 0, 0, 2, 1, b'a', 2, b'b', b'c', 0, 0, 0],
            &[38, 2, 0x07, 0x08, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(router_advertisements(&advert), [expected.concat()]);
    }

    #[test]
    fn lifetime_zero_has_preference_medium() {
        let advert = RouterAdvert { preference: Some(Preference::High), ..RouterAdvert::default() };
        let messages = router_advertisements(&advert);
        assert_eq!(messages, [[&[134][..], &[0; 15]].concat()]);
    }
}
