//! Started before there is all that it needs.

use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::site::{ROUTER1, Site};
use isatapd_tests::wait::{secs, stays};

/// Starts without something. Then it comes.
fn late(router: &str, without: impl Fn(&Site), with: impl Fn(&Site), limit: Duration) {
    let site = crate::site(&[]);
    without(&site);
    let mut daemon = Daemon::start(&site, &[router]);
    daemon.child();
    stays(crate::QUIET, "the daemon alive", || daemon.is_alive());
    let pinger = site.pinger();
    with(&site);
    let event = Instant::now();
    let took = pinger.first_since(event, secs(120)).expect("a ping in two minutes");
    assert!(took < limit, "took {took:?}: {}", daemon.log());
}

fn link(router: &str) {
    late(
        router,
        |site| drop(site.ip("host", "link set eth0 down")),
        |site| drop(site.ip("host", "link set eth0 up")),
        secs(1),
    );
}

fn address(router: &str) {
    late(
        router,
        |site| drop(site.ip("host", "addr del 10.0.0.2/24 dev eth0")),
        |site| drop(site.ip("host", "addr add 10.0.0.2/24 dev eth0")),
        secs(1),
    );
}

#[test]
fn the_link_with_a_router_by_name() {
    link("isatap");
}

#[test]
fn the_link_with_a_router_by_address() {
    link("10.0.0.101");
}

#[test]
fn the_address_with_a_router_by_name() {
    address("isatap");
}

#[test]
fn the_address_with_a_router_by_address() {
    address("10.0.0.101");
}

#[test]
fn the_name() {
    // No event tells of a new name: it is the next look-up that finds it.
    late("isatap", |site| site.dns(&[]), |site| site.dns(&[ROUTER1]), secs(61));
}
