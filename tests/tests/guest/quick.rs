//! How long it takes until IPv6 works, on the guest's clock, which goes by instructions.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::ping::Pinger;
use isatapd_tests::site::{INET, Site};
use isatapd_tests::wait::{secs, stays};
use nix::sys::signal::Signal;

use crate::common::sorted;

const RUNS: u8 = 5;
const MIDDLE: usize = 2;
const INTERVAL: Duration = Duration::from_millis(10);
/// What the middle one of the times is below. Speed is measured by benchmarks: this only shows that no
/// timer of the daemon adds to it.
const LIMIT: Duration = Duration::from_millis(200);

fn pinger(site: &Site) -> Pinger {
    Pinger::every(&site.namespace("host"), INET, INTERVAL)
}

fn first(pinger: &Pinger, since: Instant) -> Duration {
    pinger.first_since(since, secs(60)).expect("a ping")
}

#[test]
fn a_start() {
    let site = Site::up(&[]);
    let times = (0..RUNS).map(|_| {
        let pinger = pinger(&site);
        let began = Instant::now();
        let mut daemon = Daemon::start(&site, &[]);
        let took = first(&pinger, began);
        daemon.child();
        daemon.stop(Signal::SIGTERM);
        took
    });
    let took = sorted("start", times.collect())[MIDDLE];
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn another_address() {
    let site = Site::up(&[]);
    let host = site.namespace("host");
    let _daemon = Daemon::working(&site, &[]);
    let times = (0..RUNS).map(|n| {
        let pinger = pinger(&site);
        let began = ip::change_ipv4(&host, "eth0", Ipv4Addr::new(10, 0, 0, 11 + n));
        first(&pinger, began)
    });
    let took = sorted("another address", times.collect())[MIDDLE];
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn a_link_that_comes_late() {
    let site = Site::up(&[]);
    site.ip("host", "link set eth0 down");
    let daemon = Daemon::start(&site, &[]);
    stays(secs(70), "the daemon alive", || daemon.is_alive());
    let pinger = pinger(&site);
    let began = Instant::now();
    site.ip("host", "link set eth0 up");
    let took = first(&pinger, began);
    println!("late link: {took:?}");
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[test]
fn a_link_that_was_down() {
    for backend in ["kernel", "tun"] {
        let site = Site::up(&[]);
        let _daemon = Daemon::working(&site, &["--backend", backend]);
        let times = (0..RUNS).map(|_| {
            site.ip("host", "link set eth0 down");
            std::thread::sleep(secs(2));
            let pinger = pinger(&site);
            let began = Instant::now();
            site.ip("host", "link set eth0 up");
            first(&pinger, began)
        });
        let took = sorted(&format!("link down and up, {backend}"), times.collect())[MIDDLE];
        assert!(took < LIMIT, "{backend}: {took:?}");
    }
}
