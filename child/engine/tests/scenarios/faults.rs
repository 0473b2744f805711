//! What made others fall over, as a whole: requirements F, and the faults of isatapd 0.9.7.

use std::net::Ipv4Addr;

use isatapd_engine::Input;
use isatapd_proto::Command;

use crate::message::{AUTONOMOUS, Answer, ON_LINK, advert, prefix, rdnss, route};
use crate::world::{World, Zone, config, secs};

/// Lifetimes of u32::MAX and next to it make no absurd timer, at any time since boot.
#[test]
fn no_absurd_timers() {
    for start in [0, 1000, u64::from(u32::MAX), u64::MAX / 2, u64::MAX - 10] {
        for lifetime in [u32::MAX, u32::MAX - 1, 0x8000_0000] {
            let mut world = World::new();
            world.now = secs(start);
            world.tell(Input::Config(config("10.0.0.1")));
            world.link("10.0.0.5");
            let options = [
                prefix("2001:db8::", AUTONOMOUS | ON_LINK, lifetime, lifetime),
                route("2001:db8:1::/48", 0, lifetime),
                rdnss("2001:db8::53".parse().unwrap(), lifetime),
            ];
            world.hear(0, &advert(u16::MAX, &options));
            assert_eq!((world.addresses().len(), world.routes().len()), (1, 2), "{start}");
            if start < u64::MAX / 4 {
                assert_eq!(world.addresses()[0].valid.secs(), lifetime);
                let wakes = world.pass(secs(100_000));
                assert!(wakes < 100, "{wakes} wakes");
                assert_eq!(world.addresses().len(), 1);
            }
        }
    }
}

/// Lifetime 30 after 60 s of quiet ended 0.9.7 for good.
#[test]
fn a_short_lifetime_after_quiet() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &advert(1800, &[]));
    world.pass(secs(60));
    world.hear(0, &advert(30, &[]));
    assert_eq!(world.routes()[0].lifetime.secs(), 30);
    world.pass(secs(30));
    assert!(world.routes().is_empty() && world.says("lifetime ended"));
    world.clear();
    // Two minutes after the last solicitation.
    world.pass(secs(31));
    assert_eq!(world.solicited.len(), 1);
    world.hear(0, &advert(30, &[]));
    assert_eq!(world.routes().len(), 1);
}

/// F7: an option of length zero drops the whole message and sets no timer.
#[test]
fn zero_length_options_change_nothing() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &advert(1800, &[]));
    world.clear();
    let before = world.engine.deadline();
    let good = prefix("2001:db8::", AUTONOMOUS, 60, 60);
    let zero = vec![3, 0, 64, 0, 0, 0, 0, 0];
    for options in [vec![zero.clone()], vec![zero.clone(), good.clone()], vec![good, zero]] {
        world.hear(0, &advert(1, &options));
    }
    assert_eq!(world.engine.deadline(), before);
    assert_eq!(world.count(|r| !matches!(r, isatapd_proto::Request::Log(_))), 0);
    assert_eq!(world.counter("advertisements dropped: malformed"), 3);
}

/// 0.0.0.0 beside a good record broke 0.9.7's tunnel for good.
#[test]
fn addresses_that_are_no_routers() {
    let mut world = World::new();
    let bad = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "10.0.0.1"];
    let records = bad.iter().map(|a| a.parse().unwrap()).collect();
    world.servers = vec![Zone::from([("*".to_owned(), Answer::Addresses(records, 600))])];
    world.tell(Input::Config(config("isatap.site.example")));
    world.resolver("");
    let routers: Vec<_> = world.routers().iter().map(|r| r.router.to_string()).collect();
    assert_eq!(routers, ["10.0.0.1"]);
    for first in [5, 0, 5, 1] {
        let records = bad[first..].iter().rev().map(|a| a.parse().unwrap()).collect();
        world.servers = vec![Zone::from([("*".to_owned(), Answer::Addresses(records, 600))])];
        world.pass(secs(600));
    }
    assert_eq!(world.lines.iter().filter(|l| l.contains("can be no router")).count(), 1);
    world.tell(Input::Command(Command::Dump));
    assert!(world.says("addresses in the DNS or hosts that no router can have: "));
}

/// 200 records made 0.9.7 send 195 solicitations in the first second.
#[test]
fn two_hundred_records() {
    for count in [200, 1000_u16] {
        let mut world = World::new();
        let records = (0..count).map(|i| [10, 1, (i >> 8) as u8, i as u8].into()).collect();
        let answer = Answer::Addresses(records, 600);
        // Only the first 64 of a reply of 8 KiB are ever read.
        world.servers = vec![Zone::from([("*".to_owned(), answer)])];
        world.tell(Input::Config(config("isatap.site.example")));
        world.resolver("");
        if count == 1000 {
            // 16 KB: no server sends that by UDP, and no more than 8 KiB are read.
            assert!(world.routers().is_empty());
            continue;
        }
        assert_eq!(world.routers().len(), 64);
        assert_eq!(world.lines.iter().filter(|l| l.contains("left out")).count(), 1);
        world.link("10.0.0.5");
        world.pass(secs(1));
        assert!(world.solicited.len() <= 20);
    }
}

/// A list that is too long is cut with one warning, and keeps those it has.
#[test]
fn more_than_64_routers() {
    let addresses =
        |from: u8, to: u8| -> Vec<Ipv4Addr> { (from..to).map(|i| [10, 2, 0, i].into()).collect() };
    let mut world = World::new();
    let zone = |a, b| {
        Zone::from([
            ("a.example".to_owned(), Answer::Addresses(a, 60)),
            ("b.example".to_owned(), Answer::Addresses(b, 60)),
        ])
    };
    world.servers = vec![zone(addresses(0, 40), addresses(40, 80))];
    world.tell(Input::Config(config("a.example b.example")));
    world.resolver("");
    let before = world.routers();
    assert_eq!(before.len(), 64);
    let others = [addresses(120, 160), addresses(0, 10)].concat();
    world.servers = vec![zone(others, addresses(40, 80))];
    world.pass(secs(70));
    let after = world.routers();
    assert_eq!(after.len(), 64);
    assert_eq!(before.iter().filter(|r| after.contains(r)).count(), 10 + 24);
    assert_eq!(world.lines.iter().filter(|l| l.contains("more than 64")).count(), 1);
}
