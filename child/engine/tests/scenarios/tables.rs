//! What the data path is told to go by (TUN backend).

use std::net::Ipv6Addr;
use std::time::Duration;

use isatapd_datapath::Role;
use isatapd_engine::{Input, Table};
use isatapd_proto::{
    Bounded, Config, DataPath, ForeignRoute, Link, MtuMethod, Preference, Surroundings, Tunnel,
    UnicastV4,
};

use crate::advertise::{advertise, of};
use crate::message::{AUTONOMOUS, ON_LINK, advert, prefix, route};
use crate::world::{World, config, data_path, secs, slot, tunnel_by, v4};

const SITE: &str = "2001:db8:0:1::";
const OTHER: &str = "2001:db8:0:2::";

fn good() -> Vec<u8> {
    advert(1800, &[prefix(SITE, ON_LINK | AUTONOMOUS, 86_400, 14_400)])
}

fn text(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Destination, next hop, reachable.
fn routes(world: &World) -> Vec<(String, Option<UnicastV4>, bool)> {
    let routes = world.table.routes.iter();
    routes.map(|r| (r.destination.to_string(), r.next_hop, r.reachable)).collect()
}

#[test]
fn from_start_to_end() {
    let mut world = World::up_by_path("10.0.0.2 10.0.0.1");
    assert_eq!(world.published, 1);
    let table = &world.table;
    assert_eq!(table.locator, Some(v4("10.0.0.5")));
    assert_eq!((table.mtu, table.mtu_method), (1480.try_into().ok(), Some(MtuMethod::Dynamic)));
    assert!(!table.inherit_ttl);
    assert_eq!(text(&table.own), ["fe80::5efe:a00:5", "fe80::200:5efe:a00:5"]);
    assert_eq!(text(&table.own_v4), ["10.0.0.5"]);
    assert_eq!(table.routers, [(v4("10.0.0.1"), slot(1)), (v4("10.0.0.2"), slot(0))]);
    assert!(table.routes.is_empty() && table.on_link.is_empty() && table.sources.is_empty());
    assert_eq!(table.error_source, "fe80::5efe:a00:5".parse().ok());

    // One advertisement, one table.
    world.hear_by_path("10.0.0.1", &good());
    assert_eq!(world.published, 2);
    let table = &world.table;
    assert_eq!(text(&table.own)[2..], ["2001:db8:0:1:0:5efe:a00:5"]);
    assert_eq!(text(&table.on_link), ["2001:db8:0:1::/64"]);
    assert_eq!(table.error_source, Some(table.own[2]));
    let [route] = table.routes[..] else { panic!("{:?}", table.routes) };
    assert_eq!((route.slot, route.preference), (Some(slot(1)), Preference::Medium));
    assert_eq!(routes(&world), [("::/0".to_owned(), Some(v4("10.0.0.1")), true)]);

    // Refreshed: no news. Time: no news.
    world.hear_by_path("10.0.0.1", &good());
    world.pass(secs(600));
    assert_eq!(world.published, 2);

    // Withdrawn.
    world.hear_by_path("10.0.0.1", &advert(0, &[prefix(SITE, ON_LINK | AUTONOMOUS, 0, 0)]));
    assert!(world.table.routes.is_empty() && world.table.on_link.is_empty());
    assert_eq!(world.table.own.len(), 3, "the two-hour rule");
    assert!(world.table.sources.is_empty());
    world.pass(secs(7200));
    assert_eq!((world.table.own.len(), world.published), (2, 4));

    world.unlink();
    assert_eq!((&*world.table, world.published), (&Table::default(), 5));
}

/// A child that was replaced gets the descriptors at once, and packets wait in the TUN: they are not
/// to be answered by Unreachable before the routers could be asked.
#[test]
fn packets_wait_for_the_first_way() {
    let on_link = |prefix_of| advert(0, &[prefix(prefix_of, ON_LINK, 600, 600)]);
    for way in
        [good(), advert(1800, &[]), on_link(SITE), advert(0, &[route("2001:db8:9::/48", 0, 600)])]
    {
        let mut world = World::up_by_path("10.0.0.1");
        assert!(world.table.hold && world.table.locator.is_some());
        world.hear_by_path("10.0.0.1", &advert(0, &[]));
        assert!(world.table.hold, "no way yet");
        world.hear_by_path("10.0.0.1", &way);
        assert!(!world.table.hold);
        // It is over once and for all.
        world.tell(Input::Config(config("10.0.0.2")));
        world.tell(Input::DataPath(data_path()));
        assert!(world.table.routes.is_empty() && !world.table.hold);
    }
    // Not for ever.
    let mut world = World::up_by_path("10.0.0.1");
    world.pass(secs(5) - Duration::from_millis(1));
    assert!(world.table.hold);
    world.pass(Duration::from_millis(1));
    assert!(!world.table.hold && world.table.locator.is_some());
    // The ways are known by another locator, too.
    world.hear_by_path("10.0.0.1", &good());
    world.link_by_path("10.0.0.6");
    assert!(!world.table.hold);
    // A router's own prefixes are known.
    let mut world = World::new();
    world.tell(Input::Config(Config { advertise: Some(advertise(&[])), ..config("") }));
    world.link_by_path("10.0.0.5");
    assert!(!world.table.hold && world.table.locator.is_some());
}

#[test]
fn routes_end_by_themselves() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &advert(100, &[route("2001:db8:9::/48", 0, 200)]));
    assert_eq!(routes(&world).len(), 2);
    world.pass(secs(100));
    assert_eq!(routes(&world).len(), 1);
    world.pass(secs(100));
    assert!(routes(&world).is_empty());
}

/// The MTU of the tunnel, and how the data path sends, may change alone.
#[test]
fn another_mtu_and_another_method() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &good());
    let Link { tunnel, .. } = tunnel_by(isatapd_proto::Backend::Tun, "10.0.0.5");
    let tunnel = tunnel.map(|tunnel| Tunnel { mtu: 1280.try_into().unwrap(), ..tunnel });
    world.tell(Input::Link(Link { tunnel, ..Link::default() }));
    assert_eq!(world.table.mtu.unwrap().get(), 1280);
    world.tell(Input::DataPath(DataPath { ttl: None, mtu_method: MtuMethod::Static }));
    assert!(world.table.inherit_ttl);
    assert_eq!(world.table.mtu_method, Some(MtuMethod::Static));
    assert_eq!(routes(&world).len(), 1);
}

/// B25: addresses that embed the old IPv4 address are gone at once; without its sockets nothing
/// passes.
#[test]
fn another_locator() {
    let mut world = World::up_by_path("10.0.0.1");
    world.hear_by_path("10.0.0.1", &good());
    world.tell(Input::Link(tunnel_by(isatapd_proto::Backend::Tun, "203.0.113.5")));
    assert_eq!(*world.table, Table::default());
    world.tell(Input::DataPath(data_path()));
    let own =
        ["fe80::5efe:cb00:7105", "fe80::200:5efe:cb00:7105", "2001:db8:0:1:200:5efe:cb00:7105"];
    assert_eq!(text(&world.table.own), own);
    assert_eq!(routes(&world).len(), 1);
}

/// RFC 8028 section 3.
#[test]
fn who_advertises_which_prefix() {
    let mut world = World::up_by_path("10.0.0.1 10.0.0.2 10.0.0.3");
    let site = |valid| prefix(SITE, AUTONOMOUS, valid, valid.min(600));
    let on_link_only = prefix("2001:db8:0:9::", ON_LINK, 9000, 9000);
    world.hear_by_path("10.0.0.1", &advert(1800, &[site(9000), on_link_only]));
    world.hear_by_path(
        "10.0.0.3",
        &advert(1800, &[site(9000), prefix(OTHER, AUTONOMOUS, 600, 600)]),
    );
    let sources = |world: &World| {
        let sources = world.table.sources.iter();
        sources.map(|s| (s.prefix.to_string(), s.advertisers)).collect::<Vec<_>>()
    };
    let [site_net, other_net] = [SITE, OTHER].map(|net| format!("{net}/64"));
    assert_eq!(sources(&world), [(site_net.clone(), 0b101), (other_net.clone(), 0b100)]);
    // Withdrawn by one, and the other leaves.
    world.hear_by_path("10.0.0.1", &advert(1800, &[site(0)]));
    assert_eq!(sources(&world)[0], (site_net, 0b100));
    world.tell(Input::Config(config("10.0.0.1 10.0.0.2")));
    assert!(sources(&world).is_empty());
    assert_eq!(world.table.own.len(), 4, "addresses age");
    assert_eq!(world.table.routers, [(v4("10.0.0.1"), slot(0)), (v4("10.0.0.2"), slot(1))]);
    assert!(world.table.routes.iter().all(|r| r.slot != Some(slot(2))));
}

/// The longest prefix first, the administrator's before ours unless their metric is above, then by
/// preference.
#[test]
fn order_of_routes_and_surroundings() {
    let mut world = World::up_by_path("10.0.0.1 10.0.0.2");
    world.hear_by_path("10.0.0.1", &advert(1800, &[route("2001:db8:9::/48", 0, 600)]));
    let high = [route("2001:db8:9::/48", 0x08, 600), route("::/0", 0x08, 600)];
    world.hear_by_path("10.0.0.2", &advert(1800, &high));
    let net = |net: &str| net.parse().unwrap();
    let foreign = |to, next_hop, behind| ForeignRoute { destination: net(to), next_hop, behind };
    let foreign = [
        foreign("2001:db8:9::/48", Some(v4("10.0.0.7")), false),
        foreign("2001:db8:9:9::/64", None, true),
        foreign("::/0", Some(v4("10.0.0.7")), true),
    ];
    let broadcast = "10.0.0.255".parse().unwrap();
    let own = ["10.0.0.5", "10.1.0.5"].map(|own| own.parse().unwrap());
    let address: Ipv6Addr = "fd00::1".parse().unwrap();
    let before = world.published;
    world.tell(Input::Surroundings(Surroundings {
        own: Bounded::first_of(own),
        broadcasts: Bounded::first_of([broadcast]),
        addresses: Bounded::first_of([address]),
        routes: Bounded::first_of(foreign),
    }));
    assert_eq!(world.published, before + 1);
    assert_eq!(world.table.own_v4, own);
    assert_eq!(world.table.broadcasts, [broadcast]);
    assert_eq!(world.table.own[2..], [address]);
    let (medium, high) = (Preference::Medium, Preference::High);
    let shown = world.table.routes.iter();
    let shown: Vec<_> =
        shown.map(|r| (r.destination.to_string(), (r.slot, r.preference))).collect();
    let expected = [
        ("2001:db8:9:9::/64", (None, high)),
        ("2001:db8:9::/48", (None, high)),
        ("2001:db8:9::/48", (Some(slot(0)), medium)),
        ("2001:db8:9::/48", (Some(slot(1)), high)),
        ("::/0", (Some(slot(1)), high)),
        ("::/0", (Some(slot(0)), medium)),
    ];
    assert_eq!(shown, expected.map(|(net, how)| (net.to_owned(), how)));
    // They are told whole, and before the link as well.
    world.tell(Input::Surroundings(Surroundings::default()));
    assert_eq!((world.table.routes.len(), text(&world.table.own_v4)), (4, vec!["10.0.0.5".into()]));
}

/// RFC 4443 section 2.2: a global address of ours, if there is one.
#[test]
fn the_source_of_errors() {
    let mut world = World::up_by_path("10.0.0.1");
    let forms = |net: &str, preferred| prefix(net, AUTONOMOUS, 9000, preferred);
    for (options, expected) in [
        (vec![forms("fd00::", 900)], "fd00::5efe:a00:5"),
        (vec![forms(SITE, 0)], "fd00::5efe:a00:5"),
        (vec![forms(OTHER, 900)], "2001:db8:0:2:0:5efe:a00:5"),
        (vec![forms(SITE, 900)], "2001:db8:0:1:0:5efe:a00:5"),
        (vec![forms(SITE, 0)], "2001:db8:0:2:0:5efe:a00:5"),
        (vec![forms(OTHER, 0), forms("fd00::", 0)], "2001:db8:0:1:0:5efe:a00:5"),
    ] {
        world.hear_by_path("10.0.0.1", &advert(1800, &options));
        assert_eq!(world.table.error_source, expected.parse().ok());
    }
}

/// The addresses and neighbours of a router are those of its configuration, and the others of the
/// list are no way.
#[test]
fn of_a_router() {
    let mut world = World::new();
    let advertise = Some(advertise(&[of(SITE)]));
    world.tell(Input::Config(Config { advertise, ..config("10.0.0.5 10.0.0.1") }));
    world.link_by_path("10.0.0.5");
    world.hear_by_path("10.0.0.1", &good());
    let table = &world.table;
    assert_eq!(table.role, Role::Router);
    assert_eq!(text(&table.own)[2..], ["2001:db8:0:1:0:5efe:a00:5"]);
    assert_eq!(text(&table.on_link), ["2001:db8:0:1::/64"]);
    assert_eq!(table.routers, [(v4("10.0.0.1"), slot(1))]);
    assert!(table.routes.is_empty() && table.sources.is_empty());
    world.tell(Input::Config(config("10.0.0.1")));
    assert_eq!((world.table.role, world.table.own.len()), (Role::Host, 2));
}

/// Without a data path, and on the other backend, nothing is said.
#[test]
fn only_with_a_data_path() {
    let mut world = World::new();
    world.tell(Input::Surroundings(Surroundings::default()));
    world.tell(Input::DataPath(data_path()));
    world.tell(Input::Config(config("10.0.0.1")));
    world.link("10.0.0.5");
    world.tell(Input::DataPath(data_path()));
    world.hear(0, &good());
    world.pass(secs(3600));
    assert_eq!((world.published, world.transmitted.len()), (0, 0));
    assert!(!world.solicited.is_empty());
}
