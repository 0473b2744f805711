//! The kernel layer against a kernel that has `sit`, with radvd as router. These tests fail where
//! `sit` is missing; they are run by the guest lane of `make test`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod namespace;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;

use isatapd::kernel::{
    Address, IfIndex, InterfaceName, Kind, Netlink, Origin, Prl, TunnelSpec, hold_still,
};
use isatapd::policy::{Facts, Routes};
use isatapd::sockets::router_socket;
use isatapd::tunnel::Tunnel;
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{
    Lifetime, NextHop, Preference, RouteDestination, RouteWish, RouterWish, UnicastV4,
};
use namespace::{index_of, ip, ip_batch, namespace, try_ip};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, send};

const RS: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

fn v4(last: u8) -> UnicastV4 {
    Ipv4Addr::new(10, 0, 0, last).try_into().unwrap()
}

fn spec(name: &str, last: u8) -> TunnelSpec {
    TunnelSpec {
        name: name.parse().unwrap(),
        local: v4(last),
        link: None,
        ttl: NonZeroU8::new(64),
        pmtudisc: true,
        mtu: Some(1280.try_into().unwrap()),
    }
}

fn own_link_local(last: u8) -> Address {
    Address {
        address: link_local(v4(last), UBit::Local),
        prefix_len: 64,
        valid: Lifetime::INFINITE,
        preferred: Lifetime::INFINITE,
        origin: Origin::LinkLocal,
    }
}

/// A tunnel as the daemon makes it, up.
fn tunnel(netlink: &mut Netlink, name: &str, last: u8) -> IfIndex {
    let spec = spec(name, last);
    let index = netlink.create_tunnel(&spec).unwrap();
    hold_still(&spec.name).unwrap();
    netlink.set_address(index, &own_link_local(last)).unwrap();
    netlink.set_up(index).unwrap();
    index
}

#[test]
#[ignore = "needs a kernel with sit: run by the guest lane of make test"]
fn a_tunnel_is_what_was_asked_for() {
    namespace();
    let mut netlink = Netlink::open().unwrap();
    assert_eq!(netlink.probe_sit(), Ok(true));
    assert_eq!(try_ip("link show sit1").ok(), None, "the probe leaves nothing");
    ip("link add eth0 type veth peer name eth1");
    let link = index_of("eth0");
    let plain = spec("is0", 2);
    let other = TunnelSpec {
        name: "is1".parse().unwrap(),
        link: Some(link),
        ttl: None,
        pmtudisc: false,
        mtu: None,
        ..plain.clone()
    };
    for (spec, expected) in [
        (&plain, "isatap local 10.0.0.2 ttl 64 "),
        (&other, "isatap local 10.0.0.2 dev eth0 ttl inherit nopmtudisc"),
    ] {
        let index = netlink.create_tunnel(spec).unwrap();
        let shown = ip(&format!("-d link show {}", spec.name));
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in expected.split(' ').filter(|w| !w.is_empty()) {
            assert!(words.contains(word), "{word}: {words}");
        }
        assert!(words.contains("addrgenmode none") && words.contains("alias isatapd"), "{words}");
        let found = netlink.find_link(&spec.name).unwrap().unwrap();
        assert_eq!((found.index, found.up, found.ours), (index, false, true));
        let Kind::Sit(sit) = found.kind else { panic!("{found:?}") };
        assert_eq!(sit.differs_from(spec), None);
        assert!(sit.isatap && sit.protocol == 41 && sit.pmtudisc == spec.pmtudisc);
    }
    assert_eq!(netlink.find_link(&plain.name).unwrap().unwrap().mtu, 1280);
    // The name, or the pair of local address and link, is taken.
    for taken in [&plain, &TunnelSpec { name: "is2".parse().unwrap(), ..plain.clone() }] {
        let error = netlink.create_tunnel(taken).unwrap_err();
        assert_eq!(error.errno, Errno::EEXIST);
        assert!(error.to_string().contains(": cannot create the tunnel: File exists"));
    }
    // Never another's, though it be a tunnel of the same kind.
    ip("tunnel add is3 mode isatap local 10.0.0.3");
    let index = index_of("is3");
    assert_eq!(netlink.delete_link(index).unwrap_err().errno, Errno::EPERM);
    assert_eq!(netlink.change_tunnel(index, &spec("is3", 9)).unwrap_err().errno, Errno::EPERM);
    netlink.delete_link(index_of("is0")).unwrap();
    assert_eq!(netlink.find_link(&plain.name), Ok(None));
}

#[test]
#[ignore = "needs a kernel with sit: run by the guest lane of make test"]
fn a_change_keeps_number_list_addresses_and_routes() {
    namespace();
    let mut netlink = Netlink::open().unwrap();
    let prl = Prl::open().unwrap();
    let index = tunnel(&mut netlink, "is0", 2);
    let name: InterfaceName = "is0".parse().unwrap();
    let routers = [v4(101).get(), v4(102).get()];
    for router in routers.iter().chain(&routers) {
        prl.add(&name, *router).unwrap();
    }
    let sorted = || {
        let mut list = prl.list(&name).unwrap();
        list.sort();
        list
    };
    assert_eq!(sorted(), routers);
    ip("route add 2001:db8::/32 via fe80::5efe:a00:65 dev is0");

    let mut wanted = spec("is0", 3);
    wanted.ttl = None;
    wanted.pmtudisc = false;
    wanted.mtu = Some(1400.try_into().unwrap());
    netlink.change_tunnel(index, &wanted).unwrap();
    let found = netlink.link(index).unwrap().unwrap();
    let Kind::Sit(sit) = found.kind else { panic!("{found:?}") };
    assert_eq!((found.up, found.mtu, sit.differs_from(&wanted)), (true, 1400, None));
    assert_eq!(sorted(), routers);
    assert_eq!(netlink.addresses(index).unwrap(), [own_link_local(2)]);
    assert!(ip("-6 route show dev is0").contains("2001:db8::/32 via fe80::5efe:a00:65"));

    for _ in 0..2 {
        prl.delete(&name, routers[0]).unwrap();
    }
    assert_eq!(sorted(), routers[1..]);
    assert_eq!(prl.delete(&name, Ipv4Addr::UNSPECIFIED).unwrap_err().errno, Errno::EINVAL);
    assert_eq!(sorted(), routers[1..]);
    assert!(prl.list(&"is9".parse().unwrap()).is_err());
    assert!(prl.add(&"lo".parse().unwrap(), routers[0]).is_err());
}

#[test]
#[ignore = "needs a kernel with sit: run by the guest lane of make test"]
fn a_tun_takes_the_place_of_sit() {
    namespace();
    ip_batch("link add eth0 up type veth peer name eth1\naddress add 10.0.0.2/24 dev eth0");
    let mut netlink = Netlink::open().unwrap();
    let prl = Prl::open().unwrap();
    let mut tunnel = Tunnel::create_sit(&mut netlink, spec("is0", 2)).unwrap();
    let wish = RouterWish { slot: 0.try_into().unwrap(), router: v4(101) };
    tunnel.set_routers(&mut netlink, &prl, &[wish]).unwrap();
    let facts = Facts { routers: &[wish], tunnel: Some(tunnel.state()) };
    let hop = NextHop { slot: wish.slot, form: UBit::Local };
    let route = RouteWish {
        destination: RouteDestination::DEFAULT,
        next_hop: Some(hop),
        preference: Preference::Medium,
        lifetime: Lifetime::from_secs(1800),
        mtu: None,
        hop_limit: None,
        reachable: true,
    };
    let routes = Routes::judge(&[route], facts).unwrap();
    tunnel.set_routes(&mut netlink, &routes).unwrap();
    let default = "default via fe80::5efe:a00:65 proto ra metric 2112";
    assert!(ip("-6 route show dev is0").contains(default));

    tunnel.move_to_tun(&mut netlink, spec("is0", 2)).unwrap();
    let found = netlink.find_link(&spec("is0", 2).name).unwrap().unwrap();
    assert_eq!((found.index, found.kind, found.up), (tunnel.index(), Kind::Tun, true));
    assert_eq!(netlink.addresses(tunnel.index()).unwrap(), [own_link_local(2)]);
    assert!(ip("-6 route show dev is0").contains(default), "{}", ip("-6 route show dev is0"));
    assert!(!ip("link show").contains('~'));
    // The routers may change: there is no list in the kernel.
    tunnel.set_routers(&mut netlink, &prl, &[]).unwrap();
    assert!(!ip("-6 route show dev is0").contains("default"));
}

/// Sends a solicitation and waits for an answer.
fn solicit(router: &OwnedFd) {
    assert_eq!(send(router.as_raw_fd(), &RS, MsgFlags::empty()), Ok(RS.len()));
    let mut ready = [PollFd::new(router.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ready, PollTimeout::from(20_000_u16)), Ok(1), "an advertisement");
}

/// Two routers with radvd on the link of this namespace, each in one of its own.
struct Routers([String; 2]);

impl Routers {
    fn start() -> Self {
        namespace();
        let names = ["r101", "r102"].map(str::to_owned);
        ip_batch(
            "link add br0 up type bridge mcast_snooping 0
            address add 10.0.0.2/24 dev br0",
        );
        for name in &names {
            let last = name.trim_start_matches('r');
            ip(&format!("netns add {name}"));
            ip(&format!("link add {name} master br0 up type veth peer name eth0 netns {name}"));
            let lines = [
                "link set eth0 up".to_owned(),
                format!("address add 10.0.0.{last}/24 dev eth0"),
                format!("tunnel add is0 mode isatap local 10.0.0.{last} ttl 64"),
                "link set is0 up".to_owned(),
            ];
            for line in lines {
                ip(&format!("-netns {name} {line}"));
            }
            let file = format!("/run/{name}.conf");
            let prefix = format!("prefix 2001:db8:{last}::/64 {{ }};");
            let text = format!("interface is0 {{ AdvSendAdvert on; UnicastOnly on; {prefix} }};");
            fs::write(&file, text).unwrap();
            let pid = format!("/run/{name}.pid");
            let script = "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; exec radvd -C $0 -p $1";
            let mut radvd = Command::new("ip");
            radvd.args(["netns", "exec", name, "sh", "-c", script, &file, &pid]);
            assert!(radvd.status().unwrap().success());
        }
        Self(names)
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        for name in &self.0 {
            if let Ok(pid) = fs::read_to_string(format!("/run/{name}.pid")) {
                let _ = Command::new("kill").arg(pid.trim()).status();
            }
            let _ = try_ip(&format!("netns del {name}"));
        }
    }
}

#[test]
#[ignore = "needs a kernel with sit: run by the guest lane of make test"]
fn a_router_answers_on_its_socket_and_the_kernel_holds_still() {
    let _routers = Routers::start();
    let mut netlink = Netlink::open().unwrap();
    let prl = Prl::open().unwrap();
    let index = tunnel(&mut netlink, "is0", 2);
    let name: InterfaceName = "is0".parse().unwrap();
    let before = (ip("-6 address show dev is0"), ip("-6 route show dev is0"));
    assert_eq!(netlink.addresses(index).unwrap(), [own_link_local(2)]);
    assert_eq!(before.1.trim(), "fe80::/64 proto kernel metric 256 pref medium");

    let [first, second] = [101, 102].map(|last| {
        prl.add(&name, v4(last).get()).unwrap();
        router_socket(index, link_local(v4(last), UBit::Local)).unwrap()
    });
    let other_form = router_socket(index, link_local(v4(101), UBit::Universal)).unwrap();
    solicit(&first);
    let mut buffer = [0; 1500];
    let mut control = cmsg_space!(i32);
    let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::empty();
    let got =
        recvmsg::<SockaddrIn6>(first.as_raw_fd(), &mut parts, Some(&mut control), flags).unwrap();
    let from: Ipv6Addr = got.address.unwrap().ip();
    assert_eq!(from, link_local(v4(101), UBit::Local));
    let limits: Vec<_> = got.cmsgs().unwrap().collect();
    assert_eq!(limits, [ControlMessageOwned::Ipv6HopLimit(255)]);
    assert!(got.bytes >= 16);
    assert_eq!(buffer[0], 134);

    // The other router has said nothing, and what the first said is on no other socket.
    for socket in [&second, &other_form] {
        let mut buffer = [0; 1500];
        let nothing = nix::sys::socket::recv(socket.as_raw_fd(), &mut buffer, flags);
        assert_eq!(nothing, Err(Errno::EAGAIN));
    }
    // The kernel has seen the advertisement too, and done nothing.
    assert_eq!((ip("-6 address show dev is0"), ip("-6 route show dev is0")), before);
    // It would have.
    fs::write("/proc/sys/net/ipv6/conf/is0/accept_ra", "1").unwrap();
    solicit(&first);
    assert!(ip("-6 route show dev is0").contains("default via fe80::5efe:a00:65 proto ra"));
    hold_still(&name).unwrap();
    // Nor does it make addresses when the tunnel comes up again.
    ip_batch("link set is0 down\nlink set is0 up");
    let addresses = netlink.addresses(index).unwrap();
    assert!(addresses.iter().all(|a| *a == own_link_local(2)), "{addresses:?}");
}
