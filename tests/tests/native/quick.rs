//! How long a start and a change of the address take, where nothing else runs on the site. The least of
//! several: what is measured is the daemon, and the machine may be busy.

use std::net::Ipv4Addr;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use isatapd_tests::capture::Capture;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::ping::Pinger;
use isatapd_tests::routers::is_solicitation;
use isatapd_tests::site::{INET, Site};
use isatapd_tests::wait::secs;
use nix::sys::signal::Signal;

const RUNS: u8 = 9;
const INTERVAL: Duration = Duration::from_millis(1);

/// Millis, sorted; shown by `--nocapture`.
fn sorted(what: &str, mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    println!("{what}: {times:?}");
    times
}

#[test]
fn a_start() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let mut times = Vec::new();
    for n in 0..RUNS {
        // A router does not answer the same host twice in three seconds.
        ip::change_ipv4(&host, "eth0", Ipv4Addr::new(10, 0, 0, 11 + n));
        let pinger = Pinger::every(&host, INET, INTERVAL);
        let begin = Instant::now();
        let mut daemon = Daemon::start(&site, &[]);
        times.push(pinger.first_since(begin, secs(20)).expect("a ping"));
        daemon.stop(Signal::SIGTERM);
    }
    let times = sorted("start", times);
    assert!(times[0] < Duration::from_millis(30), "{times:?}");
}

#[test]
fn another_address() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let (tell, solicited) = channel();
    let _capture = Capture::start(&site.namespace("router1"), "eth0", move |frame| {
        if is_solicitation(frame) {
            let _ = tell.send((Instant::now(), Ipv4Addr::from(*frame.packet[12..].first_chunk().expect("4"))));
        }
    });
    let _daemon = Daemon::working(&site, &[]);
    let (mut first, mut pinged) = (Vec::new(), Vec::new());
    for n in 0..RUNS {
        let pinger = Pinger::every(&host, INET, INTERVAL);
        let to = Ipv4Addr::new(10, 0, 0, 11 + n);
        let begin = ip::change_ipv4(&host, "eth0", to);
        pinged.push(pinger.first_since(begin, secs(20)).expect("a ping"));
        let (at, _) = solicited.iter().find(|(_, from)| *from == to).expect("a solicitation");
        first.push(at - begin);
    }
    let (first, pinged) = (sorted("solicited", first), sorted("pinged", pinged));
    assert!(first[0] < Duration::from_millis(2), "{first:?}");
    assert!(pinged[0] < Duration::from_millis(20), "{pinged:?}");
}
