//! SIGTERM at any moment. Pings keep the guest's clock from leaping while a program is read from its
//! disk.

use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::site::Site;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::check_gone;
use crate::scenarios::restarts::pinger;

/// From the signal to the end: the median of some, and each. Others may keep the machine busy, but what
/// the daemon itself could wait for takes 10 s.
const ENDS: Duration = secs(1);
const LATEST: Duration = secs(8);

/// Starts it and ends it after a while, which is another each time; nothing may be left.
fn check(site: &Site, arguments: &[&str], step: Duration) {
    let _awake = pinger(site);
    let mut took = Vec::new();
    for n in 0..15 {
        let mut daemon = Daemon::start(site, arguments);
        sleep(step * n);
        // Before it has blocked the signal it ends by it, and has made nothing.
        let (status, time) = daemon.stop(Signal::SIGTERM);
        assert!(status.code().is_none_or(|code| code == 0), "{status}: {}", daemon.log());
        check_gone(site, "is0");
        took.push(time);
    }
    took.sort();
    assert!(took[took.len() / 2] < ENDS && *took.last().expect("some") < LATEST, "{took:?}");
}

#[test]
fn at_any_moment_of_the_start() {
    let site = crate::site(&[]);
    check(&site, &[], Duration::from_millis(9));
}

#[test]
fn while_names_have_no_answer() {
    let site = crate::site(&[]);
    site.signal("dnsmasq", Signal::SIGSTOP);
    check(&site, &[], Duration::from_millis(100));
}

#[test]
fn while_the_router_is_silent() {
    let site = crate::site(&[]);
    site.silence("router1");
    check(&site, &[], Duration::from_millis(100));
}

#[test]
fn in_a_storm_of_changes() {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let _awake = pinger(&site);
    let mut took = Vec::new();
    for _ in 0..5 {
        let mut daemon = Daemon::working(&site, &[]);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(300) {
            ip::run(&host, "addr add 10.0.9.9/24 dev eth0");
            ip::run(&host, "addr del 10.0.9.9/24 dev eth0");
        }
        let (status, time) = daemon.stop(Signal::SIGTERM);
        assert_eq!(status.code(), Some(0), "{}", daemon.log());
        check_gone(&site, "is0");
        took.push(time);
    }
    took.sort();
    assert!(took[took.len() / 2] < ENDS, "{took:?}");
}

#[test]
fn while_it_takes_over_what_was_left() {
    let site = crate::site(&[]);
    let _awake = pinger(&site);
    for step in 0..15 {
        let mut left = Daemon::start(&site, &["--keep"]);
        wait_for(secs(30), "a tunnel", || left.log().contains("is0: tunnel").then_some(()));
        left.stop(Signal::SIGTERM);
        let mut daemon = Daemon::start(&site, &[]);
        // Once its child is confined, its end is the tunnel's, whether it has taken it over or not.
        wait_for(secs(30), "its own signals", || daemon.log().contains("confined").then_some(()));
        sleep(Duration::from_millis(2 * step));
        assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0), "{}", daemon.log());
        check_gone(&site, "is0");
    }
}
