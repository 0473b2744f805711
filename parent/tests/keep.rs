//! What stays on the TUN interface without the child or the daemon that wished for it, in a network
//! namespace for each test. Needs root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

mod host;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod namespace;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod tunnel;

use std::time::{Duration, Instant};

use isatapd::kernel::{Netlink, TunnelSpec};
use isatapd::policy::{Addresses, Routers, Routes};
use isatapd::tunnel::{Found, Tunnel};
use isatapd_proto::Backend;
use namespace::ip;
use tunnel::{ROUTES, addresses, host, routes, spec, wishes, working};

#[test]
fn what_a_former_child_wished_for_stays_for_a_while() {
    let mut netlink = host();
    let mut tunnel = working(&mut netlink);
    let (_, wanted, wanted_routes) = wishes(&tunnel);
    let (nothing, no_routes) = (Addresses::default(), Routes::default());
    let before = (addresses(), routes());
    tunnel.hand_down();
    assert_eq!(tunnel.inherited_until(), None, "the new one has not wished yet");
    // It does not know all routers yet.
    tunnel.drop_routes_but_by(&mut netlink, &Routers::default()).unwrap();
    let prl = isatapd::kernel::Prl::open().unwrap();
    tunnel.set_routers(&mut netlink, &prl, &[]).unwrap();
    assert_eq!((addresses(), routes()), before);
    assert!(tunnel.inherited_until().is_some());
    tunnel.set_addresses(&mut netlink, &nothing).unwrap();
    tunnel.set_routes(&mut netlink, &no_routes).unwrap();
    assert_eq!((addresses(), routes()), before);
    let until = tunnel.inherited_until().unwrap();
    assert!(until > Instant::now());
    // What it wished for once goes when it wishes for it no more.
    tunnel.set_routes(&mut netlink, &wanted_routes).unwrap();
    assert_eq!(tunnel.inherited_until(), Some(until));
    tunnel.set_routes(&mut netlink, &no_routes).unwrap();
    assert_eq!(
        (addresses(), routes()),
        (before.0, ROUTES[1..2].to_vec().into_iter().map(str::to_owned).collect())
    );
    tunnel.drop_inherited(&mut netlink).unwrap();
    assert_eq!((addresses().len(), tunnel.inherited_until()), (1, None));
    // With all wished for again, nothing is left to go.
    tunnel.set_addresses(&mut netlink, &wanted).unwrap();
    tunnel.hand_down();
    tunnel.set_addresses(&mut netlink, &wanted).unwrap();
    assert_eq!((addresses().len(), tunnel.inherited_until()), (2, None));
}

#[test]
fn what_is_left_is_taken_over() {
    let mut netlink = host();
    let prl = isatapd::kernel::Prl::open().unwrap();
    let mut tunnel = working(&mut netlink);
    ip("-6 route del default dev is0");
    tunnel.restore(&mut netlink, true).unwrap();
    ip("-6 route add default dev va metric 2112");
    let (routers, _, wanted) = wishes(&tunnel);
    tunnel.set_routes(&mut netlink, &wanted).unwrap();
    let (before, index) = ((addresses(), routes()), tunnel.index());
    let adopt = |netlink: &mut Netlink, spec: TunnelSpec, backend| {
        let link = netlink.find_link(&spec.name).unwrap().unwrap();
        Tunnel::adopt(netlink, &prl, &link, spec, backend).unwrap()
    };
    // A fork of another test may have it in hand until it has become ip(8).
    let adopt_tun = |netlink: &mut Netlink, spec: TunnelSpec| {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match adopt(netlink, spec.clone(), Backend::Tun) {
                Some(tunnel) => return tunnel,
                None => assert!(Instant::now() < until, "somebody has it"),
            }
        }
    };
    // Somebody has it in hand; it is not what is wanted.
    assert!(adopt(&mut netlink, spec(2), Backend::Tun).is_none());
    tunnel.leave().unwrap();
    assert!(adopt(&mut netlink, spec(2), Backend::Kernel).is_none());
    let mut tunnel = adopt_tun(&mut netlink, spec(2));
    assert_eq!((tunnel.index(), (addresses(), routes())), (index, before.clone()));
    assert_eq!(tunnel.restore(&mut netlink, true), Ok(Found::Whole));
    // It knows what is its own, and with which metrics.
    tunnel.set_routers(&mut netlink, &prl, routers.list()).unwrap();
    tunnel.set_routes(&mut netlink, &wanted).unwrap();
    assert_eq!((addresses(), routes()), before);
    tunnel.leave().unwrap();
    let other = TunnelSpec { mtu: Some(1400.try_into().unwrap()), ..spec(3) };
    let tunnel = adopt_tun(&mut netlink, other);
    assert_eq!((tunnel.index(), tunnel.state().mtu.get()), (index, 1400));
    assert_eq!(addresses(), ["fe80::5efe:a00:3/64"]);
    // From then on it goes with its descriptor again.
    assert!(ip("-d link show is0").contains("persist off"));
    ip("link del is0");
    // One that a user may attach to is not ours.
    ip("tuntap add is0 mode tun user nobody");
    ip("link set is0 alias isatapd");
    assert!(!netlink.find_link(&spec(2).name).unwrap().unwrap().is_our_tunnel());
}
