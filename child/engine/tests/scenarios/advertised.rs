//! The router role: what it is itself, the other routers, and what its hosts hear of changes.

use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{Advertise, AdvertisedPrefix, Command, Lifetime, State};

use crate::advertise::{
    LOCATOR, NEW, SITE, advertise, forwarding, host, last, longest, of, router, router_of, routing,
    sent, solicit, solicit_as, source_of, to_whom,
};
use crate::message::{self, AUTONOMOUS, Answer, ON_LINK, advert, mtu, prefix};
use crate::world::{World, config, is_addresses, is_routes, secs, v4};

/// A54: what a router wishes of itself is its configuration.
#[test]
fn own_addresses_and_prefixes_are_those_advertised() {
    let deprecated = AdvertisedPrefix { preferred: Lifetime::ZERO, on_link: false, ..of(NEW) };
    let world = router_of("", advertise(&[of(SITE), deprecated]));
    let addresses: Vec<_> =
        world.addresses().iter().map(|a| (a.prefix, a.on_link, a.valid, a.preferred)).collect();
    let forever = Lifetime::INFINITE;
    let expected = [
        (of(SITE).prefix, true, forever, forever),
        (of(NEW).prefix, true, forever, Lifetime::ZERO),
    ];
    assert_eq!(addresses, expected);
    let routes: Vec<_> = world
        .routes()
        .iter()
        .map(|r| (r.destination.net().to_string(), r.next_hop, r.lifetime))
        .collect();
    let [site, new] = [SITE, NEW].map(|prefix| format!("{prefix}/64"));
    assert_eq!(routes, [(site, None, forever), (new, None, forever)]);
    assert_eq!(world.states().last(), Some(&State::Working));

    // One that has no prefix, as hosts have theirs elsewhere, works too.
    let world = router_of("", advertise(&[]));
    assert_eq!(world.states().last(), Some(&State::Working));
}

/// A58: others are asked and compared, not followed.
#[test]
fn other_routers_are_compared_and_not_followed() {
    let mut world = router_of("192.0.2.1 192.0.2.2", {
        let mtu = Some(1280.try_into().unwrap());
        let pref64 = Some("64:ff9b::/96".parse().unwrap());
        Advertise { mtu, pref64, ..advertise(&[of(SITE)]) }
    });
    // Not ourselves.
    let routers: Vec<_> = world.routers().iter().map(|wish| wish.router).collect();
    assert_eq!(routers, [v4("192.0.2.2")]);
    world.pass(secs(10));
    let (addresses, routes) = (world.addresses(), world.routes());
    world.clear();

    // As we do: flag O, reachable time 30 s, retransmission timer 1 s.
    let header = |limit: u8, flags: u8, reachable: u32| {
        let mut advert = advert(1800, &[]);
        (advert[4], advert[5]) = (limit, flags);
        advert[8..12].copy_from_slice(&reachable.to_be_bytes());
        advert
    };
    let with = |header: Vec<u8>, options: &[Vec<u8>]| [header, options.concat()].concat();
    let flags = ON_LINK | AUTONOMOUS;
    let same = prefix(SITE, flags, 2_592_000, 604_800);
    world.hear_by_path("192.0.2.2", &with(header(64, 0x40, 30_000), std::slice::from_ref(&same)));
    assert!(!world.says("advertises"), "{:?}", world.lines);

    let other = message::pref64("2001:db8:64::".parse().unwrap(), 225);
    let unlike =
        [mtu(1400), prefix(SITE, flags, 86_400, 14_400), prefix(NEW, flags, 60, 60), other];
    let unlike = with(header(32, 0x80, 1000), &unlike);
    world.hear_by_path("192.0.2.2", &unlike);
    let lines: Vec<_> = world.lines.iter().filter(|l| l.contains("advertises")).cloned().collect();
    let expected = [
        "hop limit 32, we 64",
        "flag M set, we not set",
        "flag O not set, we set",
        "reachable time 1000 ms, we 30000 ms",
        "MTU 1400, we 1280",
        "2001:db8:0:1::/64 valid 86400 s, we 2592000 s",
        "2001:db8:0:1::/64 preferred 14400 s, we 604800 s",
        "NAT64 prefixes 2001:db8:64::/96, we 64:ff9b::/96",
    ];
    assert_eq!(lines, expected.map(|text| format!("router 192.0.2.2: advertises {text}")));

    world.lines.clear();
    world.hear_by_path("192.0.2.2", &unlike);
    assert!(!world.says("advertises"), "said once: {:?}", world.lines);
    world.hear_by_path("192.0.2.2", &with(header(33, 0x40, 30_000), &[]));
    assert!(world.says("advertises hop limit 33, we 64"));
    // Its other messages say nothing of the prefix: that is no agreement, nor news when it is back.
    world.lines.clear();
    let header = header(64, 0x40, 30_000);
    let ours = message::pref64("64:ff9b::".parse().unwrap(), 225);
    let agreed = with(header.clone(), &[mtu(1280), ours]);
    for _ in 0..3 {
        world.hear_by_path("192.0.2.2", &agreed);
        let unlike = prefix(SITE, flags, 86_400, 14_400);
        world.hear_by_path("192.0.2.2", &with(header.clone(), &[unlike]));
    }
    assert!(!world.says("advertises"), "{:?}", world.lines);
    world.hear_by_path("192.0.2.2", &with(header, &[same]));
    assert!(world.says("router 192.0.2.2: advertises the same as we do"));
    world.pass(secs(100));
    assert_eq!((world.count(is_addresses), world.count(is_routes)), (0, 0));
    assert_eq!((world.addresses(), world.routes()), (addresses, routes));
}

/// A60
#[test]
fn a_router_that_its_site_does_not_name_says_so_once() {
    let zone = |address: &str| {
        let answer = Answer::Addresses(vec![address.parse().unwrap()], 60);
        [("*".to_owned(), answer)].into_iter().collect()
    };
    let unlisted = "router: locator 192.0.2.1 is not among the addresses of isatap.example.com, \
                    where hosts look for routers";
    let mut world = World::new();
    world.servers = vec![zone("192.0.2.2")];
    let spec = "isatap.example.com";
    world.tell(Input::Config(routing(spec, advertise(&[of(SITE)]))));
    world.resolver("");
    assert!(!world.says("not among"), "where we are is not known yet");
    world.link_by_path(LOCATOR);
    let said = |world: &World| world.lines.iter().filter(|line| *line == unlisted).count();
    assert_eq!(said(&world), 1, "{:?}", world.lines);
    world.pass(secs(1000));
    assert_eq!(said(&world), 1);
    world.servers = vec![zone(LOCATOR)];
    world.pass(secs(1000));
    assert!(world.routers().is_empty(), "ourselves is no other router");
    world.servers = vec![zone("192.0.2.3")];
    world.pass(secs(1000));
    assert_eq!(said(&world), 2, "a change");

    let mut world = World::new();
    world.servers = vec![[("*".to_owned(), Answer::Code(3))].into_iter().collect()];
    world.tell(Input::Config(routing(spec, advertise(&[of(SITE)]))));
    world.resolver("");
    world.link_by_path(LOCATOR);
    world.pass(secs(100));
    assert!(!world.says("not among"), "no answer says nothing");
}

/// A49: hosts that were answered are told of another configuration, at the rate; what went is
/// withdrawn for two hours.
#[test]
fn hosts_are_told_of_a_change() {
    let mut world = router();
    for number in 1..=3000 {
        solicit(&mut world, host(number));
        world.pass(Duration::from_millis(10));
    }
    world.pass(secs(10));
    world.transmitted.clear();
    let begin = world.now;
    world.tell(Input::Config(routing("", advertise(&[of(NEW)]))));
    assert_eq!(world.transmitted.len(), 64);
    world.pass(secs(10));
    let mut told = to_whom(&world);
    told.sort_unstable();
    assert!(told.into_iter().eq((1..=3000).map(host)), "each once");
    let last_at = world.transmitted.last().unwrap().0;
    assert!(last_at >= begin + secs(5) && last_at < begin + secs(6), "{last_at:?}");
    let lifetimes = |world: &World| -> Vec<_> {
        let prefixes = last(world).prefixes;
        prefixes.iter().map(|p| (p.prefix.addr(), p.valid.secs(), p.preferred.secs())).collect()
    };
    let new = (NEW.parse().unwrap(), 2_592_000, 604_800);
    assert_eq!(lifetimes(&world), [new, (SITE.parse().unwrap(), 0, 0)]);
    assert_eq!(world.addresses().iter().map(|a| a.prefix).collect::<Vec<_>>(), [of(NEW).prefix]);

    // The same again is no news; later the old prefix is forgotten.
    world.transmitted.clear();
    world.tell(Input::Config(routing("", advertise(&[of(NEW)]))));
    world.pass(secs(60));
    assert!(world.transmitted.is_empty());
    world.pass(secs(7200));
    assert!(world.transmitted.is_empty());
    solicit(&mut world, host(9000));
    world.pass(secs(10));
    assert_eq!(lifetimes(&world), [new]);
}

/// However often it was told of a change just now, a host that asks is answered within three seconds.
#[test]
fn changes_do_not_put_off_answers() {
    let mut world = router();
    solicit(&mut world, host(1));
    world.pass(secs(10));
    world.transmitted.clear();
    for turn in 0..40 {
        world.tell(forwarding(turn % 2 == 1));
        world.pass(Duration::from_millis(10));
    }
    assert_eq!(to_whom(&world), [host(1); 40]);
    world.transmitted.clear();
    solicit(&mut world, host(1));
    world.pass(secs(3));
    assert_eq!(to_whom(&world), [host(1)]);
}

/// A59: all within the parent's patience, the latest first, then it is over.
#[test]
fn the_end_is_told_to_all() {
    let mut world = router();
    for number in 1..=5000 {
        solicit(&mut world, host(number));
        world.pass(Duration::from_millis(100));
    }
    world.pass(secs(10));
    world.transmitted.clear();
    let (begin, hosts) = (world.now, (905..=5000).rev().map(host));
    world.tell(Input::Command(Command::Stop));
    while world.states().last() != Some(&State::Finished) {
        let before = world.transmitted.len();
        let next = world.engine.deadline().unwrap().time_since_boot();
        world.pass(next - world.now);
        assert!(world.transmitted.len() <= before + 64, "as much as the channel takes");
    }
    assert!(to_whom(&world).into_iter().eq(hosts), "those of the table, each once");
    assert!(world.now - begin < Duration::from_millis(150), "{:?}", world.now - begin);
    for (.., advert) in sent(&world) {
        assert_eq!((advert.router_lifetime, advert.prefixes.len()), (Duration::ZERO, 1));
    }
    // Who asks now hears the same.
    world.transmitted.clear();
    solicit(&mut world, host(1));
    world.pass(secs(10));
    assert_eq!(last(&world).router_lifetime, Duration::ZERO);
}

/// Each is sent all messages before the next, so that some know all if time is short.
#[test]
fn the_end_is_told_by_all_messages() {
    let mut world = router_of("", longest());
    for number in 1..=200 {
        solicit(&mut world, host(number));
        world.pass(secs(1));
    }
    world.transmitted.clear();
    world.tell(Input::Command(Command::Stop));
    assert_eq!(world.transmitted.len(), 64);
    world.pass(secs(1));
    assert_eq!(world.states().last(), Some(&State::Finished));
    let each = world.transmitted.len() / 200;
    let expected = (1..=200).rev().map(host).flat_map(|host| std::iter::repeat_n(host, each));
    assert!(each > 2 && to_whom(&world).into_iter().eq(expected));
}

/// There is no way to tell them.
#[test]
fn the_end_without_a_tunnel_is_at_once() {
    let mut world = router();
    solicit(&mut world, host(1));
    world.unlink();
    world.tell(Input::Command(Command::Stop));
    assert_eq!(world.states().last(), Some(&State::Finished));
}

/// The uplink was away for a moment: the same router is back, and its hosts hear of what changed.
#[test]
fn a_tunnel_that_comes_back_has_its_hosts() {
    let mut world = router();
    solicit(&mut world, host(1));
    world.unlink();
    world.transmitted.clear();
    world.tell(Input::Config(routing("", advertise(&[of(NEW)]))));
    world.pass(secs(10));
    assert!(world.transmitted.is_empty());
    world.link_by_path(LOCATOR);
    world.pass(secs(10));
    let told = to_whom(&world);
    assert!(!told.is_empty() && told.iter().all(|to| *to == host(1)), "{told:?}");
    assert_eq!(last(&world).prefixes[0].prefix.addr(), NEW.parse::<std::net::Ipv6Addr>().unwrap());
}

/// Another locator is another router: nobody knows it, and it answers from there.
#[test]
fn a_locator_that_moves_is_not_told_to_those_who_knew_the_old_one() {
    let mut world = router();
    solicit(&mut world, host(1));
    solicit(&mut world, host(1));
    world.transmitted.clear();
    world.link_by_path("192.0.2.9");
    world.pass(secs(10));
    assert!(world.transmitted.is_empty());
    let to = link_local(v4("192.0.2.9"), UBit::Local);
    solicit_as(&mut world, host(1), source_of(host(1)), to);
    assert_eq!(sent(&world)[0].1, to);
}

/// A router becomes a host and a router again: each time it forgets what it was.
#[test]
fn roles_change() {
    let mut world = router_of("192.0.2.2", advertise(&[of(SITE)]));
    for _ in 0..2 {
        solicit(&mut world, host(1));
    }
    world.transmitted.clear();
    world.tell(Input::Config(config("192.0.2.2")));
    let advert = sent(&world).into_iter().find(|(to, ..)| *to == host(1)).unwrap().3;
    assert_eq!(advert.router_lifetime, Duration::ZERO, "it says goodbye");
    world.transmitted.clear();
    world.pass(secs(10));
    assert!(!to_whom(&world).contains(&host(1)), "a host does not answer who waited");
    assert!(world.addresses().is_empty() && world.routes().is_empty());
    let flags = ON_LINK | AUTONOMOUS;
    world.hear_by_path("192.0.2.2", &message::advert(1800, &[prefix(NEW, flags, 600, 600)]));
    world.pass(secs(10));
    assert_eq!(world.addresses().len(), 1);
    world.tell(Input::Config(routing("192.0.2.2", advertise(&[of(SITE)]))));
    world.pass(secs(10));
    assert_eq!(world.addresses().iter().map(|a| a.prefix).collect::<Vec<_>>(), [of(SITE).prefix]);
    assert!(world.routes().iter().all(|route| route.next_hop.is_none()));
}
