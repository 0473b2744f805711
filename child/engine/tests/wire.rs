//! The checks of the fuzz targets, on stable: over the committed seeds, over what is near them, and
//! over arbitrary octets.

#[cfg(test)]
#[path = "../../../tests/fuzz/src"]
#[allow(
    clippy::arithmetic_side_effects,
    unreachable_pub,
    missing_docs,
    reason = "shared with the fuzz targets, where a panic is the verdict"
)]
mod checks {
    pub mod codec_event;
    pub mod codec_request;
    pub mod dns_reply;
    pub mod hosts;
    pub mod resolv_conf;
    pub mod router_advert;
    pub mod router_solicit;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::path::Path;
    use std::time::Duration;

    use ipnet::Ipv6Net;
    use isatapd_engine::wire::build::router_advertisements;
    use isatapd_engine::wire::nd_option::{
        Dnssl, Pref64, PrefixInformation, Rdnss, RouteInformation, Skipped,
    };
    use isatapd_engine::wire::router_advert::{RouterAdvert, parse};
    use isatapd_proto::{HostName, Lifetime, Preference};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::checks;

    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 7] = [
        ("router_advert", checks::router_advert::check),
        ("router_solicit", checks::router_solicit::check),
        ("dns_reply", checks::dns_reply::check),
        ("resolv_conf", checks::resolv_conf::check),
        ("hosts", checks::hosts::check),
        ("codec_request", checks::codec_request::check),
        ("codec_event", checks::codec_event::check),
    ];

    /// Calls `each` with every seed of every target.
    fn for_each_seed(each: impl Fn(fn(&[u8]), Vec<u8>)) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds");
        for (target, check) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(seeds.join(target)).unwrap().collect();
            assert!(!files.is_empty(), "no seeds for {target}");
            for file in files {
                each(check, std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn seeds_and_every_prefix_of_them() {
        for_each_seed(|check, seed| (0..=seed.len()).for_each(|end| check(&seed[..end])));
    }

    #[test]
    fn seeds_with_any_one_octet_changed() {
        for_each_seed(|check, seed| {
            // The long ones repeat what the short ones have.
            for at in 0..seed.len().min(256) {
                let mut seed = seed.clone();
                for value in [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
                    seed[at] = value;
                    check(&seed);
                }
            }
        });
    }

    fn lifetime() -> impl Strategy<Value = Lifetime> {
        prop_oneof![Just(0), Just(u32::MAX), any::<u32>()].prop_map(Lifetime::from_secs)
    }

    fn network(lengths: impl Strategy<Value = u8>) -> impl Strategy<Value = Ipv6Net> {
        let address = any::<u128>().prop_map(Ipv6Addr::from);
        (address, lengths)
            .prop_map(|(address, length)| Ipv6Net::new_assert(address, length).trunc())
    }

    fn preference() -> impl Strategy<Value = Preference> {
        select(&[Preference::Low, Preference::Medium, Preference::High][..])
    }

    prop_compose! {
        fn prefix()(
            prefix in network(0..=128u8),
            on_link: bool,
            autonomous: bool,
            valid in lifetime(),
            preferred in lifetime(),
        ) -> PrefixInformation {
            PrefixInformation { prefix, on_link, autonomous, valid, preferred }
        }
    }

    prop_compose! {
        fn route()(
            prefix in network(0..=128u8),
            preference in preference(),
            lifetime in lifetime(),
        ) -> RouteInformation {
            RouteInformation { prefix, preference, lifetime }
        }
    }

    fn rdnss() -> impl Strategy<Value = Rdnss> {
        let server = (0x2000_u16..0xff00, any::<[u16; 7]>()).prop_map(|(first, rest)| {
            let [b, c, d, e, f, g, h] = rest;
            Ipv6Addr::new(first, b, c, d, e, f, g, h)
        });
        (vec(server, 1..=8), lifetime()).prop_map(|(servers, lifetime)| Rdnss { servers, lifetime })
    }

    fn dnssl() -> impl Strategy<Value = Dnssl> {
        let label = "[a-z_]([a-z0-9_-]{0,20}[a-z0-9_])?";
        let name = vec(label, 1..=8).prop_map(|labels| labels.join(".").parse().unwrap());
        (vec(name, 1..=8), lifetime()).prop_map(|(names, lifetime)| Dnssl { names, lifetime })
    }

    fn pref64() -> impl Strategy<Value = Pref64> {
        (network(select(&[96, 64, 56, 48, 40, 32][..])), 0..=65_535_u32).prop_map(
            |(prefix, seconds)| Pref64 { prefix, lifetime: Lifetime::from_secs(seconds & !7) },
        )
    }

    prop_compose! {
        fn header()(
            hop_limit in option::of(1..=u8::MAX),
            managed: bool,
            other: bool,
            preference in preference(),
            router_lifetime: u16,
            reachable_time in option::of(1..=3_600_000_u64),
            retrans_timer in option::of(100..=60_000_u64),
        ) -> RouterAdvert {
            let ignored = router_lifetime == 0;
            RouterAdvert {
                hop_limit,
                managed,
                other,
                preference: Some(if ignored { Preference::Medium } else { preference }),
                router_lifetime: Duration::from_secs(router_lifetime.into()),
                reachable_time: reachable_time.map(Duration::from_millis),
                retrans_timer: retrans_timer.map(Duration::from_millis),
                ..RouterAdvert::default()
            }
        }
    }

    prop_compose! {
        fn advert()(
            header in header(),
            mtu: Option<u32>,
            prefixes in vec(prefix(), 0..=32),
            routes in vec(route(), 0..=64),
            rdnss in vec(rdnss(), 0..=8),
            dnssl in vec(dnssl(), 0..=8),
            pref64 in vec(pref64(), 0..=8),
        ) -> RouterAdvert {
            RouterAdvert { mtu, prefixes, routes, rdnss, dnssl, pref64, ..header }
        }
    }

    /// A search list may take several options.
    fn names(advert: &RouterAdvert) -> Vec<(HostName, Lifetime)> {
        let of = |o: &Dnssl| o.names.iter().map(|n| (n.clone(), o.lifetime)).collect::<Vec<_>>();
        advert.dnssl.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn any_advertisement_comes_back(advert in advert()) {
            prop_assert_eq!(parse(&checks::router_advert::render(&advert)), Ok(advert));
        }

        /// F24: nothing is lost, doubled or too long, however many advertisements it takes.
        #[test]
        fn any_advertisement_is_built(advert in advert()) {
            let mut built = RouterAdvert { skipped: Skipped::default(), ..RouterAdvert::default() };
            for message in router_advertisements(&advert) {
                prop_assert!(message.len() <= 1240, "{} octets", message.len());
                let parsed = parse(&message).unwrap();
                prop_assert_eq!(parsed.skipped, Skipped::default());
                let collected = built;
                built = parsed.clone();
                prop_assert!(collected.mtu.is_none() || built.mtu.is_none());
                built.mtu = collected.mtu.or(parsed.mtu);
                built.prefixes = [collected.prefixes, parsed.prefixes].concat();
                built.routes = [collected.routes, parsed.routes].concat();
                built.rdnss = [collected.rdnss, parsed.rdnss].concat();
                built.dnssl = [collected.dnssl, parsed.dnssl].concat();
                built.pref64 = [collected.pref64, parsed.pref64].concat();
            }
            prop_assert_eq!(names(&built), names(&advert));
            built.dnssl.clone_from(&advert.dnssl);
            prop_assert_eq!(built, advert);
        }

        #[test]
        fn any_octets(octets in vec(any::<u8>(), 0..600)) {
            for (_, check) in TARGETS {
                check(&octets);
            }
        }

        /// Any options after a good header.
        #[test]
        fn any_options(
            header in any::<[u8; 14]>(),
            options in vec(
                (select(&[3, 5, 24, 25, 31, 38, 99][..]), vec(any::<u8>(), 0..70)),
                0..40,
            ),
        ) {
            let mut octets = [&[134, 0][..], &header[..]].concat();
            for (kind, body) in options {
                checks::router_advert::option(&mut octets, kind, &[&body]);
            }
            checks::router_advert::check(&octets);
        }
    }
}
