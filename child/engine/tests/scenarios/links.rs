//! Start, links, reloads, refusals.

use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::isatap::UBit;
use isatapd_proto::{Command, NextHop, Outcome, Refusal, Request, State};

use crate::message::{AUTONOMOUS, ON_LINK, advert, prefix};
use crate::world::{World, config, is_addresses, is_routers, is_routes, secs, slot, v4};

const SITE: &str = "2001:db8:0:1::";

fn good() -> Vec<u8> {
    advert(1800, &[prefix(SITE, ON_LINK | AUTONOMOUS, 86_400, 14_400)])
}

#[test]
fn from_start_to_working() {
    let mut world = World::up("10.0.0.1");
    let requests: Vec<_> = world.requests.iter().map(|(_, r)| r.clone()).collect();
    assert_eq!(requests[0], Request::StartupDone);
    assert_eq!(world.states(), [State::AwaitingRouters]);
    assert_eq!(world.solicited, [(world.now, slot(0), UBit::Local)]);

    world.hear(0, &good());
    assert_eq!(world.states(), [State::AwaitingRouters, State::Working]);
    let [address] = world.addresses()[..] else { panic!("one address") };
    assert_eq!(address.prefix.to_string(), format!("{SITE}/64"));
    assert!(address.on_link);
    assert_eq!((address.valid.secs(), address.preferred.secs()), (86_400, 14_400));
    let [route] = world.routes()[..] else { panic!("one route") };
    assert_eq!((route.lifetime.secs(), route.hop_limit, route.mtu), (1800, Some(64), None));
    assert_eq!(route.next_hop, Some(NextHop { slot: slot(0), form: UBit::Local }));
    let normal = world.lines.iter().filter(|line| !line.contains("answers")).count();
    assert!(normal <= 6, "{:#?}", world.lines);

    // Idle: one deadline, far away.
    world.clear();
    let left = world.engine.deadline().unwrap().time_since_boot() - world.now;
    assert!(left > secs(1200) && left <= secs(1440), "{left:?}");
    world.pass(secs(1200));
    assert_eq!(world.count(|_| true), 0);
}

/// Nothing is said before the first configuration, and nothing but names without a router.
#[test]
fn silent_until_told() {
    let mut world = World::new();
    world.resolver("");
    world.link("10.0.0.5");
    assert_eq!(world.count(|r| !matches!(r, Request::Log(_))), 0);
    world.tell(Input::Config(config("")));
    assert_eq!(world.count(is_routers), 0);
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn refreshed_lifetimes_are_told_and_passing_time_is_not() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &good());
    world.clear();
    world.pass(secs(600));
    world.hear(0, &good());
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (1, 1));
    assert_eq!(world.routes()[0].lifetime.secs(), 1800);
    world.clear();
    world.pass(secs(600));
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (0, 0));
}

/// A new locator: everything is told again and the solicitation leaves at once.
#[test]
fn another_locator() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(0, &good());
    world.pass(secs(60));
    world.clear();
    world.unlink();
    world.pass(secs(60));
    assert_eq!(world.count(|_| true), 1, "the state is reported, else nothing");
    assert!(world.solicited.is_empty());
    world.clear();
    world.link("10.9.0.5");
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (1, 1));
    assert_eq!(world.addresses()[0].valid.secs(), 86_400 - 120);
    assert_eq!(world.routes()[0].lifetime.secs(), 1800 - 120);
    let at_once: Vec<_> = world.solicited.iter().map(|(at, slot, _)| (*at, slot.get())).collect();
    assert_eq!(at_once, [(world.now, 0), (world.now, 1)]);

    // The same again is no news.
    world.clear();
    world.tell(Input::Link(crate::world::tunnel("10.9.0.5")));
    assert_eq!(world.count(|_| true), 0);
}

/// What was sent from another locator, it may be by a path that was dead already, delays nothing; what
/// was sent from the same does.
#[test]
fn another_locator_within_a_second() {
    let mut world = World::up("10.0.0.1");
    for (locator, expected) in [("10.9.0.5", 1), ("10.9.0.5", 0), ("10.0.0.5", 1)] {
        world.hear(0, &good());
        world.pass(Duration::from_millis(100));
        world.clear();
        world.unlink();
        world.link(locator);
        assert_eq!(world.solicited.len(), expected, "{locator}");
    }
}

/// What ended while the tunnel was away is withdrawn when it is back.
#[test]
fn ends_without_a_tunnel() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &good());
    world.unlink();
    world.pass(secs(100_000));
    world.clear();
    world.link("10.0.0.5");
    assert_eq!((world.addresses().len(), world.routes().len()), (0, 0));
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (1, 1));
}

/// The machine was suspended: what has ended meanwhile goes, and the router is solicited, at once.
#[test]
fn hours_without_a_timer() {
    for (hours, addresses) in [(2, 1), (30, 0)] {
        for mut world in [World::up("10.0.0.1"), World::up_by_path("10.0.0.1")] {
            let by_path = !world.transmitted.is_empty();
            world.hear(0, &good());
            assert_eq!(
                (world.addresses().len(), world.routes().len()),
                (1, 1 + usize::from(by_path))
            );
            world.clear();
            world.now += Duration::from_hours(hours);
            world.tell(Input::Timer);
            let left = if by_path { addresses } else { 0 };
            assert_eq!((world.addresses().len(), world.routes().len()), (addresses, left));
            assert_eq!(world.solicited.len() + world.transmitted.len(), 1);
            world.clear();
            world.hear(0, &good());
            assert_eq!(
                (world.addresses().len(), world.routes().len()),
                (1, 1 + usize::from(by_path))
            );
        }
    }
}

#[test]
fn a_router_that_leaves_takes_its_routes_at_once() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(0, &good());
    world.hear(1, &good());
    world.clear();
    world.tell(Input::Config(config("10.0.0.3 10.0.0.2")));
    // Routes first: none leads to a router that the parent no longer knows.
    let order: Vec<_> = world.requests.iter().filter(|(at, _)| !at.is_zero()).collect();
    assert!(matches!(order[0].1, Request::SetRoutes(_)), "{order:?}");
    assert!(matches!(order[1].1, Request::SetRouters(_)), "{order:?}");
    assert_eq!(world.routes().len(), 1);
    assert_eq!(world.closed, [slot(0)]);
    let routers: Vec<_> = world.routers().iter().map(|r| (r.slot.get(), r.router)).collect();
    assert_eq!(routers, [(0, v4("10.0.0.3")), (1, v4("10.0.0.2"))]);
    assert_eq!(world.addresses().len(), 1, "addresses age");
    // A socket that was on its way to the router before is not the new one's.
    world.tell(Input::RouterSocket { slot: slot(0), router: v4("10.0.0.1"), form: UBit::Local });
    assert!(world.solicited.is_empty());
}

#[test]
fn refusals_are_logged_once_and_tried_again() {
    let mut world = World::up("10.0.0.1");
    world.outcome = |request| match request {
        Request::SetAddresses(_) => Outcome::Refused(Refusal::Loop),
        Request::SetRoutes(_) => Outcome::Failed(22),
        _ => Outcome::Done,
    };
    let forever = advert(1800, &[prefix(SITE, AUTONOMOUS, u32::MAX, u32::MAX)]);
    world.hear(0, &forever);
    world.pass(secs(60));
    // What failed is tried again, after 10 s in the end; what was refused is not.
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (1, 12));
    world.hear(0, &forever);
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (2, 13));
    assert_eq!(world.lines.iter().filter(|line| line.contains("not set")).count(), 2);
}

/// The parent has the tunnel in hand: a moment later it can do what it could not. What lasts is tried
/// less and less often, and after a success soon again.
#[test]
fn what_fails_in_passing_is_told_again_soon() {
    let mut world = World::up("10.0.0.1");
    for lifetime in [1800, 900] {
        world.outcome =
            |request| if is_routes(request) { Outcome::Failed(11) } else { Outcome::Done };
        world.clear();
        world.hear(0, &advert(lifetime, &[]));
        world.pass(secs(30));
        world.outcome = |_| Outcome::Done;
        world.pass(secs(100));
        let told = world.requests.iter().filter(|(at, r)| is_routes(r) && !at.is_zero());
        let told: Vec<_> = told.map(|(at, _)| *at).collect();
        let waits: Vec<_> = told.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000], "{lifetime}");
    }
}

/// The last route could not be removed: tried until it is.
#[test]
fn an_empty_list_that_failed_is_told_again() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &advert(1800, &[]));
    world.outcome = |request| match request {
        Request::SetRoutes(_) => Outcome::Failed(12),
        _ => Outcome::Done,
    };
    world.clear();
    world.hear(0, &advert(0, &[]));
    world.pass(secs(25));
    assert_eq!((world.routes().len(), world.count(is_routes)), (0, 9));
    world.outcome = |_| Outcome::Done;
    world.pass(secs(100));
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (0, 10));
}

#[test]
fn reload_solicits_all_but_not_twice_in_a_second() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    world.hear(0, &good());
    world.hear(1, &good());
    world.pass(secs(60));
    world.clear();
    world.tell(Input::Command(Command::Reload));
    assert_eq!(world.solicited.len(), 2);
    for _ in 0..50 {
        world.tell(Input::Command(Command::Reload));
        world.pass(Duration::from_millis(100));
    }
    for router in [0, 1] {
        let times: Vec<_> = world.solicited.iter().filter(|s| s.1 == slot(router)).collect();
        assert!(times.windows(2).all(|pair| pair[1].0 - pair[0].0 >= secs(1)), "{times:?}");
    }
}

#[test]
fn an_mtu_option_out_of_range_is_ignored() {
    let mut world = World::up("10.0.0.1");
    for (sent, expected) in [
        (1481, None),
        (1280, Some(1280)),
        (1279, Some(1280)),
        (1480, Some(1480)),
        (1481, Some(1480)),
        (100, Some(1480)),
        (u32::MAX, Some(1480)),
    ] {
        world.hear(0, &advert(1800, &[crate::message::mtu(sent)]));
        assert_eq!(world.routes()[0].mtu.map(isatapd_proto::Mtu::get), expected, "MTU {sent}");
    }
    assert_eq!(world.counter("MTUs below 1280 or above the tunnel's ignored"), 5);
}

#[test]
fn the_dump_shows_all() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &good());
    let dump = world.dump().join("\n");
    for part in ["locator 10.0.0.5", "router 10.0.0.1: slot 0", "default router for 1800 s"] {
        assert!(dump.contains(part), "{part} is not in\n{dump}");
    }
    assert!(dump.contains("prefix 2001:db8:0:1::/64: address valid 86400 s, preferred 14400 s"));
    assert!(dump.contains("by 10.0.0.1"));
}
