//! The TUN interface and the sockets of its data path, in a network namespace for each test. Needs
//! root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

mod host;
mod namespace;
mod tunnel;

use std::fs;
use std::io::Read;
use std::num::NonZeroU8;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use isatapd::kernel::{
    InterfaceName, Kind, Monitor, Netlink, OwnAddress, TunnelSpec, forwards, has_tun,
};
use isatapd::tunnel::{Found, Tunnel};
use isatapd_proto::{Backend, DataPath, Lifetime, MtuMethod};
use namespace::{index_of, ip, ip_batch, try_ip};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tunnel::{ROUTES, addresses, host, routes, spec, v4, wishes, wishes_for, working};

fn setting(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/is0/{name}")).unwrap()
}

#[test]
fn the_interface_is_what_was_asked_for() {
    let mut netlink = host();
    assert!(has_tun());
    let tunnel = Tunnel::create_tun(&mut netlink, spec(2)).unwrap();
    let link = netlink.find_link(&spec(2).name).unwrap().unwrap();
    assert_eq!((link.index, link.kind.clone(), link.up), (tunnel.index(), Kind::Tun, true));
    assert!(link.ours && link.is_our_tunnel() && link.mtu == 1480);
    let shown = ip("-d link show is0");
    assert!(shown.contains("tun type tun") && shown.contains("persist off"), "{shown}");
    assert!(shown.contains("addrgenmode none") && shown.contains("alias isatapd"), "{shown}");
    for name in ["accept_ra", "autoconf", "accept_redirects", "router_solicitations"] {
        assert_eq!(setting(name), "0\n", "{name}");
    }
    assert_eq!(addresses(), ["fe80::5efe:a00:2/64"]);
    assert!(!ip("address show dev is0").contains("tentative"));
    assert_eq!(tunnel.state().backend, Backend::Tun);
    let (path, queue) = tunnel.data_path().unwrap().unwrap();
    let expected = DataPath { ttl: NonZeroU8::new(64), mtu_method: MtuMethod::Dynamic };
    assert_eq!(path, expected);
    // It stays as long as anybody has its descriptor, and goes by itself.
    drop(tunnel);
    assert!(netlink.find_link(&spec(2).name).unwrap().is_some());
    drop(queue);
    // A fork of another test may have it until it has become ip(8).
    let until = Instant::now() + Duration::from_secs(30);
    while netlink.find_link(&spec(2).name).unwrap().is_some() {
        assert!(Instant::now() < until, "it stays");
    }
}

#[test]
fn nobody_elses_interface_is_taken() {
    let mut netlink = host();
    let taken = |netlink: &mut Netlink| Tunnel::create_tun(netlink, spec(2)).err().unwrap().errno;
    for line in ["tuntap add is0 mode tun", "link add is0 type veth peer name is1"] {
        ip(line);
        let before = ip("link show is0");
        assert!(matches!(taken(&mut netlink), Errno::EBUSY | Errno::EINVAL), "{line}");
        assert_eq!(ip("link show is0"), before);
        ip("link del is0");
    }
}

#[test]
fn routes_lead_to_routers_and_to_the_link() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    assert_eq!(routes(), ROUTES);
    let got = ip("-6 route get 2001:db8:1::5efe:a00:9");
    assert!(got.contains("dev is0") && !got.contains("via"), "{got}");
    // Without the router the link is still one.
    let prl = isatapd::kernel::Prl::open().unwrap();
    tunnel.set_routers(&mut netlink, &prl, &[]).unwrap();
    assert_eq!(routes(), ROUTES[..2]);
}

#[test]
fn a_strangers_route_is_in_the_way_of_no_other() {
    let mut netlink = host();
    ip("-6 route add default dev va metric 2112");
    let mut tunnel = Tunnel::create_tun(&mut netlink, spec(2)).unwrap();
    let prl = isatapd::kernel::Prl::open().unwrap();
    let (routers, _, wanted) = wishes(&tunnel);
    tunnel.set_routers(&mut netlink, &prl, routers.list()).unwrap();
    // All of its routes have the next metrics, as long as there are next ones.
    for rank in 1..8 {
        for _ in 0..2 {
            tunnel.set_routes(&mut netlink, &wanted).unwrap();
            let metric = |rank: u32| format!("metric {}", 2112 + 512 * rank);
            assert!(routes()[2].contains(&metric(rank)), "{rank}: {:?}", routes());
            assert!(routes()[0].contains(&format!("metric {}", 2047 + 512 * rank)));
            assert_eq!(routes().len(), 3);
            assert!(ip("-6 route show default").contains(&format!("dev va {}", metric(rank - 1))));
        }
        ip("-6 route del default dev is0");
        tunnel.restore(&mut netlink, true).unwrap();
        ip(&format!("-6 route add default dev va metric {}", 2112 + 512 * rank));
    }
    for _ in 0..2 {
        assert_eq!(tunnel.set_routes(&mut netlink, &wanted).unwrap_err().errno, Errno::EEXIST);
        assert_eq!(routes().len(), 2);
    }
}

#[test]
fn another_locator_is_another_address_of_the_same_interface() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    let index = tunnel.index();
    let other = TunnelSpec { mtu: Some(1400.try_into().unwrap()), pmtudisc: false, ..spec(3) };
    tunnel.change(&mut netlink, other.clone()).unwrap();
    assert_eq!((tunnel.index(), tunnel.spec()), (index, &other));
    assert_eq!(addresses(), ["fe80::5efe:a00:3/64"]);
    assert_eq!(tunnel.state().mtu.get(), 1400);
    assert_eq!(tunnel.data_path().unwrap().unwrap().0.mtu_method, MtuMethod::Static);
    // What cannot be, changes nothing that is told.
    ip("link del is0");
    assert_eq!(tunnel.change(&mut netlink, spec(2)).unwrap_err().errno, Errno::ENODEV);
    assert_eq!(tunnel.spec(), &other);
}

#[test]
fn what_others_do_to_it_is_found_and_mended() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    let before = addresses();
    assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Whole));
    for (line, found) in [
        ("link set is0 down", Found::Emptied),
        ("-6 address flush dev is0", Found::Emptied),
        ("address del fe80::5efe:a00:2/64 dev is0", Found::Emptied),
        ("address del 2001:db8:1::5efe:a00:2/64 dev is0", Found::Emptied),
        ("-6 route del default dev is0", Found::Emptied),
        ("-6 route del 2001:db8:1::/64 dev is0", Found::Emptied),
        ("-6 route flush dev is0", Found::Emptied),
        ("link set is0 mtu 1400", Found::Mended),
        ("link set is0 mtu 1000", Found::Emptied),
    ] {
        ip(line);
        assert_eq!(tunnel.restore(&mut netlink, true), Ok(found), "{line}");
        // What was done is no news.
        assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Whole), "{line}");
        let link = netlink.link(tunnel.index()).unwrap().unwrap();
        assert!(link.up && link.mtu == 1480, "{line}");
        let (_, wanted, wanted_routes) = wishes(&tunnel);
        tunnel.set_addresses(&mut netlink, &wanted).unwrap();
        tunnel.set_routes(&mut netlink, &wanted_routes).unwrap();
        let mut found = addresses();
        found.sort();
        let mut expected = before.clone();
        expected.sort();
        assert_eq!((found, routes()), (expected, ROUTES.map(str::to_owned).to_vec()), "{line}");
        for name in ["accept_ra", "autoconf", "accept_redirects", "router_solicitations"] {
            assert_eq!(setting(name), "0\n", "{line}: {name}");
        }
    }
    let disable = "/proc/sys/net/ipv6/conf/is0/disable_ipv6";
    fs::write(disable, "1").unwrap();
    assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Off));
    fs::write(disable, "0").unwrap();
    assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Emptied));
    assert_eq!(addresses(), ["fe80::5efe:a00:2/64"]);

    ip("link del is0");
    assert_eq!(tunnel.restore(&mut netlink, false), Ok(Found::Gone));
    // Its descriptors are of no use; another takes its place.
    let tunnel = Tunnel::create_tun(&mut netlink, spec(2)).unwrap();
    assert!(tunnel.data_path().unwrap().is_ok());
}

#[test]
fn what_expires_is_not_lost_and_what_is_lost_is_no_longer_ours() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    let wishes = wishes_for(&tunnel, Lifetime::from_secs(1));
    tunnel.set_addresses(&mut netlink, &wishes.1).unwrap();
    tunnel.set_routes(&mut netlink, &wishes.2).unwrap();
    ip("-6 route flush dev is0 proto ra");
    // The kernel may have been first.
    let _ = try_ip("address del 2001:db8:1::5efe:a00:2/64 dev is0");
    assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Whole));
    ip("-6 route add 2001:db8:1::/64 dev va metric 2047");
    tunnel.set_routes(&mut netlink, &wishes.2).unwrap();
    assert!(ip("-6 route show 2001:db8:1::/64").contains("dev va metric 2047"));
}

#[test]
fn a_new_name_is_followed() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    ip_batch(
        "link set is0 down
        link set is0 name is9
        link add is0 type veth peer name other",
    );
    fs::write("/proc/sys/net/ipv6/conf/is9/accept_ra", "1").unwrap();
    assert_eq!(tunnel.restore(&mut netlink, false), Ok(Found::Emptied));
    assert_eq!(tunnel.name().as_str(), "is9");
    assert_eq!(setting("accept_ra"), "1\n", "a stranger's");
    let renamed = fs::read_to_string("/proc/sys/net/ipv6/conf/is9/accept_ra").unwrap();
    assert_eq!(renamed, "0\n");
    assert!(!ip("link show is0").contains("UP"));
    // Nor does a move touch the stranger.
    tunnel.move_to_tun(&mut netlink, spec(2)).unwrap();
    assert!(ip("-d link show is9").contains("tun type tun"));
    // Who takes the mark off takes the tunnel.
    ip("link set is9 alias mine");
    assert_eq!(tunnel.restore(&mut netlink, false), Ok(Found::Gone));
}

#[test]
fn a_tun_takes_the_place_of_a_tunnel() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    let (before, index) = (addresses(), tunnel.index());
    assert_eq!(tunnel.move_to_tun(&mut netlink, spec(2)), Ok(Found::Whole));
    assert_ne!(tunnel.index(), index);
    assert_eq!((addresses(), routes()), (before, ROUTES.map(str::to_owned).to_vec()));
    let link = netlink.link(tunnel.index()).unwrap().unwrap();
    let name: InterfaceName = "is0".parse().unwrap();
    assert!(link.up && link.is_our_tunnel() && link.name == Some(name), "{link:?}");
    for name in ["accept_ra", "autoconf", "accept_redirects", "router_solicitations"] {
        assert_eq!(setting(name), "0\n", "{name}");
    }
    let shown = ip("link show");
    assert!(!shown.contains('~'), "{shown}");
    // The addresses of another locator do not come along.
    tunnel.move_to_tun(&mut netlink, spec(3)).unwrap();
    assert_eq!(addresses(), ["fe80::5efe:a00:3/64"]);
    assert_eq!(routes(), ROUTES[1..2]);
    // A route that cannot come along keeps nothing else from it.
    let prl = isatapd::kernel::Prl::open().unwrap();
    let (routers, wanted, wanted_routes) = wishes(&tunnel);
    tunnel.set_routers(&mut netlink, &prl, routers.list()).unwrap();
    tunnel.set_addresses(&mut netlink, &wanted).unwrap();
    tunnel.set_routes(&mut netlink, &wanted_routes).unwrap();
    ip("-6 route append default dev va metric 2112");
    let before = addresses();
    assert_eq!(tunnel.move_to_tun(&mut netlink, spec(3)), Ok(Found::Emptied));
    assert_eq!(
        (addresses(), routes()),
        (before, ROUTES[..2].iter().map(ToString::to_string).collect())
    );
    // While a stranger has the name for a moment, all stays as it is.
    ip("link add is0~ type veth peer name other");
    let index = tunnel.index();
    assert!(tunnel.move_to_tun(&mut netlink, spec(2)).is_err());
    assert_eq!((tunnel.index(), addresses().len()), (index, 2));
}

#[test]
fn packets_for_the_tunnel_come_out_of_the_queue() {
    let mut netlink = host();
    let tunnel = working(&mut netlink);
    let (_, queue) = tunnel.data_path().unwrap().unwrap();
    let mut queue = fs::File::from(queue);
    let mut packet = [0; 2048];
    // What the kernel says of its own accord (MLD) comes first.
    while queue.read(&mut packet).is_ok() {}
    let to = "[2001:db8:1::5efe:a00:9]:9";
    let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
    socket.send_to(b"x", to).unwrap();
    loop {
        let mut ready = [PollFd::new(queue.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ready, PollTimeout::from(5000_u16)), Ok(1), "nothing comes");
        let len = queue.read(&mut packet).unwrap();
        if packet[6] == 17 {
            assert_eq!((packet[0] >> 4, len), (6, 49));
            break;
        }
    }
    assert_eq!(
        packet[24..40],
        "2001:db8:1::5efe:a00:9".parse::<std::net::Ipv6Addr>().unwrap().octets()
    );
}

#[test]
fn what_others_put_on_it_is_told_apart() {
    let mut netlink = host();
    let tunnel = working(&mut netlink);
    assert_eq!(tunnel.foreign_addresses(&mut netlink), Ok(vec![]));
    assert_eq!(tunnel.foreign_routes(&mut netlink), Ok(vec![]));
    ip_batch(
        "address add 2001:db8:5::5efe:a00:2/64 dev is0 nodad
        route add 2001:db8:6::/48 via fe80::5efe:a00:66 dev is0
        route add 2001:db8:7::/48 dev is0 table 7
        route add 2001:db8:8::/48 dev va",
    );
    let address = "2001:db8:5::5efe:a00:2".parse().unwrap();
    assert_eq!(tunnel.foreign_addresses(&mut netlink), Ok(vec![address]));
    let mut routes: Vec<_> = tunnel
        .foreign_routes(&mut netlink)
        .unwrap()
        .into_iter()
        .map(|route| (route.destination.to_string(), route.gateway.map(|g| g.to_string())))
        .collect();
    routes.sort();
    assert_eq!(
        routes,
        [
            ("2001:db8:5::/64".to_owned(), None),
            ("2001:db8:6::/48".to_owned(), Some("fe80::5efe:a00:66".to_owned())),
            ("2001:db8:7::/48".to_owned(), None),
        ]
    );
}

#[test]
fn own_addresses_are_listed() {
    let mut netlink = host();
    let own = |name: &str, address: [u8; 4], broadcast: Option<[u8; 4]>, global| OwnAddress {
        index: index_of(name),
        address: address.into(),
        broadcast: broadcast.map(Into::into),
        global,
    };
    ip("address add 192.0.2.1 peer 192.0.2.2 dev vb");
    let mut found = netlink.own_addresses().unwrap();
    found.sort();
    let mut expected = vec![
        own("lo", [127, 0, 0, 1], None, false),
        own("va", [10, 0, 0, 2], Some([10, 0, 0, 255]), true),
        own("va", [10, 0, 0, 3], Some([10, 0, 0, 255]), true),
        own("vb", [192, 0, 2, 1], None, true),
    ];
    expected.sort();
    assert_eq!(found, expected);
    // From one of them, the way is the same.
    for (from, source) in [(None, 2), (Some(3), 3), (Some(9), 0)] {
        let from = from.map(|last| v4(last).get());
        let path = netlink.path(v4(101).get(), None, from).unwrap();
        let expected = (source != 0).then(|| v4(source).get());
        assert_eq!(path.map(|path| path.source), expected, "{from:?}");
    }
}

#[test]
fn routes_and_forwarding_are_watched() {
    let mut netlink = host();
    let tunnel = working(&mut netlink);
    let mut monitor = Monitor::open().unwrap();
    monitor.set_tunnel(Some(tunnel.index()));
    // The carriers come late.
    while poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], 300_u16) == Ok(1) {
        monitor.drain().unwrap();
    }
    ip("-6 route add 2001:db8:6::/48 dev va");
    assert!(!monitor.drain().unwrap().tunnel);
    ip("-6 route add 2001:db8:7::/48 dev is0");
    let changes = monitor.drain().unwrap();
    assert!(changes.tunnel && !changes.ipv4 && !changes.links, "{changes:?}");
    assert!(!forwards());
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    assert!(monitor.drain().unwrap().forwarding && forwards());
    assert!(try_ip("link show is0").is_ok());
}
