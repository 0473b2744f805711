//! Router Advertisements: against a second reading of the RFCs, and there and back.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use isatapd_engine::wire::nd_option::{PrefixInformation, RouteInformation, Skipped};
use isatapd_engine::wire::router_advert::{Malformed, RouterAdvert, parse};
use isatapd_proto::{Lifetime, Preference};

/// The parser takes what the RFCs allow and nothing else, within its caps, and what it took can be
/// written down again.
pub fn check(data: &[u8]) {
    let parsed = parse(data);
    let options = match options(data) {
        Ok(options) => options,
        Err(reason) => return assert_eq!(parsed, Err(reason)),
    };
    let advert = parsed.expect("a valid message");
    check_ranges(&advert);

    let of = |kind: u8| options.iter().filter(move |option| option[0] == kind);
    let prefixes: Vec<_> = of(3).filter_map(|option| expected_prefix(option)).take(32).collect();
    assert_eq!(advert.prefixes, prefixes);
    let routes: Vec<_> = of(24).filter_map(|option| expected_route(option)).take(64).collect();
    assert_eq!(advert.routes, routes);
    let mtu = of(5).rfind(|option| option.len() == 8).map(|option| u32_at(option, 4));
    assert_eq!(advert.mtu, mtu);
    let known = [1, 2, 3, 5, 24, 25, 31, 38];
    let unknown = options.iter().filter(|option| !known.contains(&option[0])).count();
    assert_eq!(usize::from(advert.skipped.unknown), unknown);

    let again = parse(&render(&advert)).expect("our own rendering");
    assert_eq!(again, RouterAdvert { skipped: Skipped::default(), ..advert });
}

fn options(data: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    if data.len() < 2 {
        return Err(Malformed::TooShort);
    } else if data[0] != 134 {
        return Err(Malformed::NotAnAdvertisement);
    } else if data[1] != 0 {
        return Err(Malformed::Code);
    } else if data.len() < 16 {
        return Err(Malformed::TooShort);
    }
    let mut found = Vec::new();
    let mut at = 16;
    while at < data.len() {
        if found.len() == 256 {
            return Err(Malformed::TooManyOptions);
        } else if at + 1 == data.len() {
            return Err(Malformed::OptionTruncated);
        }
        let end = at + 8 * usize::from(data[at + 1]);
        if end == at {
            return Err(Malformed::OptionLength);
        } else if end > data.len() {
            return Err(Malformed::OptionTruncated);
        }
        found.push(&data[at..end]);
        at = end;
    }
    Ok(found)
}

fn u32_at(option: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([option[at], option[at + 1], option[at + 2], option[at + 3]])
}

fn masked(sent: &[u8], length: u8) -> Ipv6Net {
    let mut octets = [0; 16];
    octets[..sent.len()].copy_from_slice(sent);
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    Ipv6Net::new_assert(Ipv6Addr::from(u128::from_be_bytes(octets) & mask), length)
}

fn expected_prefix(option: &[u8]) -> Option<PrefixInformation> {
    (option.len() == 32 && option[2] <= 128).then(|| PrefixInformation {
        prefix: masked(&option[16..], option[2]),
        on_link: option[3] >= 128,
        autonomous: option[3] % 128 >= 64,
        valid: Lifetime::from_secs(u32_at(option, 4)),
        preferred: Lifetime::from_secs(u32_at(option, 8)),
    })
}

/// The pairs of prefix length and option length that RFC 4191 section 2.3 allows.
fn expected_route(option: &[u8]) -> Option<RouteInformation> {
    let units = option.len() / 8;
    if !matches!((option[2], units), (0, 1..=3) | (1..=64, 2..=3) | (65..=128, 3)) {
        return None;
    }
    let preference = match option[3] / 8 % 4 {
        0 => Preference::Medium,
        1 => Preference::High,
        3 => Preference::Low,
        _ => return None,
    };
    let lifetime = Lifetime::from_secs(u32_at(option, 4));
    Some(RouteInformation { prefix: masked(&option[8..], option[2]), preference, lifetime })
}

fn check_ranges(advert: &RouterAdvert) {
    assert!(advert.hop_limit != Some(0));
    assert!(advert.preference.is_some());
    assert!(advert.router_lifetime.as_secs() <= 65_535);
    assert!(advert.reachable_time.is_none_or(|t| (1..=3_600_000).contains(&t.as_millis())));
    assert!(advert.retrans_timer.is_none_or(|t| (100..=60_000).contains(&t.as_millis())));
    assert!(advert.rdnss.len() <= 8 && advert.dnssl.len() <= 8 && advert.pref64.len() <= 8);
    for rdnss in &advert.rdnss {
        assert!((1..=8).contains(&rdnss.servers.len()));
        assert!(rdnss.servers.iter().all(|server| !server.is_multicast()));
    }
    for name in advert.dnssl.iter().flat_map(|dnssl| &*dnssl.names) {
        assert!((1..=253).contains(&name.as_str().len()));
        assert!(
            name.as_str()
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        );
    }
    for pref64 in &advert.pref64 {
        assert!([32, 40, 48, 56, 64, 96].contains(&pref64.prefix.prefix_len()));
        assert_eq!(pref64.prefix.trunc(), pref64.prefix);
        assert!(pref64.lifetime.secs() <= 65_528 && pref64.lifetime.secs() % 8 == 0);
    }
}

/// `advert` as octets, each option as short as can be.
pub fn render(advert: &RouterAdvert) -> Vec<u8> {
    let milliseconds = |time: Option<std::time::Duration>| {
        u32::try_from(time.unwrap_or_default().as_millis()).expect("in range").to_be_bytes()
    };
    let flags = u8::from(advert.managed) << 7 | u8::from(advert.other) << 6;
    let flags = flags | prf(advert.preference.unwrap_or(Preference::Medium));
    let lifetime = u16::try_from(advert.router_lifetime.as_secs()).expect("in range");
    let mut octets = vec![134, 0, 0, 0, advert.hop_limit.unwrap_or(0), flags];
    octets.extend(lifetime.to_be_bytes());
    octets.extend(milliseconds(advert.reachable_time));
    octets.extend(milliseconds(advert.retrans_timer));

    if let Some(mtu) = advert.mtu {
        option(&mut octets, 5, &[&[0; 2], &mtu.to_be_bytes()]);
    }
    for pio in &advert.prefixes {
        let flags = u8::from(pio.on_link) << 7 | u8::from(pio.autonomous) << 6;
        let head = [pio.prefix.prefix_len(), flags];
        let lifetimes = [seconds(pio.valid), seconds(pio.preferred), [0; 4]].concat();
        option(&mut octets, 3, &[&head, &lifetimes, &pio.prefix.addr().octets()]);
    }
    for rio in &advert.routes {
        let length = rio.prefix.prefix_len();
        let address = rio.prefix.addr().octets();
        let sent = &address[..usize::from(length).div_ceil(64) * 8];
        option(&mut octets, 24, &[&[length, prf(rio.preference)], &seconds(rio.lifetime), sent]);
    }
    for rdnss in &advert.rdnss {
        let servers: Vec<u8> = rdnss.servers.iter().flat_map(Ipv6Addr::octets).collect();
        option(&mut octets, 25, &[&[0; 2], &seconds(rdnss.lifetime), &servers]);
    }
    for dnssl in &advert.dnssl {
        let names: Vec<u8> = dnssl.names.iter().flat_map(|name| wire_name(name.as_str())).collect();
        option(&mut octets, 31, &[&[0; 2], &seconds(dnssl.lifetime), &names]);
    }
    for pref64 in &advert.pref64 {
        let lengths = [96, 64, 56, 48, 40, 32];
        let code = lengths.iter().position(|length| *length == pref64.prefix.prefix_len());
        let code = u16::try_from(code.expect("one of six")).expect("below 6");
        let scaled = u16::try_from(pref64.lifetime.secs()).expect("in range") | code;
        option(&mut octets, 38, &[&scaled.to_be_bytes(), &pref64.prefix.addr().octets()[..12]]);
    }
    octets
}

/// Adds an option of this type and body, padded with zeros.
pub fn option(octets: &mut Vec<u8>, kind: u8, body: &[&[u8]]) {
    let body = body.concat();
    let units = (body.len() + 2).div_ceil(8);
    octets.extend([kind, u8::try_from(units).expect("an option")]);
    let end = octets.len() + units * 8 - 2;
    octets.extend(&body);
    octets.resize(end, 0);
}

fn prf(preference: Preference) -> u8 {
    match preference {
        Preference::Medium => 0,
        Preference::High => 1 << 3,
        Preference::Low => 3 << 3,
    }
}

fn seconds(lifetime: Lifetime) -> [u8; 4] {
    lifetime.secs().to_be_bytes()
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.bytes());
    }
    octets.push(0);
    octets
}
