//! The router role: who is answered, when, and with what.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatapd_engine::Input;
use isatapd_engine::wire::icmp6;
use isatapd_engine::wire::router_advert::{self, RouterAdvert};
use isatapd_proto::isatap::{UBit, address, link_local};
use isatapd_proto::{
    Advertise, AdvertisedPrefix, AdvertisedRoute, Backend, Bounded, Command, Config, Lifetime,
    Link, OnLinkPrefix, Preference, RouterLifetime, State, Tunnel,
};

use crate::world::{World, config, secs, v4};

pub(crate) const LOCATOR: &str = "192.0.2.1";
pub(crate) const SITE: &str = "2001:db8:0:1::";
pub(crate) const NEW: &str = "2001:db8:0:2::";
const ALL_ROUTERS: &str = "ff02::2";
const RS: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

pub(crate) fn of(prefix: &str) -> AdvertisedPrefix {
    AdvertisedPrefix {
        prefix: OnLinkPrefix::try_from(prefix.parse::<Ipv6Addr>().unwrap()).unwrap(),
        valid: Lifetime::from_secs(2_592_000),
        preferred: Lifetime::from_secs(604_800),
        on_link: true,
        autonomous: true,
    }
}

pub(crate) fn advertise(prefixes: &[AdvertisedPrefix]) -> Advertise {
    Advertise {
        lifetime: 1800.try_into().unwrap(),
        preference: Preference::High,
        hop_limit: 64,
        managed: false,
        other: true,
        reachable: 30_000.try_into().unwrap(),
        retrans_timer: 1000,
        mtu: None,
        prefixes: Bounded::first_of(prefixes.iter().copied()),
        routes: Bounded::default(),
        dns: Bounded::default(),
        domains: Bounded::default(),
        dns_lifetime: Lifetime::from_secs(1800),
        pref64: None,
    }
}

pub(crate) fn routing(routers: &str, advertise: Advertise) -> Config {
    Config { advertise: Some(advertise), ..config(routers) }
}

pub(crate) fn forwarding(forwarding: bool) -> Input<'static> {
    let (locator, mtu) = (v4(LOCATOR), 1480.try_into().unwrap());
    let tunnel = Some(Tunnel { locator, mtu, backend: Backend::Tun });
    Input::Link(Link { tunnel, forwarding, ..Link::default() })
}

/// A router with a tunnel, forwarding; these are the others or their names.
pub(crate) fn router_of(routers: &str, advertise: Advertise) -> World {
    let mut world = World::new();
    world.tell(Input::Config(routing(routers, advertise)));
    world.link_by_path(LOCATOR);
    world.tell(forwarding(true));
    world.transmitted.clear();
    world.lines.clear();
    world
}

pub(crate) fn router() -> World {
    router_of("", advertise(&[of(SITE)]))
}

pub(crate) fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

pub(crate) fn own(form: UBit) -> Ipv6Addr {
    link_local(v4(LOCATOR), form)
}

pub(crate) fn source_of(host: Ipv4Addr) -> Ipv6Addr {
    link_local(host.try_into().unwrap(), UBit::of(host))
}

pub(crate) fn solicit_as(world: &mut World, from: Ipv4Addr, source: Ipv6Addr, to: Ipv6Addr) {
    let packet = icmp6::packet(source, to, &RS);
    world.tell(Input::Tunnelled { from, packet: &packet });
}

pub(crate) fn solicit(world: &mut World, from: Ipv4Addr) {
    solicit_as(world, from, source_of(from), own(UBit::Local));
}

/// What was sent: to whom, from where, where to, what.
pub(crate) fn sent(world: &World) -> Vec<(Ipv4Addr, Ipv6Addr, Ipv6Addr, RouterAdvert)> {
    let read = |(_, to, packet): &(_, Ipv4Addr, Vec<u8>)| {
        assert!(packet.len() <= 1280);
        let opened = icmp6::open(packet).unwrap();
        assert_eq!(opened.hop_limit, 255);
        let advert = router_advert::parse(opened.message).unwrap();
        assert_eq!(advert.skipped, RouterAdvert::default().skipped);
        (*to, opened.source, opened.destination, advert)
    };
    world.transmitted.iter().map(read).collect()
}

pub(crate) fn to_whom(world: &World) -> Vec<Ipv4Addr> {
    world.transmitted.iter().map(|(_, to, _)| *to).collect()
}

pub(crate) fn last(world: &World) -> RouterAdvert {
    sent(world).pop().unwrap().3
}

/// A49 to A52: at once, unicast, from the form of our address that the host knows.
#[test]
fn each_form_is_answered_from_itself() {
    let group: Ipv6Addr = ALL_ROUTERS.parse().unwrap();
    let global = |host: Ipv4Addr| {
        let site = SITE.parse().unwrap();
        address(site, host.try_into().unwrap(), UBit::Local)
    };
    let link_local = |host: Ipv4Addr, u| link_local(host.try_into().unwrap(), u);
    for (from, to, answered_from) in [
        (source_of(host(1)), own(UBit::Local), UBit::Local),
        (source_of(host(1)), own(UBit::Universal), UBit::Universal),
        (source_of(host(1)), group, UBit::Local),
        (link_local(host(1), UBit::Universal), own(UBit::Local), UBit::Local),
        (global(host(1)), own(UBit::Local), UBit::Local),
    ] {
        let mut world = router();
        solicit_as(&mut world, host(1), from, to);
        let [(outer, source, destination, advert)] = &sent(&world)[..] else {
            panic!("{:?}", world.transmitted)
        };
        assert_eq!((*outer, *source, *destination), (host(1), own(answered_from), from));
        assert_eq!(world.transmitted[0].0, world.now, "without delay while it is quiet");
        assert_eq!(advert.prefixes.len(), 1);
    }
    // A locator that is globally unique has the other form by default.
    let mut world = World::new();
    world.tell(Input::Config(routing("", advertise(&[]))));
    world.link_by_path("8.8.8.9");
    solicit_as(&mut world, host(1), source_of(host(1)), group);
    assert_eq!(sent(&world)[0].1, "fe80::200:5efe:808:809".parse::<Ipv6Addr>().unwrap());
}

/// A50, F7, F22
#[test]
fn what_is_not_answered() {
    let (good, ours) = (source_of(host(1)), own(UBit::Local));
    let packet = |source: &str, to: &str, message: &[u8]| {
        icmp6::packet(source.parse().unwrap(), to.parse().unwrap(), message)
    };
    let (good, ours) = (good.to_string(), ours.to_string());
    let options = |options: &[u8]| packet(&good, &ours, &[&RS, options].concat());
    let changed = |at: usize, octet: u8| {
        let mut packet = packet(&good, &ours, &RS);
        packet[at] = octet;
        packet
    };
    let dropped = |why: &str| format!("hosts' solicitations dropped: {why}");
    let source = dropped("source not an address of the sender on the link");
    let destination = dropped("destination not ours");
    let malformed = dropped("malformed");
    for (packet, counter) in [
        (changed(7, 64), &dropped("hop limit not 255")),
        (changed(7, 254), &dropped("hop limit not 255")),
        (packet(&good, &ours, &[133, 1, 0, 0, 0, 0, 0, 0]), &malformed),
        (packet(&good, &ours, &RS[..7]), &malformed),
        (options(&[1, 0, 0, 0, 0, 0, 0, 0]), &malformed),
        (options(&[1, 1, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0]), &malformed),
        (options(&[1, 2, 0, 0, 0, 0, 0, 0]), &malformed),
        (packet("::", ALL_ROUTERS, &RS), &source),
        (packet("fe80::1", &ours, &RS), &source),
        (packet("fe80::5efe:a00:2", &ours, &RS), &source),
        (packet("fe80:0:0:1:0:5efe:a00:1", &ours, &RS), &source),
        (packet("2001:db8:0:9:0:5efe:a00:1", &ours, &RS), &source),
        (packet(&good, "ff02::1", &RS), &destination),
        (packet(&good, "fe80::5efe:c000:202", &RS), &destination),
        (packet(&good, "2001:db8:0:1:0:5efe:c000:201", &RS), &destination),
    ] {
        let mut world = router();
        world.tell(Input::Tunnelled { from: host(1), packet: &packet });
        world.pass(secs(10));
        assert!(world.transmitted.is_empty(), "{counter}");
        assert_eq!(world.counter(counter), 1, "{counter}");
    }
    let mut world = router();
    // A link-layer address of any length is of no interest.
    world.tell(Input::Tunnelled { from: host(1), packet: &options(&[1, 1, 9, 9, 9, 9, 9, 9]) });
    assert_eq!(world.transmitted.len(), 1);
    // One from ourselves, and one with a wrong checksum.
    solicit_as(&mut world, v4(LOCATOR).get(), own(UBit::Local), own(UBit::Local));
    world.tell(Input::Tunnelled { from: host(1), packet: &changed(43, 1) });
    world.pass(secs(10));
    assert_eq!(world.transmitted.len(), 1);
}

#[test]
fn a_host_answers_nobody() {
    let mut world = World::new();
    world.tell(Input::Config(config("")));
    world.link_by_path(LOCATOR);
    solicit(&mut world, host(1));
    world.pass(secs(10));
    assert!(world.transmitted.is_empty());
    assert_eq!(world.counter("hosts' solicitations dropped: not a router, or no tunnel"), 1);
    world.tell(Input::Command(Command::Stop));
    assert_eq!(world.states().last(), Some(&State::Finished));
}

/// A53: all of it.
#[test]
fn contents_are_those_of_the_configuration() {
    let deprecated = AdvertisedPrefix { preferred: Lifetime::ZERO, on_link: false, ..of(NEW) };
    let config = Advertise {
        managed: true,
        mtu: Some(1280.try_into().unwrap()),
        routes: Bounded::first_of([AdvertisedRoute {
            destination: "2001:db8::/32".parse::<ipnet::Ipv6Net>().unwrap().try_into().unwrap(),
            lifetime: Lifetime::from_secs(600),
            preference: Preference::Low,
        }]),
        dns: Bounded::first_of(["2001:db8::53".parse().unwrap()]),
        domains: Bounded::first_of(["example.com".parse().unwrap()]),
        pref64: Some("64:ff9b::/96".parse().unwrap()),
        lifetime: 1801.try_into().unwrap(),
        ..advertise(&[of(SITE), deprecated])
    };
    let mut world = router_of("", config);
    solicit(&mut world, host(1));
    let advert = last(&world);
    assert_eq!(advert.hop_limit, Some(64));
    assert!(advert.managed && advert.other);
    assert_eq!(advert.preference, Some(Preference::High));
    assert_eq!(advert.router_lifetime, secs(1801));
    assert_eq!((advert.reachable_time, advert.retrans_timer), (Some(secs(30)), Some(secs(1))));
    assert_eq!(advert.mtu, Some(1280));
    let prefixes: Vec<_> = advert
        .prefixes
        .iter()
        .map(|p| (p.prefix.to_string(), p.on_link, p.valid.secs(), p.preferred.secs()))
        .collect();
    let [site, new] = [SITE, NEW].map(|prefix| format!("{prefix}/64"));
    assert_eq!(prefixes, [(site, true, 2_592_000, 604_800), (new, false, 2_592_000, 0)]);
    let [route] = &advert.routes[..] else { panic!("{advert:?}") };
    assert_eq!((route.prefix.to_string().as_str(), route.lifetime.secs()), ("2001:db8::/32", 600));
    assert_eq!(advert.rdnss[0].lifetime.secs(), 1800);
    assert_eq!(advert.dnssl[0].names[0].as_str(), "example.com");
    // RFC 8781 section 4.1: the router's, in units of 8 s, rounded up.
    assert_eq!(advert.pref64[0].lifetime.secs(), 1808);
}

/// RFC 8781 section 4.1 at its ends: of no default router, and of the longest lifetime.
#[test]
fn pref64_has_a_lifetime_of_its_own() {
    for (lifetime, expected) in [(0, 1800), (4, 8), (65_528, 65_528), (65_535, 65_528)] {
        let pref64 = Some("64:ff9b::/96".parse().unwrap());
        let lifetime: RouterLifetime = lifetime.try_into().unwrap();
        let mut world = router_of("", Advertise { lifetime, pref64, ..advertise(&[]) });
        solicit(&mut world, host(1));
        assert_eq!(last(&world).pref64[0].lifetime.secs(), expected);
    }
}

/// What makes the most and the longest messages.
pub(crate) fn longest() -> Advertise {
    let label = "a".repeat(63);
    let name = |n: u8| format!("x{n}.{label}.{label}.{label}").parse().unwrap();
    let prefixes: Vec<_> = (0..16).map(|n| of(&format!("2001:db8:0:{n}::"))).collect();
    let domains = Bounded::first_of((0..8).map(name));
    Advertise { domains, ..advertise(&prefixes) }
}

/// RFC 6980: no advertisement is longer than 1280 octets; each has the whole header.
#[test]
fn what_is_too_long_for_one_is_sent_in_several() {
    let mut world = router_of("", longest());
    solicit(&mut world, host(1));
    let adverts: Vec<_> = sent(&world).into_iter().map(|(.., advert)| advert).collect();
    assert!(adverts.len() > 1);
    assert!(adverts.iter().all(|a| a.router_lifetime == secs(1800) && a.hop_limit == Some(64)));
    assert_eq!(adverts.iter().map(|a| a.prefixes.len()).sum::<usize>(), 16);
    let names: usize = adverts.iter().flat_map(|a| &a.dnssl).map(|o| o.names.len()).sum();
    assert_eq!(names, 8);
}

/// A48, A56: and as soon as it does, its hosts hear of it.
#[test]
fn without_forwarding_it_is_no_default_router() {
    let mut world = World::new();
    let pref64 = Some("64:ff9b::/96".parse().unwrap());
    let routes = Bounded::first_of([AdvertisedRoute {
        destination: "2001:db8::/32".parse::<ipnet::Ipv6Net>().unwrap().try_into().unwrap(),
        lifetime: Lifetime::from_secs(600),
        preference: Preference::Low,
    }]);
    let config = Advertise { pref64, routes, ..advertise(&[of(SITE)]) };
    world.tell(Input::Config(routing("", config)));
    world.link_by_path(LOCATOR);
    assert!(world.says("router: advertises lifetime 0, as this host does not forward IPv6"));
    solicit(&mut world, host(1));
    let advert = last(&world);
    assert_eq!(advert.router_lifetime, Duration::ZERO);
    let opened = icmp6::open(&world.transmitted[0].2).unwrap();
    assert_eq!(opened.message[5] & 0x18, 0, "Prf is 00");
    assert_eq!(
        (advert.routes[0].lifetime, advert.pref64[0].lifetime),
        (Lifetime::ZERO, Lifetime::ZERO)
    );
    assert_eq!(advert.prefixes[0].preferred.secs(), 604_800);

    world.clear();
    world.transmitted.clear();
    world.tell(forwarding(true));
    assert_eq!(to_whom(&world), [host(1)]);
    assert_eq!(last(&world).router_lifetime, secs(1800));
    world.tell(forwarding(true));
    world.pass(secs(100));
    assert_eq!(world.transmitted.len(), 1, "no change, no advertisement");
    world.tell(forwarding(false));
    assert_eq!(last(&world).router_lifetime, Duration::ZERO);
    assert!(world.says("does not forward"));
}

/// A51: a host is answered every three seconds, but for one answer more; more often it may ask in vain.
#[test]
fn one_host_is_answered_every_three_seconds() {
    let mut world = router();
    for _ in 0..100 {
        solicit(&mut world, host(1));
        world.pass(Duration::from_millis(100));
    }
    let at: Vec<_> = world.transmitted.iter().map(|(at, ..)| *at).collect();
    let after: Vec<_> = at.iter().map(|time| (*time - at[0]).as_millis()).collect();
    assert_eq!(after, [0, 100, 3000, 6000, 9000]);
    world.pass(secs(10));
    let waited = "hosts' solicitations dropped: the host waits for an answer already";
    let answers = u64::try_from(world.transmitted.len()).unwrap();
    assert_eq!(world.counter(waited), 100 - answers);
}

/// A51: in quiet times at once, in a storm within MAX_RA_DELAY_TIME, spread.
#[test]
fn a_storm_is_spread_over_half_a_second() {
    let mut world = router();
    let begin = world.now;
    for number in 1..=210 {
        solicit(&mut world, host(number));
    }
    assert_eq!(world.transmitted.len(), 10, "at once");
    world.pass(secs(1));
    assert_eq!(world.transmitted.len(), 210);
    let after = |limit: u64| {
        let limit = begin + Duration::from_millis(limit);
        world.transmitted.iter().filter(|(at, ..)| *at <= limit).count() - 10
    };
    assert_eq!(after(500), 200);
    assert!((70..130).contains(&after(250)), "{}", after(250));
    assert!((25..75).contains(&after(125)), "{}", after(125));
}

/// Of the longest configuration each host is sent many messages: the rate is theirs.
#[test]
fn no_more_messages_at_once_than_the_channel_takes() {
    let mut world = router_of("", longest());
    solicit(&mut world, host(1));
    let each = world.transmitted.len();
    assert!((3..64).contains(&each), "{each}");
    world.pass(secs(10));
    world.transmitted.clear();
    let begin = world.now;
    for number in 1..=300 {
        solicit(&mut world, host(number));
    }
    world.pass(secs(60));
    let mut hosts = to_whom(&world);
    hosts.sort_unstable();
    let expected = (1..=300).map(host).flat_map(|host| std::iter::repeat_n(host, each));
    assert!(hosts.into_iter().eq(expected), "all of them, all of it");
    let sent = |millis: u64| {
        let limit = begin + Duration::from_millis(millis);
        world.transmitted.iter().filter(|(at, ..)| *at <= limit).count()
    };
    for millis in (0..10_000).step_by(10) {
        assert!(sent(millis) <= 64 + usize::try_from(millis).unwrap() / 2, "{millis} ms");
    }
}

/// F21: 10^5 hosts in ten seconds. Tables and rate are bounded, what is not answered is counted.
#[test]
fn a_flood_is_answered_at_the_rate_and_counted() {
    let mut world = router();
    let (begin, hosts) = (world.now, 100_000);
    let mut most = 0;
    for number in 1..=hosts {
        solicit(&mut world, host(number));
        world.pass(Duration::from_micros(100));
        if number % 5000 == 0 {
            let line = world.dump().into_iter().find(|l| l.contains("answered lately")).unwrap();
            let numbers: Vec<usize> =
                line.split(' ').filter_map(|word| word.parse().ok()).collect();
            assert!(numbers[0] <= 4096 && numbers[1] <= 1024, "{line}");
            most = most.max(numbers[1]);
        }
    }
    assert!(most >= 1020, "the table was full: {most}");
    world.pass(secs(5));
    let answered = world.transmitted.len();
    let in_time = |from: u64| {
        let (from, to) = (begin + secs(from), begin + secs(from + 1));
        world.transmitted.iter().filter(|(at, ..)| *at >= from && *at < to).count()
    };
    assert!(in_time(0) <= 564, "{}", in_time(0));
    assert!((1..15).all(|second| in_time(second) <= 501));
    assert!((3..10).all(|second| in_time(second) >= 490), "at the rate as long as it lasts");
    let dropped = world.counter("hosts' solicitations dropped: too many hosts wait for an answer");
    assert_eq!(dropped + u64::try_from(answered).unwrap(), u64::from(hosts));
    // It is over: a host is answered at once again.
    world.transmitted.clear();
    solicit(&mut world, host(hosts + 1));
    assert_eq!(to_whom(&world), [host(hosts + 1)]);
}
