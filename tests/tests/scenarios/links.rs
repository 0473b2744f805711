//! Links and IPv4 addresses that change under a running tunnel.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::Tcp;
use isatapd_tests::forge::isatap;
use isatapd_tests::ip;
use isatapd_tests::site::{HOST, INET, ROUTER1, Site};
use isatapd_tests::wait::{secs, stays, wait_for};

use crate::common::{GLOBAL1, address, default_by};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// The addresses of the host at `locator`: link-local, and in router1's prefix.
fn addresses_at(locator: Ipv4Addr) -> [Ipv6Addr; 2] {
    let low = u128::from(isatap(locator)) & u128::from(u64::MAX);
    let prefix = u128::from(GLOBAL1) & !u128::from(u64::MAX);
    [(prefix | low).into(), isatap(locator)]
}

fn has_addresses_of(site: &Site, locator: Ipv4Addr) -> bool {
    let found = ip::addresses(&site.namespace("host"), "is0");
    found.iter().map(|a| a.address).eq(addresses_at(locator))
}

fn index(site: &Site) -> u64 {
    ip::link(&site.namespace("host"), "is0").expect("is0").index
}

/// The tunnel that had this index has come to that locator, whole; and IPv6 works.
fn moved_to(site: &Site, daemon: &Daemon, before: u64, locator: Ipv4Addr, event: Instant) {
    assert!(site.pinger().first_since(event, secs(30)).is_some(), "no ping\n{}", daemon.log());
    wait_for(secs(2), "the addresses of the locator", || {
        has_addresses_of(site, locator).then_some(())
    });
    let link = ip::link(&site.namespace("host"), "is0").expect("is0");
    assert_eq!(link.index, before, "another interface\n{}", daemon.log());
    if site.has_sit() {
        assert_eq!(link.local, locator.to_string(), "{link:?}");
    }
    assert_eq!(site.prl("is0"), [ROUTER1]);
    assert!(default_by(site, ROUTER1).is_some());
}

/// Another address takes the place of the first, by these commands.
fn another_address(arguments: &[&str], commands: &str) {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, arguments);
    daemon.child();
    let (index, event) = (index(&site), Instant::now());
    ip::batch(&site.namespace("host"), commands);
    moved_to(&site, &daemon, index, OTHER, event);
}

const OUT: &str = "addr del 10.0.0.2/24 dev eth0\n";
const IN: &str = "addr add 10.0.0.9/24 dev eth0\n";

#[test]
fn another_address_after_the_first() {
    another_address(&[], &[OUT, IN].concat());
}

#[test]
fn another_address_before_the_first_goes() {
    another_address(&["--link", "eth0"], &[IN, OUT].concat());
}

#[test]
fn a_secondary_address_that_is_promoted() {
    another_address(&[], &["addr add 10.0.0.9/24 dev eth0\n", OUT, IN].concat().replace(IN, ""));
}
