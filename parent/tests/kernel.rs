//! The kernel layer against the kernel itself, in a network namespace for each test. Needs root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

mod namespace;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use isatapd::kernel::{
    Address, Changes, IfIndex, InterfaceName, Monitor, Netlink, Origin, Path, PathKind, Route,
    TunnelSpec, hold_still,
};
use isatapd_proto::{Lifetime, Preference};
use namespace::{await_up, index_of, ip, ip_batch, namespace, try_ip};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockname, sendto,
    socket,
};

fn name(name: &str) -> InterfaceName {
    name.parse().unwrap()
}

fn secs(seconds: u32) -> Lifetime {
    Lifetime::from_secs(seconds)
}

/// A veth pair, both ends up, without addresses of the kernel's making.
fn pair() -> (Netlink, IfIndex) {
    namespace();
    ip_batch(
        "link add va type veth peer name vb
        link set va addrgenmode none
        link set vb addrgenmode none
        link set va up
        link set vb up",
    );
    await_up(&["va", "vb"]);
    (Netlink::open().unwrap(), index_of("va"))
}

#[test]
fn sit_is_found_where_it_is() {
    namespace();
    let mut netlink = Netlink::open().unwrap();
    let found = netlink.probe_sit().unwrap();
    assert_eq!(found, try_ip("link add probe type sit local 10.0.0.1").is_ok());
    let shown = ip("-o link show");
    let mut left = shown.lines().filter_map(|line| line.split([':', '@', ' ']).nth(2));
    assert!(left.all(|name| ["lo", "sit0", "probe"].contains(&name)), "{shown}");
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let (mut netlink, a) = pair();
    let spec = TunnelSpec {
        name: name("va"),
        local: Ipv4Addr::new(10, 0, 0, 1).try_into().unwrap(),
        link: None,
        ttl: None,
        pmtudisc: true,
        mtu: None,
    };
    for alias in ["other", "isatapd"] {
        ip(&format!("link set va alias {alias}"));
        // The mark alone does not make it a tunnel.
        assert_eq!(netlink.delete_link(a).unwrap_err().errno, Errno::EPERM);
        assert_eq!(netlink.change_tunnel(a, &spec).unwrap_err().errno, Errno::EPERM);
    }
    assert!(netlink.find_link(&spec.name).unwrap().is_some());
    ip("link del va");
    assert_eq!(netlink.find_link(&spec.name), Ok(None));
    assert_eq!(netlink.link(a), Ok(None));
    assert_eq!(netlink.delete_link(a), Ok(()));
    let error = netlink.change_tunnel(a, &spec).unwrap_err();
    assert_eq!(error.to_string(), "va: cannot change the tunnel: No such device");
}

#[test]
fn links_are_what_they_are() {
    let (mut netlink, a) = pair();
    ip_batch(
        "link set va down
        link set vb mtu 1400
        link add é type veth peer name vc",
    );
    let strange = ip("-o link show é").split(':').next().and_then(|index| index.parse().ok());
    let strange = strange.and_then(IfIndex::new).unwrap();
    let mut link = |index| netlink.link(index).unwrap().unwrap();
    let (va, vb, vc) = (link(a), link(index_of("vb")), link(strange));
    assert_eq!((va.name, va.up), (Some(name("va")), false));
    assert_eq!((vb.name, vb.up, vb.mtu), (Some(name("vb")), true, 1400));
    assert_eq!((vc.name, va.ours, vc.ours), (None, false, false));
    assert_eq!(netlink.find_link(&name("va")).unwrap().unwrap().index, a);
}

/// The addresses, with lifetimes as `wanted` has them if no more than a minute of them is gone.
fn addresses(netlink: &mut Netlink, index: IfIndex, wanted: &[Address]) -> Vec<Address> {
    let mut list = netlink.addresses(index).unwrap();
    let near = |is: Lifetime, was: Lifetime| {
        was.secs().checked_sub(is.secs()).is_some_and(|gone| gone < 60)
    };
    for found in &mut list {
        for wanted in wanted.iter().filter(|w| w.address == found.address) {
            if near(found.valid, wanted.valid) && near(found.preferred, wanted.preferred) {
                (found.valid, found.preferred) = (wanted.valid, wanted.preferred);
            }
        }
    }
    list.sort_by_key(|address| address.address);
    list
}

#[test]
fn addresses_come_and_go() {
    let (mut netlink, a) = pair();
    let mut global = Address {
        address: "2001:db8::5efe:a00:2".parse().unwrap(),
        prefix_len: 64,
        valid: secs(1000),
        preferred: secs(500),
        origin: Origin::Advertised,
    };
    let link_local = Address {
        address: "fe80::5efe:a00:2".parse().unwrap(),
        prefix_len: 64,
        valid: Lifetime::INFINITE,
        preferred: Lifetime::INFINITE,
        origin: Origin::LinkLocal,
    };
    netlink.set_address(a, &global).unwrap();
    netlink.set_address(a, &link_local).unwrap();
    let wanted = [global, link_local];
    assert_eq!(addresses(&mut netlink, a, &wanted), wanted);
    // The prefix of the first is no route; both are usable at once.
    assert_eq!(ip("-6 route show dev va"), "fe80::/64 proto kernel metric 256 pref medium\n");
    assert!(!ip("address show dev va").contains("tentative"));

    (global.valid, global.preferred) = (secs(2000), secs(0));
    netlink.set_address(a, &global).unwrap();
    assert!(ip("address show dev va").contains("deprecated"));
    assert!(addresses(&mut netlink, a, &[global]).contains(&global));
    // Off the link now.
    global.prefix_len = 128;
    netlink.set_address(a, &global).unwrap();
    assert!(addresses(&mut netlink, a, &[global]).contains(&global));
    (global.valid, global.preferred) = (Lifetime::INFINITE, Lifetime::INFINITE);
    netlink.set_address(a, &global).unwrap();
    assert!(addresses(&mut netlink, a, &[global]).contains(&global));

    global.valid = secs(0);
    assert_eq!(netlink.set_address(a, &global).unwrap_err().errno, Errno::EINVAL);
    netlink.delete_address(a, &global).unwrap();
    assert_eq!(netlink.addresses(a).unwrap(), [link_local]);
    netlink.delete_address(a, &global).unwrap();
    assert_eq!(netlink.addresses(index_of("vb")).unwrap(), []);
    ip("link del va");
    netlink.delete_address(a, &link_local).unwrap();
    assert_eq!(netlink.addresses(a).unwrap(), []);
    assert_eq!(netlink.set_address(a, &link_local).unwrap_err().errno, Errno::ENODEV);
}

#[test]
fn routes_come_and_go() {
    let (mut netlink, a) = pair();
    let mut route = Route {
        index: a,
        destination: "::/0".parse().unwrap(),
        gateway: Some("fe80::5efe:a00:65".parse().unwrap()),
        metric: 2048,
        preference: Preference::High,
        lifetime: Lifetime::INFINITE,
        mtu: Some(1280.try_into().unwrap()),
        hop_limit: Some(64),
    };
    let other = Route {
        gateway: Some("fe80::5efe:a00:66".parse().unwrap()),
        metric: 2049,
        preference: Preference::Low,
        mtu: None,
        hop_limit: None,
        ..route
    };
    let on_link = Route { destination: "2001:db8::/64".parse().unwrap(), gateway: None, ..other };
    ip_batch(
        "route add 2001:db8:1::/64 dev va metric 5
        route add 2001:db8:2::/64 dev vb metric 5 proto ra",
    );
    for route in [&route, &other, &on_link] {
        netlink.set_route(route, false).unwrap();
    }
    let sorted = |netlink: &mut Netlink| {
        let mut routes = netlink.routes(a).unwrap();
        routes.sort_by_key(|route| (route.destination, route.metric));
        routes
    };
    assert_eq!(sorted(&mut netlink), [route, other, on_link]);
    // Same destination and metric: what we hold is replaced, what is somebody else's is not, also on
    // another interface.
    ip_batch("route add 2001:db8:3::/64 dev vb metric 7");
    let foreign = Route { destination: "2001:db8:3::/64".parse().unwrap(), metric: 7, ..other };
    assert_eq!(netlink.set_route(&foreign, false).unwrap_err().errno, Errno::EEXIST);
    route.gateway = Some("fe80::5efe:a00:67".parse().unwrap());
    route.lifetime = secs(1800);
    netlink.set_route(&route, true).unwrap();
    let routes = sorted(&mut netlink);
    assert_eq!(routes.len(), 3);
    assert_eq!(routes[0].gateway, route.gateway);
    assert!((1790..=1800).contains(&routes[0].lifetime.secs()), "{:?}", routes[0].lifetime);

    let bad = Route { gateway: Some("2001:db8:9::1".parse().unwrap()), metric: 1, ..route };
    let error = netlink.set_route(&bad, false).unwrap_err();
    assert_eq!(error.errno, Errno::EHOSTUNREACH);
    assert!(error.to_string().starts_with("::/0: cannot set the route: No route to host"));

    for _ in 0..2 {
        netlink.delete_route(&route).unwrap();
    }
    assert_eq!(sorted(&mut netlink), [other, on_link]);
    ip("link del va");
    netlink.delete_route(&other).unwrap();
    assert_eq!(netlink.routes(a).unwrap(), []);
    // What the kernel says further is in the error.
    assert_eq!(netlink.set_route(&other, false).unwrap_err().errno, Errno::ENODEV);
}

#[test]
fn paths_are_the_kernels() {
    let (mut netlink, a) = pair();
    ip_batch(
        "address add 10.0.0.2/24 dev va
        address add 10.1.0.2/24 dev vb
        route add 192.0.2.0/24 via 10.0.0.1
        route add 198.51.100.0/24 via inet6 fe80::1 dev vb
        route add blackhole 203.0.113.0/28
        route add unreachable 203.0.113.16/28
        route add prohibit 203.0.113.32/28",
    );
    let b = index_of("vb");
    let own = Ipv4Addr::new(10, 0, 0, 2);
    let mut path = |target: &str, only| netlink.path(target.parse().unwrap(), only, None).unwrap();
    let direct = Path { oif: a, gateway: None, source: own, kind: PathKind::Unicast };
    assert_eq!(path("10.0.0.101", None), Some(direct));
    let gateway = Some(Ipv4Addr::new(10, 0, 0, 1).into());
    assert_eq!(path("192.0.2.1", None), Some(Path { gateway, ..direct }));
    let by_ipv6 = path("198.51.100.1", None).unwrap();
    assert_eq!((by_ipv6.oif, by_ipv6.gateway), (b, Some("fe80::1".parse().unwrap())));
    assert_eq!(path("10.0.0.2", None).unwrap().kind, PathKind::Local);
    assert_eq!(path("10.0.0.255", None).unwrap().kind, PathKind::Other);
    assert_eq!(path("10.0.0.101", Some(a)), Some(direct));
    for (target, only) in [
        ("8.8.8.8", None),
        ("192.0.2.1", Some(b)),
        ("203.0.113.1", None),
        ("203.0.113.17", None),
        ("203.0.113.33", None),
        ("10.0.0.101", IfIndex::new(9999)),
    ] {
        assert_eq!(path(target, only).filter(|p| Some(p.oif) != only), None, "{target}");
    }
}

#[test]
fn a_dump_is_whole_while_all_changes() {
    let (mut netlink, a) = pair();
    let wanted: Vec<_> =
        (1..=300).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)).collect();
    let lines: Vec<_> = wanted.iter().map(|w| format!("address add {w}/128 dev va")).collect();
    ip_batch(&lines.join("\n"));
    let mut other = Netlink::open().unwrap();
    let restless = thread::spawn(move || {
        let address = Address {
            address: "2001:db8::ffff".parse().unwrap(),
            prefix_len: 128,
            valid: Lifetime::INFINITE,
            preferred: Lifetime::INFINITE,
            origin: Origin::Advertised,
        };
        for _ in 0..500 {
            other.set_address(a, &address).unwrap();
            other.delete_address(a, &address).unwrap();
        }
    });
    let mut whole = 0;
    while !restless.is_finished() || whole == 0 {
        match netlink.addresses(a) {
            Ok(list) => {
                whole += 1;
                assert!(wanted.iter().all(|w| list.iter().any(|l| l.address == *w)));
            }
            Err(error) => assert_eq!(error.errno, Errno::EAGAIN),
        }
    }
    restless.join().unwrap();
}

fn has_news(monitor: &Monitor, milliseconds: u16) -> bool {
    let mut ready = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::from(milliseconds)).unwrap() == 1
}

/// Reads until all that is expected has come: the kernel tells of some changes after the fact.
fn expect(monitor: &mut Monitor, expected: Changes, what: &str) {
    let mut seen = Changes::default();
    while seen != expected {
        assert!(has_news(monitor, 5000), "{what}: {seen:?}, not {expected:?}");
        let more = monitor.drain().unwrap();
        seen.links |= more.links;
        seen.ipv4 |= more.ipv4;
        seen.tunnel |= more.tunnel;
        seen.forwarding |= more.forwarding;
        seen.overrun |= more.overrun;
    }
}

#[test]
fn the_monitor_tells_what_kind_of_thing_changed() {
    let (_, a) = pair();
    let mut monitor = Monitor::open().unwrap();
    let mut witness = Monitor::open().unwrap();
    // The carriers come late.
    while has_news(&monitor, 300) {
        monitor.drain().unwrap();
    }
    witness.drain().unwrap();
    assert_eq!(monitor.drain().unwrap(), Changes::default());
    monitor.set_tunnel(Some(a));
    witness.set_tunnel(Some(index_of("vb")));

    let tunnel = Changes { tunnel: true, ..Changes::default() };
    ip("-6 route add 2001:db8::/64 dev vb");
    ip("address add fe80::1/64 dev vb nodad");
    expect(&mut witness, tunnel, "the address is heard of");
    assert_eq!(monitor.drain().unwrap(), Changes::default(), "but is not the tunnel's");

    let ipv4 = Changes { ipv4: true, ..Changes::default() };
    let links = Changes { links: true, ..Changes::default() };
    for (change, expected) in [
        ("address add 10.0.0.2/24 dev vb", ipv4),
        ("route add 192.0.2.0/24 via 10.0.0.1", ipv4),
        ("rule add from 192.0.2.1 lookup 7", ipv4),
        ("link set vb mtu 1400", links),
        ("address add fe80::1/64 dev va nodad", tunnel),
        ("-6 route add 2001:db8:1::/64 dev va", tunnel),
        ("link set va mtu 1400", tunnel),
        ("link set va down", Changes { links: true, ..tunnel }),
    ] {
        ip(change);
        expect(&mut monitor, expected, change);
    }
    ip("link del va");
    let changes = monitor.drain().unwrap();
    assert!(changes.tunnel && changes.links && !changes.overrun, "{changes:?}");
}

#[test]
fn the_monitor_survives_a_storm() {
    namespace();
    let mut monitor = Monitor::open().unwrap();
    let lines: Vec<_> = (0..1500).map(|n| format!("link add v{n} type veth")).collect();
    ip_batch(&lines.join("\n"));
    let first = monitor.drain().unwrap();
    assert!(first.links && first.overrun, "{first:?}");
    // What is left is read in bounded steps, and then all is as before.
    let steps = (0..100).take_while(|_| monitor.drain().unwrap() != Changes::default()).count();
    assert!((1..50).contains(&steps), "{steps}");
    ip("address add 10.0.0.1/8 dev lo");
    assert!(monitor.drain().unwrap().ipv4);
    assert_eq!(ip("-o link show").lines().count(), 3001);
}

#[test]
fn the_monitor_hears_the_kernel_only() {
    namespace();
    let mut monitor = Monitor::open().unwrap();
    let port: NetlinkAddr = getsockname(monitor.as_fd().as_raw_fd()).unwrap();
    let (kind, route) = (SockType::Raw, SockProtocol::NetlinkRoute);
    let forger = socket(AddressFamily::Netlink, kind, SockFlag::empty(), route).unwrap();
    let mut message = vec![0_u8; 32];
    message[..6].copy_from_slice(&[32, 0, 0, 0, 16, 0]);
    let to = NetlinkAddr::new(port.pid(), 0);
    sendto(forger.as_raw_fd(), &message, &to, MsgFlags::empty()).unwrap();
    assert_eq!(monitor.drain().unwrap(), Changes::default());
}

#[test]
fn the_kernel_is_told_to_hold_still() {
    pair();
    hold_still(&name("va")).unwrap();
    for setting in ["accept_ra", "autoconf", "accept_redirects", "router_solicitations"] {
        let path = format!("/proc/sys/net/ipv6/conf/va/{setting}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "0\n", "{setting}");
    }
    let error = hold_still(&name("none")).unwrap_err();
    assert_eq!(error.errno, Errno::ENOENT);
}
