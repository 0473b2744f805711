//! The host's side by the data path (TUN backend): solicitations, advertisements, on-link routes.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_engine::wire::icmp6;
use isatapd_engine::{Input, Table};
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{Backend, Bounded, Command, NextHop, Preference, Request, Surroundings};

use crate::message::{AUTONOMOUS, ON_LINK, advert, prefix, route};
use crate::world::{World, config, data_path, is_routes, secs, slot, tunnel_by, v4};

const SITE: &str = "2001:db8:0:1::";

fn good() -> Vec<u8> {
    advert(1800, &[prefix(SITE, ON_LINK | AUTONOMOUS, 86_400, 14_400)])
}

/// To whom and where to in the tunnel.
fn solicited(world: &World) -> Vec<(String, String)> {
    let read = |(_, to, packet): &(_, Ipv4Addr, Vec<u8>)| {
        let opened = icmp6::open(packet).unwrap();
        assert_eq!(opened.hop_limit, 255);
        assert_eq!((opened.message.len(), &opened.message[..2]), (8, &[133, 0][..]));
        assert_eq!(opened.message[4..], [0; 4]);
        (to.to_string(), format!("{} to {}", opened.source, opened.destination))
    };
    world.transmitted.iter().map(read).collect()
}

fn destinations(world: &World) -> Vec<String> {
    solicited(world).iter().map(|(_, way)| way.split(' ').next_back().unwrap().to_owned()).collect()
}

/// The octets of the first one, as they leave.
#[test]
fn the_first_leaves_when_the_data_path_is_there() {
    let mut world = World::new();
    world.tell(Input::Config(config("10.0.0.1")));
    world.tell(Input::Link(tunnel_by(Backend::Tun, "10.0.0.5")));
    world.pass(secs(100));
    // No sockets belong to this backend.
    world.socket(slot(0), v4("10.0.0.1"), UBit::Local);
    assert!(world.solicited.is_empty() && world.transmitted.is_empty());

    world.link_by_path("10.0.0.5");
    let [(at, to, packet)] = &world.transmitted[..] else { panic!("{:?}", world.transmitted) };
    assert_eq!((*at, *to), (world.now, Ipv4Addr::new(10, 0, 0, 1)));
    let header = [0x60, 0, 0, 0, 0, 8, 58, 255];
    let (source, destination) = ("fe80::5efe:a00:5", "fe80::5efe:a00:1");
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let expected = [&header[..], &octets(source), &octets(destination)].concat();
    assert_eq!(packet[..40], expected);
    assert_eq!(packet[40..], [133, 0, 0xab, 0xb8, 0, 0, 0, 0]);
}

/// A17
#[test]
fn three_ways_in_turn() {
    let (local, universal) = ("fe80::5efe:cb00:7101", "fe80::200:5efe:cb00:7101");
    let mut world = World::up_by_path("203.0.113.1");
    world.pass(secs(600));
    let turns = [universal, local, "ff02::2", universal, local, "ff02::2"];
    assert_eq!(destinations(&world)[..6], turns);
    assert!(solicited(&world).iter().all(|(to, _)| to == "203.0.113.1"));
    let at: Vec<_> = world.transmitted.iter().map(|t| t.0).collect();
    assert!(at[1] - at[0] >= secs(4) * 9 / 10 && at[1] - at[0] <= secs(4) * 11 / 10);
}

/// What worked is used first, and twice in vain before the others.
#[test]
fn what_worked_is_remembered() {
    let form = |u| link_local(v4("10.0.0.1"), u);
    let (local, universal) = (form(UBit::Local).to_string(), form(UBit::Universal).to_string());
    let group = "ff02::2".to_owned();
    for (silent, source, known, then) in [
        (0, UBit::Local, &local, [&group, &local]),
        (4, UBit::Universal, &universal, [&group, &local]),
        // Asked by ff02::2: it may have no use for the others.
        (13, UBit::Local, &group, [&group, &local]),
        (13, UBit::Universal, &group, [&group, &local]),
    ] {
        let mut world = World::up_by_path("10.0.0.1");
        world.pass(secs(silent));
        let ours = link_local(v4("10.0.0.5"), UBit::Universal);
        let packet = icmp6::packet(form(source), ours, &good());
        // RFC 6980: what is too long comes in several messages.
        for _ in 0..2 {
            world.tell(Input::Tunnelled { from: Ipv4Addr::new(10, 0, 0, 1), packet: &packet });
        }
        assert_eq!(world.routes()[0].next_hop, Some(NextHop { slot: slot(0), form: source }));
        world.clear();
        world.pass(secs(1500));
        let ways = destinations(&world);
        assert_eq!(ways[..2], [known.clone(), known.clone()], "after {silent} s");
        assert_eq!(ways[2..4], then.map(Clone::clone), "after {silent} s");
    }
}

/// A20, A21, RFC 4861 section 6.1.2: each condition alone, and where it is counted.
#[test]
fn only_the_router_itself_is_heard() {
    const ADVERT: &str = "advertisements";
    let [source, other_form] = UBit::BOTH.map(|u| link_local(v4("10.0.0.1"), u));
    let [ours, ours_too] = UBit::BOTH.map(|u| link_local(v4("10.0.0.5"), u));
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let packet = |source, destination| icmp6::packet(source, destination, &good());
    let changed = |at: usize, octet: u8| {
        let mut packet = packet(source, ours);
        packet[at] = octet;
        packet
    };
    let accepted = format!("{ADVERT} accepted");
    let dropped = |why: &str| format!("{ADVERT} dropped: {why}");
    let (to, of) = ("destination not ours", "source not the router's link-local address");
    let broken = |why: &str| format!("packets from the tunnel dropped: {why}");
    let (header, checksum) = (broken("no ICMPv6 in IPv6"), broken("wrong checksum"));
    let neighbour = address("2001:db8:0:1:0:5efe:a00:1");
    let padded = [packet(source, ours), vec![0; 8]].concat();
    let mut bare = packet(source, ours);
    bare.truncate(40 + 8);
    bare[4..6].copy_from_slice(&[0, 8]);
    for (from, packet, counter) in [
        ("10.0.0.1", packet(source, ours), accepted.clone()),
        ("10.0.0.1", packet(source, ours_too), accepted.clone()),
        ("10.0.0.1", packet(other_form, ours), accepted.clone()),
        ("10.0.0.1", packet(source, address("ff02::1")), accepted.clone()),
        ("10.0.0.1", padded, accepted.clone()),
        // Outer source.
        ("10.0.0.9", packet(source, ours), dropped("sender not in the list")),
        ("10.0.0.5", packet(ours, ours), dropped("sender not in the list")),
        ("127.0.0.1", packet(source, ours), dropped("sender not in the list")),
        ("10.0.0.2", packet(source, ours), dropped(of)),
        // Inner source.
        ("10.0.0.1", packet(neighbour, ours), dropped(of)),
        ("10.0.0.1", packet(address("fe80::1"), ours), dropped(of)),
        ("10.0.0.1", packet(address("fe80:0:0:1:0:5efe:a00:1"), ours), dropped(of)),
        ("10.0.0.1", packet(address("fe80::100:5efe:a00:1"), ours), dropped(of)),
        ("10.0.0.1", packet(Ipv6Addr::UNSPECIFIED, ours), dropped(of)),
        ("10.0.0.1", packet(ours, ours), dropped(of)),
        // Destination.
        ("10.0.0.1", packet(source, source), dropped(to)),
        ("10.0.0.1", packet(source, address("ff02::2")), dropped(to)),
        ("10.0.0.1", packet(source, address("ff01::1")), dropped(to)),
        ("10.0.0.1", packet(source, neighbour), dropped(to)),
        ("10.0.0.1", packet(source, Ipv6Addr::UNSPECIFIED), dropped(to)),
        // Hop limit, which the checksum does not cover.
        ("10.0.0.1", changed(7, 254), dropped("hop limit not 255")),
        ("10.0.0.1", changed(7, 0), dropped("hop limit not 255")),
        // Header and checksum.
        ("10.0.0.1", changed(0, 0x45), header.clone()),
        ("10.0.0.1", changed(6, 44), header.clone()),
        ("10.0.0.1", changed(6, 0), header.clone()),
        ("10.0.0.1", changed(4, 1), header.clone()),
        ("10.0.0.1", Vec::new(), header.clone()),
        ("10.0.0.1", vec![0x60; 43], header),
        ("10.0.0.1", changed(42, 0x99), checksum.clone()),
        ("10.0.0.1", changed(47, 0x99), checksum.clone()),
        ("10.0.0.1", bare, checksum),
        // Message.
        ("10.0.0.1", icmp6::packet(source, ours, &[137; 40]), dropped("malformed")),
        ("10.0.0.1", icmp6::packet(source, ours, &good()[..15]), dropped("malformed")),
        ("10.0.0.1", icmp6::packet(source, ours, &[134, 1]), broken("no ICMPv6 in IPv6")),
    ] {
        let mut world = World::up_by_path("10.0.0.1 10.0.0.2");
        world.tell(Input::Tunnelled { from: from.parse().unwrap(), packet: &packet });
        assert_eq!(world.counter(&counter), 1, "{from} {packet:02x?}: not {counter}");
        assert_eq!(world.routes().is_empty(), counter != accepted, "{from} {packet:02x?}");
        assert_eq!(world.table.routes.is_empty(), counter != accepted, "{from} {packet:02x?}");
    }
}

/// Also to an address that was formed (A21); not any more without a data path.
#[test]
fn advertisements_to_our_addresses() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &good());
    let source = link_local(v4("10.0.0.1"), UBit::Local);
    let formed = "2001:db8:0:1:0:5efe:a00:5".parse().unwrap();
    let packet = icmp6::packet(source, formed, &advert(0, &[]));
    let from = Ipv4Addr::new(10, 0, 0, 1);
    world.tell(Input::Tunnelled { from, packet: &packet });
    assert_eq!(world.counter("advertisements accepted"), 2);
    world.unlink();
    world.tell(Input::Tunnelled { from, packet: &packet });
    world.hear_by_path("10.0.0.1", &good());
    assert_eq!(world.counter("advertisements accepted"), 2);
    assert_eq!(world.counter("advertisements dropped: destination not ours"), 2);
}

/// N-7, as by sockets: neither a router's flood nor that of all the others costs more.
#[test]
fn floods_are_bounded() {
    let mut world = World::up_by_path("10.0.0.1 10.0.0.2");
    world.clear();
    for i in 0..5000_u32 {
        let option = route("2001:db8:9::/48", if i % 2 == 0 { 0x08 } else { 0x18 }, 600);
        world.hear_by_path("10.0.0.1", &advert(1800, &[option]));
        world.hear_by_path("10.9.9.9", &good());
        world.tell(Input::Tunnelled { from: Ipv4Addr::BROADCAST, packet: &[0; 64] });
    }
    assert_eq!(world.counter("advertisements accepted"), 50);
    assert_eq!(world.counter("advertisements dropped: too many in a second"), 4950);
    assert_eq!(world.counter("advertisements dropped: sender not in the list"), 5000);
    assert_eq!(world.published, 50);
    assert!(world.transmitted.is_empty());
    assert!(world.count(is_routes) <= 20);
    assert!(world.lines.len() < 12, "{:#?}", world.lines);
    world.hear_by_path("10.0.0.2", &advert(0, &[]));
    assert_eq!(world.counter("advertisements accepted"), 51, "the other is heard");
}

/// B15, and only here: the kernel's tunnel has no way to neighbours.
#[test]
fn prefixes_on_the_link_have_a_route() {
    let options = |lifetime| {
        let both = prefix(SITE, ON_LINK | AUTONOMOUS, lifetime, lifetime);
        let no_address = prefix("2001:db8:0:2::", ON_LINK, lifetime, 0);
        let no_link = prefix("2001:db8:0:3::", AUTONOMOUS, 600, 600);
        let loop_back = prefix("2002:a00:5:1::", ON_LINK, 600, 600);
        advert(1800, &[both, no_address, no_link, loop_back])
    };
    let on_link = |world: &World| {
        let routes = world.routes();
        let routes = routes.iter().filter(|r| r.next_hop.is_none());
        routes
            .map(|r| {
                assert_eq!((r.preference, r.mtu, r.hop_limit), (Preference::Medium, None, None));
                (r.destination.to_string(), r.lifetime.secs())
            })
            .collect::<Vec<_>>()
    };
    let net = |number| format!("2001:db8:0:{number}::/64");
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &options(900));
    assert_eq!(on_link(&world), [(net(1), 900), (net(2), 900)]);
    assert_eq!(world.routes()[0].destination.to_string(), "::/0");
    // L = 0 says nothing, zero withdraws, and lifetimes end.
    world.hear_by_path("10.0.0.1", &advert(1800, &[prefix(SITE, AUTONOMOUS, 0, 0)]));
    assert_eq!(on_link(&world).len(), 2);
    world.hear_by_path("10.0.0.1", &advert(1800, &[prefix(SITE, ON_LINK, 0, 0)]));
    assert_eq!(on_link(&world), [(net(2), 900)]);
    world.pass(secs(900));
    assert!(on_link(&world).is_empty() && world.table.on_link.is_empty());

    let mut world = World::up("10.0.0.1");
    world.hear(0, &options(900));
    assert!(on_link(&world).is_empty());
    assert_eq!(world.published, 0);
}

/// What only a router that left has said of neighbours ends like the addresses of its prefixes.
#[test]
fn prefixes_of_a_router_that_left_end() {
    let forever = |net: &str, flags| prefix(net, flags, u32::MAX, u32::MAX);
    let ours = forever(SITE, ON_LINK | AUTONOMOUS);
    let (near, shared) = ("2001:db8:0:2::", "2001:db8:0:3::");
    let mut world = World::up_by_path("10.0.0.1 10.0.0.2");
    let options = [ours, forever(near, ON_LINK), forever(shared, ON_LINK)];
    world.hear_by_path("10.0.0.1", &advert(1800, &options));
    world.hear_by_path("10.0.0.2", &advert(1800, &[forever(shared, ON_LINK)]));
    let on_link = |world: &World| {
        let routes = world.routes();
        let routes = routes.iter().filter(|r| r.next_hop.is_none());
        routes.map(|r| (r.destination.to_string(), r.lifetime.secs())).collect::<Vec<_>>()
    };
    let [site, near, shared] = [SITE, near, shared].map(|net| format!("{net}/64"));
    world.tell(Input::Config(config("10.0.0.2")));
    assert_eq!(on_link(&world), [(site, 7200), (near, 7200), (shared.clone(), u32::MAX)]);
    world.pass(secs(7200));
    assert_eq!((world.addresses().len(), on_link(&world)), (0, vec![(shared, u32::MAX)]));
}

#[test]
fn another_backend_is_another_tunnel() {
    let mut world = World::up("10.0.0.1");
    world.hear(0, &good());
    world.pass(secs(60));
    world.clear();
    world.link_by_path("10.0.0.5");
    assert!(world.solicited.is_empty());
    assert_eq!(destinations(&world), ["fe80::5efe:a00:1"]);
    assert_eq!((world.addresses().len(), world.routes().len()), (1, 2), "kept, and on-link");
    assert_eq!(world.count(|r| matches!(r, Request::SetAddresses(_))), 1, "told again");
    assert_eq!((world.table.own.len(), world.table.routes.len()), (3, 1));

    world.pass(secs(60));
    world.clear();
    world.link("10.0.0.5");
    assert!(world.transmitted.is_empty());
    assert_eq!(world.solicited, [(world.now, slot(0), UBit::Local)]);
    assert_eq!(world.routes().len(), 1);
    assert_eq!((&*world.table, world.published), (&Table::default(), 1), "nothing passes");
}

/// Descriptors that replace others: what was sent by those may be lost.
#[test]
fn another_data_path_is_used_at_once() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &good());
    world.pass(secs(60));
    world.clear();
    world.tell(Input::DataPath(data_path()));
    assert_eq!((world.transmitted.len(), world.published), (1, 0));
    for _ in 0..50 {
        world.tell(Input::DataPath(data_path()));
    }
    assert_eq!(world.transmitted.len(), 1, "not twice in a second");
}

/// A new child is told the same state, and asks at once; what it learns is the same.
#[test]
fn a_new_child_comes_to_the_same() {
    let mut before = World::up_by_path("10.0.0.1");
    before.hear_by_path("10.0.0.1", &good());
    let mut world = World::new();
    world.tell(Input::Config(config("10.0.0.1")));
    world.resolver("");
    world.link_by_path("10.0.0.5");
    assert_eq!(world.transmitted.len(), 1);
    world.hear_by_path("10.0.0.1", &good());
    assert_eq!(world.table, before.table);
    assert_eq!((world.routes(), world.addresses()), (before.routes(), before.addresses()));
}

/// Whatever is told first, all is there in the end.
#[test]
fn what_is_told_before_the_configuration_counts() {
    let mut world = World::new();
    let address = "fd00::1".parse().unwrap();
    world.tell(Input::Surroundings(Surroundings {
        addresses: Bounded::first_of([address]),
        ..Surroundings::default()
    }));
    world.link_by_path("10.0.0.5");
    assert_eq!((world.published, world.transmitted.len()), (0, 0));
    world.tell(Input::Config(config("10.0.0.1")));
    assert_eq!((world.published, world.transmitted.len()), (1, 1));
    assert!(world.table.own.contains(&address));
}

#[test]
fn new_routers_and_reloads_are_asked_at_once() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &good());
    world.pass(secs(60));
    world.clear();
    world.tell(Input::Config(config("10.0.0.1 10.0.0.2")));
    assert_eq!(destinations(&world), ["fe80::5efe:a00:2"]);
    world.pass(secs(1));
    world.clear();
    world.tell(Input::Command(Command::Reload));
    assert_eq!(world.transmitted.len(), 2);
}

/// F23: as by sockets.
#[test]
fn many_routers_are_spread() {
    let list: Vec<_> = (1..=64).map(|i| format!("10.0.0.{i}")).collect();
    let mut world = World::up_by_path(&list.join(" "));
    world.pass(secs(600));
    for (at, ..) in &world.transmitted {
        let window = *at..*at + secs(1);
        let count = world.transmitted.iter().filter(|t| window.contains(&t.0)).count();
        assert!(count <= 10, "{count} in the second after {at:?}");
    }
}
