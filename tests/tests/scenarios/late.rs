//! Started before there is all that it needs.

use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::site::{ROUTER1, Site};
use isatapd_tests::wait::{secs, stays};

/// What is only seen by the look each 10 s takes longer, on a busy machine too.
const SOON: Duration = secs(5);

/// Starts without something. Then it comes.
fn late(router: &str, without: impl Fn(&Site), with: impl Fn(&Site)) {
    let took = late_by(crate::QUIET, router, without, with);
    assert!(took < SOON, "took {took:?}");
}

/// From when it comes, so much later, to the first ping.
fn late_by(
    quiet: Duration,
    router: &str,
    without: impl Fn(&Site),
    with: impl Fn(&Site),
) -> Duration {
    let site = crate::site(&[]);
    without(&site);
    let mut daemon = Daemon::start(&site, &[router]);
    daemon.child();
    stays(quiet, "the daemon alive", || daemon.is_alive());
    let pinger = site.pinger();
    with(&site);
    let event = Instant::now();
    let took = pinger.first_since(event, secs(120)).expect("a ping in two minutes");
    println!("a ping after {took:?}: {}", daemon.log());
    took
}

fn link(router: &str) {
    late(
        router,
        |site| drop(site.ip("host", "link set eth0 down")),
        |site| drop(site.ip("host", "link set eth0 up")),
    );
}

fn address(router: &str) {
    late(
        router,
        |site| drop(site.ip("host", "addr del 10.0.0.2/24 dev eth0")),
        |site| drop(site.ip("host", "addr add 10.0.0.2/24 dev eth0")),
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

/// No event tells of a new name: it is the next look-up that finds it, a fifth of a second or a 32nd
/// of the absence later at most, give or take a tenth. The best of some tries: on a busy machine a packet
/// may be late.
fn name(quiet: Duration, tries: u32) {
    let pace = (quiet / 32).max(Duration::from_millis(200)) * 11 / 10;
    let limit = pace + Duration::from_millis(500);
    let took = || late_by(quiet, "isatap", |site| site.dns(&[]), |site| site.dns(&[ROUTER1]));
    assert!((0..tries).any(|_| took() < limit), "never in {limit:?}");
}

#[test]
fn the_name_after_five_seconds() {
    name(secs(5), 3);
}

#[test]
fn the_name_after_a_minute() {
    name(secs(60), 2);
}
