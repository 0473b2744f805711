//! When routers are solicited (RFC 7559, RFC 5214 section 8.3.4).

use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::isatap::{UBit, link_local};
use proptest::prelude::*;

use crate::message::{AUTONOMOUS, advert, prefix};
use crate::world::{World, config, secs, slot, v4};

fn gaps(world: &World) -> Vec<Duration> {
    let times: Vec<_> = world.solicited.iter().map(|s| s.0).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_silent_router_is_asked_ever_less_by_both_forms() {
    let mut world = World::up("203.0.113.1");
    world.pass(secs(20 * 3600));
    let forms: Vec<_> = world.solicited.iter().take(4).map(|s| s.2).collect();
    assert_eq!(forms, [UBit::Universal, UBit::Local, UBit::Universal, UBit::Local]);
    let gaps = gaps(&world);
    assert!(gaps[0] >= secs(4) * 9 / 10 && gaps[0] <= secs(4) * 11 / 10, "{gaps:?}");
    for pair in gaps.windows(2) {
        let doubled = pair[1] >= pair[0] * 19 / 10 && pair[1] <= pair[0] * 21 / 10;
        let longest = pair[1] >= secs(3240) && pair[1] <= secs(3960);
        assert!(doubled || longest, "{pair:?}");
    }
    assert!(gaps.len() > 20 && gaps[gaps.len() - 1] >= secs(3240));
}

#[test]
fn only_a_machine_that_has_just_booted_waits_and_only_once() {
    let first = |uptime| {
        let mut world = World::up_at(uptime, "10.0.0.1");
        world.pass(secs(2));
        world.solicited[0].0 - uptime
    };
    for uptime in [secs(60), secs(61), secs(100_000)] {
        assert_eq!(first(uptime), Duration::ZERO);
    }
    // Each draws another, by its seed and what it has drawn before.
    let mut world = World::up_at(secs(5), "10.0.0.1");
    let begin = world.now;
    assert_eq!(world.solicited, []);
    world.pass(secs(2));
    let waited = world.solicited[0].0 - begin;
    assert!(waited > Duration::ZERO && waited <= secs(1), "{waited:?}");
    // A change is answered at once.
    world.clear();
    world.link("10.0.0.6");
    assert_eq!(world.solicited[0].0, world.now);
}

#[test]
fn the_form_that_answered_is_kept_until_it_fails_twice() {
    let mut world = World::up("10.0.0.1");
    world.pass(secs(5));
    assert_eq!(world.solicited[1].2, UBit::Universal);
    let source = link_local(v4("10.0.0.1"), UBit::Universal);
    world.hear_as(0, UBit::Universal, source, Some(255), &advert(1800, &[]));
    assert_eq!(world.routes()[0].next_hop.unwrap().form, UBit::Universal);
    world.clear();
    world.pass(secs(1500));
    let forms: Vec<_> = world.solicited.iter().take(4).map(|s| s.2).collect();
    assert_eq!(forms, [UBit::Universal, UBit::Universal, UBit::Local, UBit::Universal]);
}

/// 0.9.7 died of the fourth, and asked again after 65536 s after the third.
#[test]
fn after_an_answer() {
    let site = |valid, preferred| vec![prefix("2001:db8::", AUTONOMOUS, valid, preferred)];
    for (lifetime, options, least, most) in [
        (1800, vec![], 1296, 1440),
        (65_535, vec![], 3600, 3600),
        (1800, site(u32::MAX, 300), 216, 240),
        (30, vec![], 120, 120),
        (1, site(1, 1), 120, 120),
        (9000, site(u32::MAX, u32::MAX), 3600, 3600),
        (1800, site(u32::MAX - 1, 0), 1296, 1440),
    ] {
        let mut world = World::up("10.0.0.1");
        world.hear(0, &advert(lifetime, &options));
        world.clear();
        let heard = world.now;
        world.pass(secs(3700));
        let after = world.solicited[0].0 - heard;
        assert!(after >= secs(least) && after <= secs(most), "{lifetime} {after:?}");
    }
}

#[test]
fn the_operators_interval_overrides() {
    let mut world = World::new();
    let solicit_interval = Some(secs(500));
    world.tell(Input::Config(isatapd_proto::Config { solicit_interval, ..config("10.0.0.1") }));
    world.link("10.0.0.5");
    world.hear(0, &advert(1800, &[]));
    world.clear();
    let heard = world.now;
    world.pass(secs(600));
    assert_eq!(world.solicited[0].0 - heard, secs(500));
}

/// RFC 7559 section 2.1: an answer of lifetime zero does not end the back-off, and one after a good
/// answer begins it.
#[test]
fn lifetime_zero_is_asked_again_soon() {
    let mut world = World::up("10.0.0.1");
    for _ in 0..10 {
        world.hear(0, &advert(0, &[]));
        world.pass(secs(60));
    }
    let gaps = gaps(&world);
    assert!(gaps.len() >= 6 && gaps.windows(2).all(|g| g[1] >= g[0] * 19 / 10), "{gaps:?}");
    world.hear(0, &advert(1800, &[]));
    world.pass(secs(100));
    world.clear();
    let heard = world.now;
    world.hear(0, &advert(0, &[]));
    world.pass(secs(10));
    assert!(world.solicited[0].0 - heard <= secs(5));
}

/// F23 and baseline: 64 routers at once are spread, the first ones first.
#[test]
fn many_routers_are_spread() {
    let list: Vec<_> = (1..=64).map(|i| format!("10.0.0.{i}")).collect();
    let mut world = World::up(&list.join(" "));
    assert_eq!(world.solicited.len(), 3);
    world.pass(secs(8));
    let first: Vec<_> = world.solicited.iter().take(10).map(|s| s.1.get()).collect();
    assert_eq!(first, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!((0..64).all(|i| world.solicited.iter().any(|s| s.1 == slot(i))));
    world.pass(secs(600));
    for (at, ..) in &world.solicited {
        let window = *at..*at + secs(1);
        let count = world.solicited.iter().filter(|s| window.contains(&s.0)).count();
        assert!(count <= 10, "{count} in the second after {at:?}");
    }
}

#[test]
fn without_a_socket_of_the_preferred_form_the_other_is_used() {
    let mut world = World::new();
    world.tell(Input::Config(config("10.0.0.1")));
    world.tell(Input::Link(crate::world::tunnel("10.0.0.5")));
    world.pass(secs(100));
    assert!(world.solicited.is_empty());
    world.socket(slot(0), v4("10.0.0.1"), UBit::Universal);
    world.pass(secs(1));
    assert_eq!(world.solicited, [(world.now, slot(0), UBit::Universal)]);
}

#[test]
fn what_cannot_be_sent_is_logged_once_and_goes_on() {
    let mut world = World::up("10.0.0.1");
    for _ in 0..5 {
        let error = "No route to host".to_owned();
        world.tell(Input::SolicitFailed { slot: slot(0), form: UBit::Local, error });
        world.pass(secs(100));
    }
    assert_eq!(world.lines.iter().filter(|l| l.contains("not asked")).count(), 1);
    assert!(world.solicited.len() > 5);
    assert_eq!(world.counter("solicitations not sent"), 5);
}

/// A socket that took the place of another may be the only one that works.
#[test]
fn a_new_socket_is_used_at_once() {
    let mut world = World::up("10.0.0.1");
    world.pass(secs(1000));
    world.clear();
    world.socket(slot(0), v4("10.0.0.1"), UBit::Universal);
    assert!(world.solicited.is_empty());
    world.socket(slot(0), v4("10.0.0.1"), UBit::Local);
    assert_eq!(world.solicited.len(), 1);
    world.pass(secs(5));
    assert_eq!(world.solicited.len(), 2, "the back-off begins anew");
}

/// Two routers behind an address: the long lifetimes of one do not cost the short ones of the other.
#[test]
fn another_advertisement_does_not_put_off_the_refresh() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &advert(300, &[]));
    let heard = world.now;
    world.clear();
    for _ in 0..10 {
        world.hear(0, &advert(9000, &[]));
        world.pass(secs(20));
    }
    world.pass(secs(40));
    let after = world.solicited[0].0 - heard;
    assert!(after >= secs(216) && after <= secs(240), "{after:?}");
}

/// The network is back: silent routers are asked at once, but not at each of many changes.
#[test]
fn a_changed_network_ends_the_back_off() {
    let change = || Input::Link(crate::world::tunnel("10.0.0.5"));
    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(1, &advert(9000, &[]));
    world.pass(secs(1000));
    world.clear();
    world.tell(change());
    assert_eq!(world.solicited, [(world.now, slot(0), world.solicited[0].2)]);
    for _ in 0..100 {
        world.tell(change());
        world.pass(secs(1));
    }
    assert!(world.solicited.len() <= 30, "{}", world.solicited.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is advertised, whenever: after a good answer never less than 120 s from the last
    /// solicitation to the next, never more than 3600 s, and never two within a second.
    #[test]
    fn bounds(answers in prop::collection::vec((any::<u16>(), any::<u32>(), 1..5000_u64), 1..20)) {
        let mut world = World::up("10.0.0.1");
        let mut last = world.now;
        for (lifetime, valid, wait) in answers {
            let option = prefix("2001:db8::", AUTONOMOUS, valid, valid);
            world.hear(0, &advert(lifetime, &[option]));
            let heard = world.now;
            world.clear();
            world.pass(secs(wait));
            let next = world.solicited.first().map(|s| s.0);
            if lifetime > 0 {
                prop_assert!(next.is_none_or(|n| n - last >= secs(120)), "{next:?}");
                prop_assert!(next.is_none_or(|n| n - heard <= secs(3600)), "{next:?}");
                prop_assert!(next.is_some() || wait < 3600);
            }
            last = world.solicited.last().map_or(last, |s| s.0);
            prop_assert!(gaps(&world).iter().all(|gap| *gap >= secs(1)));
        }
    }
}
