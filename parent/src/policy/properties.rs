//! Whatever a child wishes: what is approved is inside the promise of SECURITY.md.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatapd_proto::{MAX_ADDRESSES, MAX_ROUTERS, MAX_ROUTES};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

/// Values that a type takes, out of those that it may not.
fn valid<T: TryFrom<U> + std::fmt::Debug, U: Copy + std::fmt::Debug>(
    any: impl Strategy<Value = U>,
) -> impl Strategy<Value = T> {
    any.prop_filter_map("no such value", |value| T::try_from(value).ok())
}

/// Few, so that they meet: among them our own, and neighbours.
fn v4() -> impl Strategy<Value = UnicastV4> {
    valid(prop_oneof![(0_u8..8).prop_map(|last| Ipv4Addr::new(10, 0, 0, last)), any::<Ipv4Addr>(),])
}

fn slot() -> impl Strategy<Value = Slot> {
    valid(prop_oneof![0_u8..4, 0_u8..64])
}

fn router() -> impl Strategy<Value = RouterWish> {
    (slot(), v4()).prop_map(|(slot, router)| RouterWish { slot, router })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX - 1), Just(u32::MAX), any::<u32>()]
        .prop_map(Lifetime::from_secs)
}

/// Octets of every kind of network, our own 6to4 one too.
fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let first = prop_oneof![
        Just(0x2002),
        Just(0x2001),
        Just(0xfd00),
        Just(0xfe80),
        Just(0xff02),
        Just(0x64),
        Just(0),
        any::<u16>()
    ];
    let second = prop_oneof![Just(0x0a00), Just(0xff9b), Just(0), any::<u16>()];
    let third = prop_oneof![Just(2), Just(0), any::<u16>()];
    let rest = prop_oneof![Just(0), any::<u128>()];
    (first, second, third, rest).prop_map(|(a, b, c, rest)| {
        let high = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits();
        Ipv6Addr::from_bits(high | (rest & (u128::MAX >> 48)))
    })
}

fn address() -> impl Strategy<Value = AddressWish> {
    let prefix = v6().prop_map(|net| Ipv6Addr::from_bits(net.to_bits() >> 64 << 64));
    (valid(prefix), any::<bool>(), lifetime(), lifetime()).prop_map(
        |(prefix, on_link, valid, preferred)| AddressWish { prefix, on_link, valid, preferred },
    )
}

fn destination() -> impl Strategy<Value = RouteDestination> {
    let length = prop_oneof![Just(0), Just(48), Just(64), 0_u8..=128];
    let net = (v6(), length)
        .prop_filter_map("no such length", |(net, len)| Some(Ipv6Net::new(net, len).ok()?.trunc()));
    prop_oneof![Just(RouteDestination::DEFAULT), valid(net)]
}

fn route() -> impl Strategy<Value = RouteWish> {
    let form = prop_oneof![Just(UBit::Local), Just(UBit::Universal)];
    let preference =
        prop_oneof![Just(Preference::Low), Just(Preference::Medium), Just(Preference::High)];
    let mtu = valid(prop_oneof![Just(1280_u16), Just(1480), Just(1481), any::<u16>()]);
    let hop_limit = prop_oneof![Just(0), Just(1), any::<u8>()];
    let next_hop = (slot(), form).prop_map(|(slot, form)| NextHop { slot, form });
    let how = (preference, any::<bool>());
    (destination(), of(next_hop), how, lifetime(), of(mtu), of(hop_limit)).prop_map(
        |(destination, next_hop, (preference, reachable), lifetime, mtu, hop_limit)| RouteWish {
            destination,
            next_hop,
            preference,
            lifetime,
            mtu,
            hop_limit,
            reachable,
        },
    )
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let mtu = valid(prop_oneof![Just(1280_u16), Just(1480), any::<u16>()]);
    let backend = prop_oneof![Just(Backend::Kernel), Just(Backend::Tun)];
    (v4(), mtu, backend).prop_map(|(locator, mtu, backend)| Tunnel { locator, mtu, backend })
}

fn routers() -> impl Strategy<Value = Routers> {
    vec(router(), 0..=MAX_ROUTERS).prop_map(|mut wishes| {
        // One at a time, so that lists that are approved are long too.
        while Routers::judge(&wishes).is_err() {
            wishes.pop();
        }
        Routers::judge(&wishes).unwrap_or_default()
    })
}

/// As a longer list is refused for one wish, all short lists and each wish alone are judged too.
fn parts<T>(wishes: &[T]) -> impl Iterator<Item = &[T]> {
    wishes.chunks(1).chain(wishes.chunks(2)).chain([wishes])
}

/// 2000::/3 or fc00::/7, and not our own 6to4 prefix.
fn is_ours_to_use(net: Ipv6Net, locator: UnicastV4) -> bool {
    let [a, b, c, d] = locator.get().octets();
    let octets = net.addr().octets();
    let global = net.prefix_len() >= 3 && octets[0] >> 5 == 0b001;
    let local = net.prefix_len() >= 7 && octets[0] >> 1 == 0b111_1110;
    let loops = net.prefix_len() >= 48 && octets.starts_with(&[0x20, 0x02, a, b, c, d]);
    (global || local) && !loops
}

proptest! {
    // Each has a list, of which each wish is a case.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn routers_are_what_was_asked_and_no_two_alike(wishes in vec(router(), 0..=MAX_ROUTERS)) {
        for part in parts(&wishes) {
            let Ok(approved) = Routers::judge(part) else { continue };
            prop_assert_eq!(approved.list(), part);
            let slots: BTreeSet<_> = part.iter().map(|w| w.slot).collect();
            let addresses: BTreeSet<_> = part.iter().map(|w| w.router).collect();
            prop_assert_eq!((slots.len(), addresses.len()), (part.len(), part.len()));
            for wish in part {
                prop_assert!(!matches!(wish.router.get().octets()[0], 0 | 127 | 224..));
            }
        }
    }

    #[test]
    fn addresses_are_ours(wishes in vec(address(), 0..=MAX_ADDRESSES), tunnel in tunnel()) {
        let facts = Facts { routers: &[], tunnel: Some(tunnel) };
        for part in parts(&wishes) {
            let Ok(approved) = Addresses::judge(part, facts) else { continue };
            let formed: BTreeSet<_> = approved
                .list()
                .iter()
                .map(|wish| Addresses::formed(wish.prefix, tunnel.locator))
                .collect();
            prop_assert_eq!(formed.len(), part.len());
            for wish in approved.list() {
                let address = Addresses::formed(wish.prefix, tunnel.locator);
                let own = (tunnel.locator.get(), UBit::of(tunnel.locator.get()));
                prop_assert_eq!(isatap::embedded(address), Some(own));
                prop_assert!(wish.prefix.net().contains(&address));
                prop_assert!(is_ours_to_use(wish.prefix.net(), tunnel.locator), "{}", address);
                prop_assert!(!wish.valid.is_zero() && wish.preferred <= wish.valid);
            }
        }
    }

    #[test]
    fn routes_lead_to_routers_of_the_list(
        wishes in vec(route(), 0..=MAX_ROUTES),
        routers in routers(),
        tunnel in tunnel(),
    ) {
        let facts = Facts { routers: routers.list(), tunnel: Some(tunnel) };
        for part in parts(&wishes) {
            let Ok(approved) = Routes::judge(part, facts) else { continue };
            prop_assert_eq!(approved.list().len(), part.len());
            let keys: BTreeSet<_> =
                approved.list().iter().map(|r| (r.destination(), r.metric(Rank::default()))).collect();
            prop_assert_eq!(keys.len(), part.len(), "the kernel would merge two");
            for (route, wish) in approved.list().iter().zip(part) {
                check_route(route, wish, &routers, tunnel)?;
            }
        }
    }

    #[test]
    fn no_more_dns_sockets_than_the_bucket_has(
        asked in vec((0_u8..3, 0_u64..100), 0..200),
        servers in 0_u8..=3,
    ) {
        let servers: Vec<SocketAddr> =
            (0..servers).map(|n| (Ipv4Addr::new(10, 0, 0, n), 53).into()).collect();
        let start = Instant::now();
        let mut bucket = Bucket::new(8, Duration::from_millis(30));
        let (mut elapsed, mut opened) = (Duration::ZERO, 0_u128);
        for (server, pause) in asked {
            elapsed = elapsed.saturating_add(Duration::from_millis(pause / 10));
            let now = start.checked_add(elapsed).unwrap_or(start);
            let Ok(index) = server.try_into() else { continue };
            let ask = (DnsId(0), index, Transport::Udp);
            if let Ok(socket) = DnsSocket::judge(ask, &servers, &mut bucket, now) {
                prop_assert_eq!(Some(&socket.server()), servers.get(usize::from(server)));
                opened = opened.saturating_add(1);
            }
            prop_assert!(opened.saturating_sub(9) <= elapsed.as_millis() / 30);
        }
    }
}

fn check_route(
    route: &Route,
    wish: &RouteWish,
    routers: &Routers,
    tunnel: Tunnel,
) -> Result<(), TestCaseError> {
    if let Some(hop) = wish.next_hop {
        let gateway = route.gateway().unwrap();
        let listed = routers.list().iter().find(|r| r.slot == hop.slot).unwrap();
        prop_assert_eq!(isatap::embedded(gateway), Some((listed.router.get(), hop.form)));
        prop_assert!(gateway.is_unicast_link_local());
        let metric = route.metric(Rank::default());
        prop_assert!((METRIC_BASE..METRIC_BASE + 2 * METRIC_LOST).contains(&metric));
        prop_assert_eq!(wish.reachable, metric < METRIC_BASE + METRIC_LOST);
    } else {
        prop_assert_eq!((route.gateway(), route.metric(Rank::default())), (None, METRIC_ON_LINK));
        prop_assert_eq!(route.destination().net().prefix_len(), 64);
        prop_assert_eq!(tunnel.backend, Backend::Tun);
    }
    prop_assert!(!route.lifetime().is_zero() && route.hop_limit() != Some(0));
    prop_assert!(route.mtu().is_none_or(|mtu| mtu <= tunnel.mtu));
    prop_assert_eq!(route.preference(), wish.preference);
    let to = route.destination();
    let nat64 = Ipv6Net::new(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 32).unwrap();
    prop_assert_eq!(to.net(), wish.destination.net());
    prop_assert!(
        to == RouteDestination::DEFAULT
            || is_ours_to_use(to.net(), tunnel.locator)
            || nat64.contains(&to.net()),
        "{}",
        to
    );
    Ok(())
}
