use super::*;

/// A header with this flags octet and Router Lifetime, and these options.
fn message(flags: u8, lifetime: u16, options: &[u8]) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let header = [134, 0, 0x12, 0x34, 64, flags, high, low, 0, 0, 0x75, 0x30, 0, 0, 0x03, 0xe8];
    [&header[..], options].concat()
}

/// A prefix option, then an option that nobody knows.
fn two_options() -> Vec<u8> {
    let mut options = vec![0; 48];
    options[..4].copy_from_slice(&[3, 4, 64, 0xc0]);
    options[32..34].copy_from_slice(&[253, 2]);
    options
}

#[test]
fn header() {
    let advert = parse(&message(0x48, 1800, &[])).unwrap();
    let expected = RouterAdvert {
        hop_limit: Some(64),
        other: true,
        preference: Some(Preference::High),
        router_lifetime: Duration::from_secs(1800),
        reachable_time: Some(Duration::from_secs(30)),
        retrans_timer: Some(Duration::from_secs(1)),
        ..RouterAdvert::default()
    };
    assert_eq!(advert, expected);
    assert!(parse(&message(0x80, 65_535, &[])).unwrap().managed);
}

#[test]
fn preference_of_the_default_route() {
    use Preference::{High, Low, Medium};
    for (flags, lifetime, expected) in [
        (0x00, 100, Medium),
        (0x08, 100, High),
        (0x10, 100, Medium),
        (0x18, 100, Low),
        (0xe7, 100, Medium),
        (0x08, 0, Medium),
        (0x18, 0, Medium),
    ] {
        let advert = parse(&message(flags, lifetime, &[])).unwrap();
        assert_eq!(advert.preference, Some(expected), "flags {flags:x}, lifetime {lifetime}");
    }
}

/// The example of RFC 4191 section 3.1: a default route by the header, and one by an option.
#[test]
fn rfc_4191_example() {
    let advert = parse(&message(0, 100, &[24, 1, 0, 0x18, 0, 0, 0, 200])).unwrap();
    assert_eq!(advert.router_lifetime, Duration::from_secs(100));
    assert_eq!(advert.preference, Some(Preference::Medium));
    let [route] = advert.routes[..] else { panic!("one route") };
    assert_eq!(route.prefix.to_string(), "::/0");
    assert_eq!((route.preference, route.lifetime.secs()), (Preference::Low, 200));
}

#[test]
fn unspecified_and_absurd_values() {
    for (reachable, retrans, expected) in [
        (0, 0, (None, None)),
        (1, 99, (Some(1), None)),
        (3_600_000, 100, (Some(3_600_000), Some(100))),
        (3_600_001, 60_000, (None, Some(60_000))),
        (u32::MAX, 60_001, (None, None)),
    ] {
        let mut octets = message(0, 0, &[]);
        octets[4] = 0;
        octets[8..12].copy_from_slice(&u32::to_be_bytes(reachable));
        octets[12..].copy_from_slice(&u32::to_be_bytes(retrans));
        let advert = parse(&octets).unwrap();
        assert_eq!(advert.hop_limit, None);
        let times = (advert.reachable_time, advert.retrans_timer);
        let (reachable, retrans) = expected;
        let expected = (reachable.map(Duration::from_millis), retrans.map(Duration::from_millis));
        assert_eq!(times, expected);
    }
}

#[test]
fn wrong_headers() {
    let good = message(0, 0, &[]);
    for kind in (0..=u8::MAX).filter(|kind| *kind != 134) {
        let octets = [&[kind], &good[1..]].concat();
        assert_eq!(parse(&octets), Err(Malformed::NotAnAdvertisement));
    }
    for code in 1..=u8::MAX {
        assert_eq!(parse(&[&[134, code], &good[2..]].concat()), Err(Malformed::Code));
    }
}

/// CVE-2011-3604: every prefix of a valid message.
#[test]
fn truncated_anywhere() {
    let whole = message(0, 1800, &two_options());
    for end in 0..whole.len() {
        let expected = match end {
            0..16 => Some(Malformed::TooShort),
            16 | 48 => None,
            _ => Some(Malformed::OptionTruncated),
        };
        assert_eq!(parse(&whole[..end]).err(), expected, "{end} octets");
    }
    assert_eq!(parse(&whole).unwrap().prefixes.len(), 1);
}

/// CVE-2026-41285, CVE-2026-14258: a length of 0, first, in the middle, last.
#[test]
fn option_of_length_0() {
    let options = two_options();
    for at in [0, 32, 48] {
        for kind in 0..=u8::MAX {
            let mut octets = message(0, 1800, &options[..at]);
            octets.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
            octets.extend_from_slice(&options[at..]);
            assert_eq!(parse(&octets), Err(Malformed::OptionLength));
        }
    }
}

/// CVE-2020-25577, CVE-2022-27882: a length beyond the end.
#[test]
fn option_beyond_the_end() {
    for kind in 0..=u8::MAX {
        for units in 4..=u8::MAX {
            let mut octets = message(0, 1800, &[0; 24]);
            octets[16..18].copy_from_slice(&[kind, units]);
            assert_eq!(parse(&octets), Err(Malformed::OptionTruncated));
        }
    }
}

/// 64 KiB of the shortest options (edk2 issue 8169): given up after 256.
#[test]
fn too_many_options() {
    let options = [253, 1, 0, 0, 0, 0, 0, 0];
    let advert = parse(&message(0, 1800, &options.repeat(256))).unwrap();
    assert_eq!(advert.skipped.unknown, 256);
    for count in [257, 8190] {
        assert_eq!(
            parse(&message(0, 1800, &options.repeat(count))),
            Err(Malformed::TooManyOptions)
        );
    }
    let routes = [24, 1, 0, 0, 0, 0, 0, 0].repeat(8190);
    assert_eq!(parse(&message(0, 1800, &routes)), Err(Malformed::TooManyOptions));
}

/// The walk ends with its first error.
#[test]
fn the_walk_ends_with_an_error() {
    assert_eq!(walk(&[253, 0, 253, 1, 0, 0, 0, 0, 0, 0]).count(), 1);
    assert_eq!(walk(&[253, 1, 0, 0, 0, 0, 0, 0].repeat(300)).count(), 257);
}
