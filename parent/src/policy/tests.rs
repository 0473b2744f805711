//! What the child may not have, case by case.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;

fn tunnel() -> Tunnel {
    let locator = Ipv4Addr::new(10, 0, 0, 2).try_into().unwrap();
    Tunnel { locator, mtu: 1480.try_into().unwrap(), backend: Backend::Tun }
}

fn router(slot: u8, last: u8) -> RouterWish {
    let router = Ipv4Addr::new(10, 0, 0, last).try_into().unwrap();
    RouterWish { slot: slot.try_into().unwrap(), router }
}

fn facts(routers: &[RouterWish]) -> Facts<'_> {
    Facts { routers, tunnel: Some(tunnel()) }
}

fn address(prefix: &str) -> AddressWish {
    AddressWish {
        prefix: prefix.parse::<Ipv6Addr>().unwrap().try_into().unwrap(),
        on_link: true,
        valid: Lifetime::from_secs(100),
        preferred: Lifetime::from_secs(50),
    }
}

fn route(destination: &str, slot: u8) -> RouteWish {
    RouteWish {
        destination: destination.parse::<Ipv6Net>().unwrap().try_into().unwrap(),
        next_hop: Some(NextHop { slot: slot.try_into().unwrap(), form: UBit::Local }),
        preference: Preference::Medium,
        lifetime: Lifetime::from_secs(100),
        mtu: None,
        hop_limit: None,
        reachable: true,
    }
}

#[test]
fn routers_twice_are_refused() {
    for twice in [[router(0, 1), router(0, 2)], [router(0, 1), router(1, 1)]] {
        assert_eq!(Routers::judge(&twice), Err(Refusal::Duplicate));
    }
    let list = [router(0, 1), router(1, 2)];
    assert_eq!(Routers::judge(&list).unwrap().list(), list);
}

#[test]
fn addresses_are_formed_by_the_parent() {
    let wish = address("2001:db8:1::");
    let approved = Addresses::judge(&[wish], facts(&[])).unwrap();
    assert_eq!(approved.list(), [wish]);
    let formed = Addresses::formed(wish.prefix, tunnel().locator);
    assert_eq!(formed, "2001:db8:1::5efe:a00:2".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn addresses_out_of_bounds_are_refused() {
    let good = address("2001:db8:1::");
    let zero = AddressWish { valid: Lifetime::ZERO, preferred: Lifetime::ZERO, ..good };
    let upside_down = AddressWish { preferred: Lifetime::INFINITE, ..good };
    let own_6to4 = address("2002:a00:2:5::");
    for (wishes, why) in [
        (vec![good, good], Refusal::Duplicate),
        (vec![zero], Refusal::BadLifetime),
        (vec![upside_down], Refusal::BadLifetime),
        (vec![own_6to4], Refusal::Loop),
    ] {
        assert_eq!(Addresses::judge(&wishes, facts(&[])), Err(why), "{wishes:?}");
    }
    let no_tunnel = Facts { tunnel: None, ..facts(&[]) };
    assert_eq!(Addresses::judge(&[good], no_tunnel), Err(Refusal::NoTunnel));
    assert_eq!(Routes::judge(&[], no_tunnel), Err(Refusal::NoTunnel));
}

#[test]
fn gateway_and_metric_are_the_parents() {
    let prl = [router(0, 101), router(63, 102)];
    let mut high = route("2001:db8::/32", 63);
    high.preference = Preference::High;
    high.next_hop = high.next_hop.map(|hop| NextHop { form: UBit::Universal, ..hop });
    let mut low = route("::/0", 63);
    low.preference = Preference::Low;
    let approved = Routes::judge(&[route("::/0", 0), high, low], facts(&prl)).unwrap();
    let got: Vec<_> = approved
        .list()
        .iter()
        .map(|r| (r.gateway().unwrap().to_string(), r.metric(Rank::default())))
        .collect();
    let expected = [
        ("fe80::5efe:a00:65".to_owned(), 2048 + 64),
        ("fe80::200:5efe:a00:66".to_owned(), 2048 + 63),
        ("fe80::5efe:a00:66".to_owned(), 2048 + 128 + 63),
    ];
    assert_eq!(got, expected);
}

#[test]
fn routes_out_of_bounds_are_refused() {
    let prl = [router(0, 101)];
    let good = route("::/0", 0);
    let with = |change: fn(&mut RouteWish)| {
        let mut wish = good;
        change(&mut wish);
        vec![wish]
    };
    for (wishes, why) in [
        (vec![good, good], Refusal::Duplicate),
        (vec![route("::/0", 1)], Refusal::NoSuchRouter),
        (with(|w| w.lifetime = Lifetime::ZERO), Refusal::BadLifetime),
        (with(|w| w.hop_limit = Some(0)), Refusal::BadHopLimit),
        (with(|w| w.mtu = Some(1481.try_into().unwrap())), Refusal::BadMtu),
        (vec![route("2002:a00:2::/48", 0)], Refusal::Loop),
        (vec![route("2002:a00:2:1::/64", 0)], Refusal::Loop),
    ] {
        assert_eq!(Routes::judge(&wishes, facts(&prl)), Err(why), "{wishes:?}");
    }
    assert!(Routes::judge(&[route("2002:a00:3::/48", 0)], facts(&prl)).is_ok());
}

#[test]
fn what_is_on_the_link_is_so_of_a_tun_and_a_64() {
    let wish = RouteWish { next_hop: None, ..route("2001:db8:1::/64", 0) };
    let approved = Routes::judge(&[wish], facts(&[])).unwrap();
    let routes: Vec<_> =
        approved.list().iter().map(|r| (r.gateway(), r.metric(Rank::default()))).collect();
    assert_eq!(routes, [(None, METRIC_ON_LINK)]);
    let sit = Facts { tunnel: Some(Tunnel { backend: Backend::Kernel, ..tunnel() }), routers: &[] };
    assert_eq!(Routes::judge(&[wish], sit), Err(Refusal::NotOnLink));
    for other in ["::/0", "2001:db8:1::/63", "2001:db8:1::/128"] {
        let wish = RouteWish { next_hop: None, ..route(other, 0) };
        assert_eq!(Routes::judge(&[wish], facts(&[])), Err(Refusal::NotOnLink), "{other}");
    }
    assert_eq!(Routes::judge(&[wish, wish], facts(&[])), Err(Refusal::Duplicate));
}

#[test]
fn metrics_never_meet() {
    let mut seen = BTreeSet::new();
    for reachable in [true, false] {
        for preference in [Preference::High, Preference::Medium, Preference::Low] {
            let wish = RouteWish { preference, reachable, ..route("::/0", 0) };
            for slot in 0..64_u8 {
                let metric = metric(&wish, slot.try_into().unwrap());
                assert!(seen.last().is_none_or(|last| *last < metric));
                seen.insert(metric);
            }
        }
    }
    assert_eq!(seen.first().zip(seen.last()), Some((&2048, &(2048 + 6 * 64 - 1))));
}

#[test]
fn traffic_is_watched_where_the_kernel_encapsulates() {
    assert_eq!(TrafficWatch::judge(facts(&[])), Err(Refusal::NoTunnel));
    let none = Facts { tunnel: None, routers: &[] };
    assert_eq!(TrafficWatch::judge(none), Err(Refusal::NoTunnel));
    let sit = Facts { tunnel: Some(Tunnel { backend: Backend::Kernel, ..tunnel() }), routers: &[] };
    assert!(TrafficWatch::judge(sit).is_ok());
}

#[test]
fn ranks_never_meet_and_end() {
    let (mut rank, mut least) = (Some(Rank::default()), METRIC_ON_LINK);
    let mut seen = 0;
    let lost = RouteWish { preference: Preference::Low, reachable: false, ..route("::/0", 0) };
    while let Some(this) = rank {
        let worst = metric(&lost, 63.try_into().unwrap()) + this.offset();
        let best = METRIC_ON_LINK + this.offset();
        assert_eq!((best, Rank::of(best), Rank::of(worst)), (least, Some(this), Some(this)));
        (rank, least) = (this.next(), best + METRICS);
        seen += 1;
    }
    assert_eq!((seen, Rank::of(least), Rank::of(1024)), (8, None, None));
}

#[test]
fn dns_sockets_are_bounded() {
    let now = Instant::now();
    let servers = ["10.0.0.53:53".parse().unwrap()];
    let mut bucket = Bucket::new(1, Duration::from_secs(1));
    let mut judge = |server: u8| {
        let server = server.try_into().unwrap();
        DnsSocket::judge((DnsId(7), server, Transport::Udp), &servers, &mut bucket, now)
    };
    assert_eq!(judge(1), Err(Refusal::NoSuchServer));
    assert_eq!(judge(0).unwrap().server(), servers[0]);
    assert_eq!(judge(0), Err(Refusal::TooMany));
}
