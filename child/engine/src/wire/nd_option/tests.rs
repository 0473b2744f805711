#![allow(clippy::arithmetic_side_effects, reason = "small numbers of our own")]

use proptest::prelude::*;

use super::*;
use crate::wire::router_advert::parse;

fn seconds(lifetime: u32) -> Lifetime {
    Lifetime::from_secs(lifetime)
}

/// What a message with these options says.
fn advert(options: &[&[u8]]) -> RouterAdvert {
    let header = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    parse(&[&header[..], &options.concat()].concat()).unwrap()
}

/// An option of this type and body, padded with zeros.
fn option(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut option = [&[kind, 0], &body.concat()[..]].concat();
    option.resize(option.len().next_multiple_of(8), 0);
    option[1] = u8::try_from(option.len() / 8).unwrap();
    option
}

fn network(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

fn address(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

const MALFORMED: Skipped = Skipped { unknown: 0, malformed: 1, excess: 0 };
const EXCESS: Skipped = Skipped { unknown: 0, malformed: 0, excess: 1 };
const NONE: Skipped = Skipped { unknown: 0, malformed: 0, excess: 0 };

fn prefix_option(length: u8, flags: u8) -> Vec<u8> {
    let rest = [0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 9, 9, 9, 9];
    option(3, &[&[length, flags], &rest, &address("2001:db8:1:2:3:4:5:6")])
}

#[test]
fn prefix_information() {
    let prefix = advert(&[&prefix_option(64, 0xff)]).prefixes[0];
    assert_eq!(prefix.prefix, network("2001:db8:1:2::/64"));
    assert_eq!((prefix.valid, prefix.preferred), (seconds(86_400), seconds(14_400)));
    for (flags, on_link, autonomous) in
        [(0, false, false), (0x80, true, false), (0x40, false, true), (0x3f, false, false)]
    {
        let prefix = advert(&[&prefix_option(64, flags)]).prefixes[0];
        assert_eq!((prefix.on_link, prefix.autonomous), (on_link, autonomous), "{flags:x}");
    }
    for length in 0..=u8::MAX {
        let advert = advert(&[&prefix_option(length, 0)]);
        let found = advert.prefixes.first().map(|prefix| prefix.prefix.prefix_len());
        assert_eq!(found, (length <= 128).then_some(length));
        assert_eq!(advert.skipped, if length <= 128 { NONE } else { MALFORMED });
    }
}

/// Every length of the options that have one only, and of those that nobody knows (F25).
#[test]
fn lengths() {
    for kind in 0..=u8::MAX {
        for units in 1..=u8::MAX {
            let mut octets = vec![0x20; usize::from(units) * 8];
            octets[..2].copy_from_slice(&[kind, units]);
            // A second option shows that the walk goes on at the right place.
            let advert = advert(&[&octets, &prefix_option(48, 0)]);
            assert_eq!(advert.prefixes.last().unwrap().prefix, network("2001:db8:1::/48"));
            let expected = match (kind, units) {
                (1 | 2, _) | (3, 4) | (5, 1) | (24, 2 | 3) | (38, 2) => NONE,
                (25, _) if units >= 3 && units % 2 == 1 => {
                    Skipped { excess: u16::from(units > 17), ..NONE }
                }
                (3 | 5 | 24 | 25 | 31 | 38, _) => MALFORMED,
                _ => Skipped { unknown: 1, ..NONE },
            };
            assert_eq!(advert.skipped, expected, "type {kind} length {units}");
        }
    }
}

#[test]
fn the_last_mtu_counts() {
    let mtu = |mtu: u32| option(5, &[&[0; 2], &mtu.to_be_bytes()]);
    assert_eq!(advert(&[&mtu(1280), &mtu(9000)]).mtu, Some(9000));
    assert_eq!(advert(&[&mtu(1280), &option(5, &[&[0; 14]])]).mtu, Some(1280));
    assert_eq!(advert(&[&mtu(0)]).mtu, Some(0));
}

/// Every prefix length with every option length (F10): exactly what RFC 4191 section 2.3 allows
/// (CVE-2024-5564), and no octet of the next option in the prefix (CVE-2026-74598).
#[test]
fn route_information_lengths() {
    let next = prefix_option(64, 0);
    for length in 0..=u8::MAX {
        for units in 1..=u8::MAX {
            let mut octets = vec![0xff; usize::from(units) * 8];
            octets[..4].copy_from_slice(&[24, units, length, 0]);
            let advert = advert(&[&octets, &next]);
            let allowed = match length {
                0 => units <= 3,
                1..=64 => units == 2 || units == 3,
                65..=128 => units == 3,
                _ => false,
            };
            let ones = Ipv6Addr::from([0xff; 16]);
            let net = allowed.then(|| Ipv6Net::new(ones, length).unwrap().trunc());
            let found: Vec<_> = advert.routes.iter().map(|route| route.prefix).collect();
            assert_eq!(found, Vec::from_iter(net), "prefix length {length}, length {units}");
            assert_eq!(advert.skipped, if allowed { NONE } else { MALFORMED });
            assert_eq!(advert.prefixes.len(), 1);
        }
    }
    // Length 0 is the end of the whole message.
    let zero = [&[134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0][..], &[0; 6]].concat();
    assert_eq!(parse(&zero), Err(Malformed::OptionLength));
}

#[test]
fn route_information_preference_and_lifetime() {
    use Preference::{High, Low, Medium};
    for (flags, preference) in [
        (0x00, Some(Medium)),
        (0x08, Some(High)),
        (0x10, None),
        (0x18, Some(Low)),
        (0xe7, Some(Medium)),
    ] {
        let route = option(24, &[&[0, flags], &[0, 0, 0, 200]]);
        let advert = advert(&[&route]);
        let expected = preference.map(|preference| RouteInformation {
            prefix: network("::/0"),
            preference,
            lifetime: seconds(200),
        });
        assert_eq!(advert.routes, Vec::from_iter(expected), "flags {flags:x}");
    }
}

fn rdnss_option(servers: &[&str]) -> Vec<u8> {
    let servers: Vec<_> = servers.iter().flat_map(|server| address(server)).collect();
    option(25, &[&[0, 0, 0, 0, 2, 0x58], &servers])
}

#[test]
fn rdnss_keeps_unicast_servers() {
    let all = ["2001:db8::53", "ff02::1", "fe80::53", "::", "::1", "::ffff:192.0.2.1", "fd00::53"];
    let advert = advert(&[&rdnss_option(&all), &rdnss_option(&["ff02::1"])]);
    let servers = ["2001:db8::53", "fe80::53", "fd00::53"].map(|s| s.parse().unwrap()).to_vec();
    assert_eq!(advert.rdnss, [Rdnss { servers, lifetime: seconds(600) }]);
    assert_eq!(advert.skipped, MALFORMED);
}

/// CVE-2022-27881: more servers than there is room for.
#[test]
fn rdnss_of_many_servers() {
    for count in [1, 7, 8, 9, 127] {
        let servers: Vec<_> = (0..count).map(|i| format!("2001:db8::{i:x}")).collect();
        let servers: Vec<_> = servers.iter().map(String::as_str).collect();
        let advert = advert(&[&rdnss_option(&servers)]);
        let kept: Vec<_> = servers.iter().take(8).map(|s| s.parse::<Ipv6Addr>().unwrap()).collect();
        assert_eq!(advert.rdnss[0].servers, kept);
        assert_eq!(advert.skipped, if count > 8 { EXCESS } else { NONE });
    }
}

/// CVE-2020-16898: the second half of a server is no option.
#[test]
fn rdnss_of_even_length() {
    let inner = prefix_option(64, 0xc0);
    for servers in 1..=3 {
        let body = [&[0; 6][..], &inner.repeat(servers)[..servers * 16 - 8]].concat();
        let advert = advert(&[&option(25, &[&body])]);
        assert_eq!((advert.prefixes.len(), advert.skipped), (0, MALFORMED));
    }
}

/// What a search list of these octets says.
fn search_list(names: &[u8]) -> (Vec<String>, Skipped) {
    let advert = advert(&[&option(31, &[&[0, 0, 0, 0, 2, 0x58], names])]);
    let names = advert.dnssl.iter().flat_map(|dnssl| dnssl.names.clone()).map(String::from);
    (names.collect(), advert.skipped)
}

/// Names as octets, each with its final zero.
fn wire(names: &[&[&[u8]]]) -> Vec<u8> {
    let mut octets = Vec::new();
    for name in names {
        for label in *name {
            octets.push(u8::try_from(label.len()).unwrap());
            octets.extend_from_slice(label);
        }
        octets.push(0);
    }
    octets
}

#[test]
fn dnssl_names() {
    let names = wire(&[&[b"example", b"com"], &[b"a-b_c", b"Example", b"ORG"], &[b"x"]]);
    let expected = ["example.com", "a-b_c.example.org", "x"].map(String::from).to_vec();
    assert_eq!(search_list(&names), (expected, NONE));
    let many: Vec<&[&[u8]]> = vec![&[b"a", b"example"]; 30];
    let (names, skipped) = search_list(&wire(&many));
    assert_eq!((names.len(), skipped), (8, EXCESS));
}

/// CVE-2025-14558: every octet in every place of a label, the dot too.
#[test]
fn dnssl_of_any_octet() {
    for octet in 0..=u8::MAX {
        let inner = octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'-';
        let outer = inner && octet != b'-';
        for (label, allowed) in [
            ([b'a', octet, b'b'], inner),
            ([octet, b'a', b'b'], outer),
            ([b'a', b'b', octet], outer),
        ] {
            let (names, skipped) = search_list(&wire(&[&[b"ok"], &[&label, b"com"]]));
            let count = if allowed { 2 } else { 0 };
            assert_eq!((names.len(), skipped), (count, if allowed { NONE } else { MALFORMED }));
        }
    }
}

/// CVE-2020-25583, CVE-2014-3554, CVE-2011-3601: lengths that lie.
#[test]
fn dnssl_of_wrong_shape() {
    let longest = wire(&[&[&[b'a'; 63], &[b'a'; 63], &[b'a'; 63], &[b'a'; 61]]]);
    let (names, skipped) = search_list(&longest);
    assert_eq!((names[0].len(), skipped), (253, NONE));
    let too_long = wire(&[&[&[b'a'; 63], &[b'a'; 63], &[b'a'; 63], &[b'a'; 62]]]);
    let mut wrong = vec![
        (too_long, "a name of 256 octets"),
        (b"\x02ok\0\0\0\0\0\0\x02no\0".to_vec(), "a name after the padding"),
        (b"\x02ok\x3fa".to_vec(), "a label beyond the end"),
        (b"\x02ok\0\x08endless".to_vec(), "no zero"),
    ];
    for length in 64..=u8::MAX {
        wrong
            .push(([&[2, b'o', b'k', length][..], &[b'a'; 255]].concat(), "pointer or long label"));
    }
    for (octets, what) in wrong {
        assert_eq!(search_list(&octets), (Vec::new(), MALFORMED), "{what}");
    }
    assert_eq!(search_list(&[]), (Vec::new(), MALFORMED));
    assert_eq!(search_list(&[0; 10]), (Vec::new(), MALFORMED));
    assert_eq!(search_list(b"\x03com\x03123\0"), (Vec::new(), MALFORMED));
}

/// CVE-2014-3954: as much text as fits.
#[test]
fn dnssl_of_4_kib() {
    let names: Vec<&[&[u8]]> = vec![&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 58]]; 7];
    let option = option(31, &[&[0; 6], &wire(&names)]);
    let advert = advert(&[&option, &option, &option]);
    assert_eq!(advert.dnssl.len(), 3);
    assert!(advert.dnssl.iter().all(|dnssl| dnssl.names.len() == 7));
}

#[test]
fn pref64_codes_and_lifetimes() {
    let sent = address("64:ff9b:1:2:3:4::");
    for (code, expected) in [
        (0, Some("64:ff9b:1:2:3:4::/96")),
        (1, Some("64:ff9b:1:2::/64")),
        (2, Some("64:ff9b:1::/56")),
        (3, Some("64:ff9b:1::/48")),
        (4, Some("64:ff9b::/40")),
        (5, Some("64:ff9b::/32")),
        (6, None),
        (7, None),
    ] {
        for lifetime in [0, 8, 1800, 65_528_u16] {
            let advert = advert(&[&option(38, &[&(lifetime | code).to_be_bytes(), &sent[..12]])]);
            let expected = expected.map(|prefix| Pref64 {
                prefix: network(prefix),
                lifetime: seconds(lifetime.into()),
            });
            assert_eq!(advert.pref64, Vec::from_iter(expected));
            assert_eq!(advert.skipped, if expected.is_some() { NONE } else { MALFORMED });
        }
    }
}

/// B20, CVE-2014-2309: of each kind only so many, the first ones.
#[test]
fn of_each_kind_only_so_many() {
    let pref64 = option(38, &[&[0; 14]]);
    let dnssl = option(31, &[&[0; 6], &wire(&[&[b"example"]])]);
    let route = option(24, &[&[0; 6]]);
    let (prefix, rdnss) = (prefix_option(64, 0), rdnss_option(&["2001:db8::53"]));
    for (option, kept) in [(&prefix, 32), (&route, 64), (&rdnss, 8), (&dnssl, 8), (&pref64, 8)] {
        for count in [kept, kept + 1, 200] {
            let a = advert(&vec![&option[..]; count]);
            let lists = [a.prefixes.len(), a.routes.len(), a.rdnss.len(), a.dnssl.len()];
            assert_eq!(lists.iter().sum::<usize>() + a.pref64.len(), kept);
            assert_eq!(usize::from(a.skipped.excess), count - kept);
        }
    }
}

proptest! {
    /// Whatever the body, one option is either kept or counted, once.
    #[test]
    fn one_option_is_kept_or_counted(kind: u8, body in proptest::collection::vec(any::<u8>(), 6..300)) {
        let a = advert(&[&option(kind, &[&body])]);
        let kept = a.prefixes.len() + a.routes.len() + a.rdnss.len() + a.dnssl.len() + a.pref64.len();
        let skipped = a.skipped.unknown + a.skipped.malformed;
        let ignored = usize::from(kind == 1 || kind == 2) + usize::from(a.mtu.is_some());
        prop_assert_eq!(kept + usize::from(skipped) + ignored, 1);
        prop_assert!(usize::from(a.skipped.excess) <= kept);
    }
}
