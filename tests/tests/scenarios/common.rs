//! What several scenarios look at.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatapd_tests::expect::{METRIC_HIGH, METRIC_LOW, METRIC_MEDIUM, SLOTS};
use isatapd_tests::forge::{isatap, universal};
use isatapd_tests::ip::{self, Address, Route};
use isatapd_tests::site::{HOST, Site};
use isatapd_tests::wait::wait_for;

/// The host in router1's prefix.
pub const GLOBAL1: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0x5efe, 0x0a00, 2);
/// The host in router2's prefix.
pub const GLOBAL2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0x5efe, 0x0a00, 2);

/// The least of some times first; they are shown.
pub fn sorted(what: &str, mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    println!("{what}: {times:?}");
    times
}

/// The default routes on the host's is0.
pub fn defaults(site: &Site) -> Vec<Route> {
    ip::default_routes(&site.namespace("host"), "is0")
}

/// The default route on the host's is0 by this router, in the form of its address that has answered: the
/// other one is asked when the router was not quick enough.
pub fn default_by(site: &Site, router: Ipv4Addr) -> Option<Route> {
    let forms = [isatap(router), universal(isatap(router))];
    let is_by = |route: &Route| route.gateway.is_some_and(|gateway| forms.contains(&gateway));
    defaults(site).into_iter().find(is_by)
}

/// Waits for the default route by this router.
pub fn await_default(site: &Site, router: Ipv4Addr, limit: Duration) -> Route {
    wait_for(limit, "the default route", || default_by(site, router))
}

/// The address on the host's is0.
pub fn address(site: &Site, address: Ipv6Addr) -> Option<Address> {
    ip::addresses(&site.namespace("host"), "is0").into_iter().find(|a| a.address == address)
}

/// The host at `locator`: in router1's prefix, and link-local.
pub fn addresses_at(locator: Ipv4Addr) -> [Ipv6Addr; 2] {
    let low = u128::from(isatap(locator)) & u128::from(u64::MAX);
    let prefix = u128::from(GLOBAL1) & !u128::from(u64::MAX);
    [(prefix | low).into(), isatap(locator)]
}

/// The IPv6 addresses of a link of the host.
pub fn addresses_of(site: &Site, link: &str) -> Vec<Ipv6Addr> {
    ip::addresses(&site.namespace("host"), link).into_iter().map(|a| a.address).collect()
}

/// Panics unless the route is what a router of that preference gives.
pub fn check_default(route: &Route, preference: &str) {
    let base = match preference {
        "high" => METRIC_HIGH,
        "medium" => METRIC_MEDIUM,
        _ => METRIC_LOW,
    };
    assert_eq!(
        (route.protocol.as_str(), route.preference.as_str()),
        ("ra", preference),
        "{route:?}"
    );
    assert!((base..base + SLOTS).contains(&route.metric), "{route:?}");
    assert!(route.expires.is_some(), "a route for ever: {route:?}");
}

/// Panics unless the tunnel has its link-local address and `globals`, and no other.
pub fn check_addresses(site: &Site, tunnel: &str, globals: &[Ipv6Addr]) {
    let found = ip::addresses(&site.namespace("host"), tunnel);
    let mut want = [globals, &[isatap(HOST)]].concat();
    want.sort();
    assert_eq!(found.iter().map(|a| a.address).collect::<Vec<_>>(), want, "{found:?}");
    for global in found.iter().filter(|a| globals.contains(&a.address)) {
        assert!(
            global.preferred <= global.valid && global.valid < u64::from(u32::MAX),
            "{global:?}"
        );
    }
}

/// Panics if anything of the tunnel is left on the host.
pub fn check_gone(site: &Site, tunnel: &str) {
    let host = site.namespace("host");
    assert!(ip::link(&host, tunnel).is_none(), "{tunnel} is left");
    let routes = site.ip("host", "-6 route show proto ra");
    assert!(routes.is_empty(), "routes are left: {routes}");
    let global = site.ip("host", "-6 addr show scope global");
    assert!(global.is_empty(), "addresses are left: {global}");
}
