//! Which advertisements are used, and what of them.

use std::net::Ipv6Addr;
use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{Preference, RouteDestination};

use crate::message::{AUTONOMOUS, ON_LINK, advert, dnssl, pref64, prefix, rdnss, route};
use crate::world::{World, config, secs, slot, v4};

const SITE: &str = "2001:db8:0:1::";

fn lifetimes(world: &World) -> Vec<(u32, u32)> {
    world.addresses().iter().map(|a| (a.valid.secs(), a.preferred.secs())).collect()
}

fn routes(world: &World) -> Vec<(String, Preference, u32)> {
    let shown =
        |r: &isatapd_proto::RouteWish| (r.destination.to_string(), r.preference, r.lifetime.secs());
    world.routes().iter().map(shown).collect()
}

/// F13: hop limit and source.
#[test]
fn only_the_router_itself_on_this_link_is_heard() {
    let router = v4("10.0.0.1");
    let good = link_local(router, UBit::Local);
    let other = link_local(v4("10.0.0.2"), UBit::Local);
    let global: Ipv6Addr = "2001:db8::5efe:a00:1".parse().unwrap();
    let bytes = advert(1800, &[]);
    let hop_limit = "advertisements dropped: hop limit not 255";
    let source = "advertisements dropped: source not the router's link-local address";
    let cases = [
        (good, Some(0), hop_limit),
        (good, Some(64), hop_limit),
        (good, Some(254), hop_limit),
        (good, None, hop_limit),
        (Ipv6Addr::UNSPECIFIED, Some(255), source),
        (global, Some(255), source),
        ("fe80::1".parse().unwrap(), Some(255), source),
        // In the list, but of another socket; and of the other form.
        (other, Some(255), source),
        (link_local(router, UBit::Universal), Some(255), source),
        (good, Some(255), "advertisements accepted"),
    ];
    for (from, limit, counter) in cases {
        let mut world = World::up("10.0.0.1 10.0.0.2");
        world.hear_as(0, UBit::Local, from, limit, &bytes);
        assert_eq!(world.counter(counter), 1, "{from} {limit:?}");
        assert_eq!(world.routes().is_empty(), counter != "advertisements accepted");
    }
    let mut world = World::up("10.0.0.1");
    world.hear_as(9, UBit::Local, good, Some(255), &bytes);
    assert_eq!(world.counter("advertisements dropped: sender not in the list"), 1);
    world.hear(0, &[134, 0, 0, 0, 0, 0, 0]);
    world.hear(0, &advert(1800, &[vec![3, 0]]));
    assert_eq!(world.counter("advertisements dropped: malformed"), 2);
}

/// N-7: a flood costs no more than 50 a second and not the other routers, and a line for each reason
/// a second.
#[test]
fn floods_are_bounded() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    for _ in 0..5000 {
        world.hear(0, &advert(1800, &[]));
        world.hear_as(0, UBit::Local, Ipv6Addr::LOCALHOST, Some(255), &[]);
    }
    assert_eq!(world.counter("advertisements accepted"), 50);
    assert_eq!(world.counter("advertisements not asked for"), 49);
    world.hear(1, &advert(0, &[]));
    assert_eq!(world.counter("advertisements accepted"), 51);
    assert!(world.lines.len() < 10, "{:#?}", world.lines);
    assert!(world.count(crate::world::is_routes) <= 20);
    world.pass(secs(1));
    world.hear(0, &advert(900, &[]));
    world.pass(secs(1));
    assert_eq!(routes(&world), [("::/0".to_owned(), Preference::Medium, 900)]);
}

/// F14
#[test]
fn a_low_hop_limit_is_ignored() {
    let mut world = World::up("10.0.0.1");
    let mut bytes = advert(1800, &[]);
    for (sent, expected) in [(1, None), (31, None), (32, Some(32)), (0, Some(32)), (9, Some(32))] {
        bytes[4] = sent;
        world.hear(0, &bytes);
        assert_eq!(world.routes()[0].hop_limit, expected, "hop limit {sent}");
    }
}

/// RFC 4862 section 5.5.3 (e), with the vectors of requirements F15: address of R seconds, then an
/// option of so many.
#[test]
fn two_hour_rule() {
    for (remaining, sent, expected) in [
        (10_000, 5000, 7200),
        (10_000, 7201, 7201),
        (7000, 60, 7000),
        (3600, 7200, 7200),
        (u32::MAX, 1, 7200),
        (7199, 0, 7199),
        (7200, 0, 7200),
        (7201, 0, 7200),
    ] {
        let mut world = World::up("10.0.0.1");
        world.hear(0, &advert(0, &[prefix(SITE, AUTONOMOUS, remaining, remaining)]));
        world.hear(0, &advert(0, &[prefix(SITE, AUTONOMOUS, sent, 0)]));
        assert_eq!(lifetimes(&world), [(expected, 0)], "{remaining} then {sent}");
    }
}

#[test]
fn prefixes_that_make_no_address() {
    let mut short = prefix(SITE, AUTONOMOUS | ON_LINK, 1800, 1800);
    short[2] = 63;
    let mut long = short.clone();
    long[2] = 65;
    for option in [
        short,
        long,
        prefix("fe80::", AUTONOMOUS | ON_LINK, 1800, 1800),
        prefix("ff02::", AUTONOMOUS | ON_LINK, 1800, 1800),
        prefix("::", AUTONOMOUS | ON_LINK, 1800, 1800),
        prefix(SITE, AUTONOMOUS, 1800, 1801),
        prefix(SITE, AUTONOMOUS, 0, 0),
        prefix(SITE, ON_LINK, 1800, 1800),
        prefix(SITE, 0, 1800, 1800),
        // Our own 6to4 prefix would loop (RFC 6324); the parent refuses the whole list for it.
        prefix("2002:a00:5:1::", AUTONOMOUS, 1800, 1800),
    ] {
        let mut world = World::up("10.0.0.1");
        world.hear(0, &advert(1800, std::slice::from_ref(&option)));
        assert!(world.addresses().is_empty(), "{option:?}");
        world.pass(secs(4000));
    }
}

/// L and A are apart: L = 0 says nothing of it, L = 1 with zero withdraws, and has no two-hour rule.
#[test]
fn on_link_is_apart_from_the_address() {
    let mut world = World::up("10.0.0.1");
    let mut on_link = |flags, valid, preferred| {
        world.hear(0, &advert(1800, &[prefix(SITE, flags, valid, preferred)]));
        (world.addresses()[0].on_link, world.addresses()[0].valid.secs())
    };
    assert_eq!(on_link(AUTONOMOUS | ON_LINK, 7000, 7000), (true, 7000));
    assert_eq!(on_link(AUTONOMOUS, 7000, 7000), (true, 7000));
    assert_eq!(on_link(AUTONOMOUS | ON_LINK, 60, 60), (true, 7000));
    world.pass(secs(61));
    assert!(!world.addresses()[0].on_link);
    world.hear(0, &advert(1800, &[prefix(SITE, AUTONOMOUS | ON_LINK, 0, 0)]));
    assert_eq!(lifetimes(&world), [(7000 - 61, 0)]);
    world.pass(secs(7000));
    assert!(world.addresses().is_empty() && world.says("no address, lifetime ended"));
}

/// RFC 4191 section 3.1, the example: one default route, by the option.
#[test]
fn a_route_of_all_overrides_the_header() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &advert(100, &[route("::/0", 0x18, 200)]));
    assert_eq!(routes(&world), [("::/0".to_owned(), Preference::Low, 200)]);
    world.hear(0, &advert(0, &[route("::/0", 0x08, 300)]));
    assert_eq!(routes(&world), [("::/0".to_owned(), Preference::High, 300)]);
    world.hear(0, &advert(100, &[route("::/0", 0x08, 0)]));
    assert!(world.routes().is_empty());
    world.hear(0, &advert(100, &[]));
    assert_eq!(routes(&world), [("::/0".to_owned(), Preference::Medium, 100)]);
}

/// E14: a router of routes only keeps them; and what may not be routed is left out.
#[test]
fn specific_routes() {
    let mut world = World::up("10.0.0.1");
    let refused = ["fe80::/10", "ff00::/8", "::1/128", "::ffff:0:0/96", "2002:a00:5::/48"];
    let refused = refused.map(|net| route(net, 0, 600));
    let good = [route("2001:db8:1::/48", 0x08, 600), route("fd00::/8", 0, u32::MAX)];
    world.hear(0, &advert(0, &[&good[..], &refused[..]].concat()));
    let expected = [
        ("2001:db8:1::/48".to_owned(), Preference::High, 600),
        ("fd00::/8".to_owned(), Preference::Medium, u32::MAX),
    ];
    assert_eq!(routes(&world), expected);
    world.hear(0, &advert(0, &[route("2001:db8:1::/48", 0, 0)]));
    assert_eq!(routes(&world), expected[1..]);
    world.pass(secs(100_000));
    assert_eq!(world.routes().len(), 1);
}

/// B10, B25: lifetime zero ends the default route, and only that.
#[test]
fn lifetime_zero_ends_the_default_route_only() {
    let mut world = World::up("10.0.0.1");
    let options = [prefix(SITE, AUTONOMOUS, 7000, 7000), route("2001:db8:1::/48", 0, 600)];
    world.hear(0, &advert(1800, &options));
    assert_eq!((world.routes().len(), world.addresses().len()), (2, 1));
    world.hear(0, &advert(0, &[]));
    assert_eq!((world.routes().len(), world.addresses().len()), (1, 1));
    assert!(world.says("withdrawn"));
}

/// Of 64 routers the parent is given the best 16 default routes and 64 others, some of each router.
#[test]
fn more_than_may_be_told() {
    let list: Vec<_> = (1..=64).map(|i| format!("10.0.0.{i}")).collect();
    let mut world = World::up(&list.join(" "));
    world.pass(secs(10));
    for number in 0..64 {
        let nets = (0..20).map(|i| route(&format!("2001:db8:{number:x}{i:02x}::/48"), 0, 600));
        let mut bytes = advert(1800, &nets.collect::<Vec<_>>());
        bytes[5] = if number == 40 { 0x08 } else { 0 };
        world.hear(number, &bytes);
        world.pass(secs(1));
    }
    let default = |r: &&isatapd_proto::RouteWish| r.destination == RouteDestination::DEFAULT;
    let wishes = world.routes();
    let defaults: Vec<_> =
        wishes.iter().filter(default).map(|r| r.next_hop.unwrap().slot.get()).collect();
    assert_eq!(defaults, [40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    let of = |number| {
        wishes.iter().filter(|r| !default(r) && r.next_hop.unwrap().slot == slot(number)).count()
    };
    assert!((0..64).all(|number| of(number) == 1));
    assert_eq!(wishes.len(), 80);
    assert!(world.counter("prefixes, routes or DNS entries beyond what is kept") >= 64 * 4);
}

/// F23: one router cannot take the room of another, and what nobody advertises any more gives way.
#[test]
fn addresses_are_shared_between_routers() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    let many = |router: u8, count: u16| -> Vec<Vec<u8>> {
        let net = |i| format!("2001:db8:{router}:{i:x}::");
        (0..count).map(|i| prefix(&net(i), AUTONOMOUS, 7000 + u32::from(i), 7000)).collect()
    };
    for _ in 0..3 {
        world.hear(0, &advert(1800, &many(1, 30)));
        world.pass(secs(1));
    }
    let of = |world: &World, router: u16| {
        let from = |a: &&isatapd_proto::AddressWish| a.prefix.net().addr().segments()[2] == router;
        world.addresses().iter().filter(from).count()
    };
    assert_eq!((of(&world, 1), of(&world, 2)), (16, 0));
    for _ in 0..3 {
        world.hear(1, &advert(1800, &many(2, 30)));
        world.pass(secs(1));
        world.hear(0, &advert(1800, &many(1, 30)));
        world.pass(secs(1));
    }
    assert_eq!((of(&world, 1), of(&world, 2)), (8, 8));
    world.tell(Input::Config(config("10.0.0.2")));
    world.hear(1, &advert(1800, &many(2, 30)));
    world.pass(secs(1));
    assert_eq!((of(&world, 1), of(&world, 2)), (0, 16));
}

/// What was withdrawn lasts for two hours, but takes no room from what is advertised now; unless
/// another router still advertises it: then it is of its share.
#[test]
fn withdrawn_addresses_give_way() {
    let many = |numbers: std::ops::Range<u16>, valid| {
        let of = |i| prefix(&format!("2001:db8:0:{i:x}::"), AUTONOMOUS, valid, valid);
        advert(1800, &numbers.map(of).collect::<Vec<_>>())
    };
    let there = |world: &World| {
        let number = |a: &isatapd_proto::AddressWish| a.prefix.net().addr().segments()[3];
        world.addresses().iter().map(number).collect::<Vec<_>>()
    };
    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(0, &many(0..16, 9000));
    world.hear(0, &many(0..16, 0));
    world.pass(secs(1));
    assert_eq!(there(&world), (0..16).collect::<Vec<_>>());
    world.hear(0, &many(16..18, 9000));
    world.pass(secs(1));
    let there_now = there(&world);
    assert_eq!((there_now.len(), &there_now[14..]), (16, &[16, 17][..]));

    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(0, &many(0..16, 9000));
    world.hear(1, &many(0..16, 9000));
    world.hear(0, &many(0..16, 0));
    world.hear(1, &many(16..32, 9000));
    world.pass(secs(1));
    assert_eq!(there(&world), (0..16).collect::<Vec<_>>(), "they are the second's own");
    world.hear(0, &many(16..32, 9000));
    world.pass(secs(1));
    assert_eq!(there(&world).iter().filter(|number| **number >= 16).count(), 8);
}

/// F9, CVE-2026-56116: a million advertisements that withdraw what is not there, and some that add
/// and withdraw, leave nothing behind.
#[test]
fn a_million_withdrawals_leave_nothing() {
    let mut world = World::up("10.0.0.1");
    let bytes = advert(0, &[route("2001:db8::/64", 0, 0)]);
    let source = link_local(v4("10.0.0.1"), UBit::Local);
    let mut largest = 0;
    for i in 0..1_000_000_u32 {
        // Not faster than they are read.
        world.now += Duration::from_millis(20);
        let random = i.wrapping_mul(0x9e37_79b9);
        let mut bytes = bytes.clone();
        bytes[28..32].copy_from_slice(&random.to_be_bytes());
        let (slot, form, hop_limit) = (slot(0), UBit::Local, Some(255));
        world.tell(Input::Packet { slot, form, source, hop_limit, bytes: &bytes });
        if i % 10_000 == 0 {
            largest = largest.max(format!("{:?}", world.engine).len());
        }
    }
    assert!(largest < 5_000, "the engine's state takes {largest} octets in words");
    assert_eq!(world.counter("advertisements accepted"), 1_000_000);
}

#[test]
fn options_of_every_kind_added_and_withdrawn() {
    let net = |i: u32| Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(i) << 64));
    let options = |i: u32, lifetime: u32| {
        let net = net(i);
        let flags = AUTONOMOUS | ON_LINK;
        vec![
            route(&format!("{net}/64"), 0, lifetime),
            prefix(&net.to_string(), flags, lifetime, lifetime),
            rdnss(net, lifetime),
            dnssl(&format!("d{i}"), lifetime),
            pref64(net, u16::from(lifetime != 0)),
        ]
    };
    let mut world = World::up("10.0.0.1");
    let mut largest = 0;
    for i in 0..2000_u32 {
        let random = i.wrapping_mul(0x9e37_79b9);
        world.hear(0, &advert(1800, &options(random, 60)));
        world.pass(secs(1));
        world.hear(0, &advert(1800, &options(random, 0)));
        world.pass(secs(1));
        world.clear();
        largest = largest.max(format!("{:?}", world.engine).len());
    }
    // The two-hour rule keeps the addresses; all else is gone.
    assert!(largest < 20_000, "the engine's state takes {largest} octets in words");
    let dump = world.dump();
    for kind in ["route 2001:", "DNS server", "DNS search", "NAT64"] {
        assert!(!dump.iter().any(|line| line.contains(kind)), "{dump:#?}");
    }
    world.pass(secs(100));
    assert!(world.addresses().is_empty() && world.routes().len() == 1);
}
