//! The TUN interface of the tests, and what is on it.

use std::net::Ipv4Addr;
use std::num::NonZeroU8;

use isatapd::kernel::{Netlink, TunnelSpec};
use isatapd::policy::{Addresses, Facts, Routers, Routes};
use isatapd::tunnel::Tunnel;
use isatapd_proto::isatap::UBit;
use isatapd_proto::{AddressWish, Lifetime, NextHop, Preference, RouteWish, RouterWish, UnicastV4};

use crate::namespace::ip;

pub(crate) fn v4(last: u8) -> UnicastV4 {
    Ipv4Addr::new(10, 0, 0, last).try_into().unwrap()
}

pub(crate) fn spec(last: u8) -> TunnelSpec {
    TunnelSpec {
        name: "is0".parse().unwrap(),
        local: v4(last),
        link: None,
        ttl: NonZeroU8::new(64),
        pmtudisc: true,
        mtu: Some(1480.try_into().unwrap()),
    }
}

pub(crate) fn host() -> Netlink {
    crate::host::host();
    Netlink::open().unwrap()
}

pub(crate) fn addresses() -> Vec<String> {
    let shown = ip("-6 -o address show dev is0");
    let address = |line: &str| line.split_whitespace().nth(3).unwrap_or_default().to_owned();
    shown.lines().map(address).collect()
}

/// An approved PRL, address, default route and prefix on the link.
pub(crate) fn wishes(tunnel: &Tunnel) -> (Routers, Addresses, Routes) {
    wishes_for(tunnel, Lifetime::from_secs(1800))
}

pub(crate) fn wishes_for(tunnel: &Tunnel, lifetime: Lifetime) -> (Routers, Addresses, Routes) {
    let prl = [RouterWish { slot: 0.try_into().unwrap(), router: v4(101) }];
    let facts = Facts { routers: &prl, tunnel: Some(tunnel.state()) };
    let address = AddressWish {
        prefix: "2001:db8:1::".parse::<std::net::Ipv6Addr>().unwrap().try_into().unwrap(),
        on_link: true,
        valid: lifetime,
        preferred: lifetime,
    };
    let route = |to: &str, next_hop| RouteWish {
        destination: to.parse::<ipnet::Ipv6Net>().unwrap().try_into().unwrap(),
        next_hop,
        preference: Preference::Medium,
        lifetime,
        mtu: None,
        hop_limit: None,
        reachable: true,
    };
    let hop = NextHop { slot: 0.try_into().unwrap(), form: UBit::Local };
    let routes = [route("::/0", Some(hop)), route("2001:db8:1::/64", None)];
    (
        Routers::judge(&prl).unwrap(),
        Addresses::judge(&[address], facts).unwrap(),
        Routes::judge(&routes, facts).unwrap(),
    )
}

/// A tunnel that is in use.
pub(crate) fn working(netlink: &mut Netlink) -> Tunnel {
    let mut tunnel = Tunnel::create_tun(netlink, spec(2)).unwrap();
    let prl = isatapd::kernel::Prl::open().unwrap();
    let (routers, addresses, routes) = wishes(&tunnel);
    tunnel.set_routers(netlink, &prl, routers.list()).unwrap();
    tunnel.set_addresses(netlink, &addresses).unwrap();
    tunnel.set_routes(netlink, &routes).unwrap();
    tunnel
}

pub(crate) fn routes() -> Vec<String> {
    let shown = ip("-6 route show dev is0");
    let words = |line: &str| {
        let known = line.split(" expires").next().unwrap_or_default();
        known.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    shown.lines().map(words).collect()
}

pub(crate) const ROUTES: [&str; 3] = [
    "2001:db8:1::/64 proto ra metric 2047",
    "fe80::/64 proto kernel metric 256 pref medium",
    "default via fe80::5efe:a00:65 proto ra metric 2112",
];
