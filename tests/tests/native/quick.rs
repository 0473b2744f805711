//! How long a start and a change of the address take, where nothing else runs on the site. The least of
//! several: what is measured is the daemon, and the machine may be busy.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::capture::Capture;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::ping::Pinger;
use isatapd_tests::routers::is_solicitation;
use isatapd_tests::site::{HOST, INET, Site};
use isatapd_tests::wait::secs;
use nix::sys::signal::Signal;

use crate::common::sorted;

const RUNS: u8 = 7;
/// Between them: what comes in storms is slowed down.
const REST: Duration = Duration::from_millis(400);
/// What the least of the times is below. Speed is measured by benchmarks: this only shows that no timer
/// of the daemon adds to it.
const LIMIT: Duration = Duration::from_millis(200);
const INTERVAL: Duration = Duration::from_millis(1);

#[test]
fn a_start() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let mut times = Vec::new();
    for n in 0..RUNS {
        sleep(REST);
        // A router answers a host twice at once, then once in 3 s.
        ip::change_ipv4(&host, "eth0", Ipv4Addr::new(10, 0, 0, 11 + n));
        let pinger = Pinger::every(&host, INET, INTERVAL);
        let begin = Instant::now();
        let mut daemon = Daemon::start(&site, &[]);
        times.push(pinger.first_since(begin, secs(20)).expect("a ping"));
        daemon.stop(Signal::SIGTERM);
    }
    let times = sorted("start", times);
    assert!(times[0] < LIMIT, "{times:?}");
}

/// Solicitations that a router has received: when, and from where.
fn solicitations(site: &Site) -> (Capture, Receiver<(Instant, Ipv4Addr)>) {
    let (tell, told) = channel();
    let capture = Capture::start(&site.namespace("router1"), "eth0", move |frame| {
        if is_solicitation(frame) {
            let from: [u8; 4] = *frame.packet[12..].first_chunk().expect("an address");
            let _ = tell.send((frame.at, from.into()));
        }
    });
    (capture, told)
}

/// The first solicitation and the first answered ping after `change`, which tells when it began, of
/// several such changes to another address each.
fn moves(change: impl Fn(&str, Ipv4Addr, Ipv4Addr) -> Instant) -> [Vec<Duration>; 2] {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let (_capture, solicited) = solicitations(&site);
    let _daemon = Daemon::working(&site, &[]);
    let (mut first, mut pinged, mut at) = (Vec::new(), Vec::new(), HOST);
    for n in 0..RUNS {
        sleep(REST);
        let pinger = Pinger::every(&host, INET, INTERVAL);
        let to = Ipv4Addr::new(10, 0, 0, 11 + n);
        let began = change(&host, at, to);
        pinged.push(pinger.first_since(began, secs(20)).expect("a ping"));
        let (seen, _) = solicited.iter().find(|(_, from)| *from == to).expect("a solicitation");
        first.push(seen - began);
        at = to;
    }
    [sorted("solicited", first), sorted("pinged", pinged)]
}

#[test]
fn another_address_at_once() {
    let [first, pinged] = moves(|host, _, to| ip::change_ipv4(host, "eth0", to));
    assert!(first[0] < LIMIT && pinged[0] < LIMIT, "{first:?} {pinged:?}");
}

/// As a DHCP client does it: there is a time without an address.
#[test]
fn another_address_after_none() {
    let [first, pinged] = moves(|host, from, to| {
        ip::run(host, &format!("addr del {from}/24 dev eth0"));
        let began = Instant::now();
        ip::run(host, &format!("addr add {to}/24 dev eth0"));
        began
    });
    assert!(first[0] < LIMIT && pinged[0] < LIMIT, "{first:?} {pinged:?}");
}
