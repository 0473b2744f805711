//! Routers that die while packets go by them, and come back.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use isatapd_tests::capture::{Capture, Frame};
use isatapd_tests::ctl;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::expect::METRIC_LOST;
use isatapd_tests::forge;
use isatapd_tests::ping::Pinger;
use isatapd_tests::process;
use isatapd_tests::repeated::Repeated;
use isatapd_tests::site::{DNS, HOST, ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::{await_default, default_by};

/// How router1 dies: on which node, by what command for ip(8), and what brings it back.
type Death = (&'static str, &'static str, &'static str);
/// It has no link: IPv4 tells who sends to it that nobody is there.
const DOWN: Death = ("site", "link set router1-eth0 down", "link set router1-eth0 up");
/// What is sent to it gets lost, and nobody tells.
const MUTE: Death = (
    "host",
    "neighbour replace 10.0.0.101 lladdr 02:00:00:00:00:99 nud permanent dev eth0",
    "neighbour del 10.0.0.101 dev eth0",
);

/// A site where both routers advertise one prefix and the first is preferred; packets flow by it.
fn site(arguments: &[&str]) -> (Site, Daemon, Pinger) {
    let site = crate::site(&["--shared"]);
    site.advertise("router1", &["AdvDefaultPreference high"]);
    site.dns(&[ROUTER1, ROUTER2]);
    let daemon = Daemon::working(&site, arguments);
    await_default(&site, ROUTER1, secs(30));
    await_default(&site, ROUTER2, secs(30));
    let pinger = site.pinger();
    assert!(pinger.first_since(Instant::now(), secs(30)).is_some(), "no ping by router1");
    (site, daemon, pinger)
}

/// The time from the first router's death to the first answer by the other.
fn take_over(site: &Site, pinger: &Pinger, death: Death) -> Duration {
    site.ip(death.0, death.1);
    let event = Instant::now();
    site.topology(&["via", "router2"]);
    pinger.first_since(event, secs(60)).expect("a ping by router2 in a minute")
}

/// Within these a router that dies is left, by what is said of `--router-timeout`: 6 s, and more on a busy
/// machine; and 1 s, which is still less than 6 s. Nothing else would take it from the routes for minutes.
const UNTOLD: Duration = secs(20);
const TOLD: Duration = secs(5);

/// The metric of the default route by this router; the routes are there in any case.
fn metric(site: &Site, router: Ipv4Addr) -> u64 {
    default_by(site, router).expect("a default route").metric
}

fn check(death: Death, arguments: &[&str], limit: Duration) {
    let (site, daemon, pinger) = site(arguments);
    let took = take_over(&site, &pinger, death);
    eprintln!("{death:?} {arguments:?}: {took:?}");
    assert!(took < limit, "{death:?}: {took:?}, {}", daemon.log());
    assert!(metric(&site, ROUTER1) > metric(&site, ROUTER2), "{death:?}");
    let shown = ctl::show(&site.namespace("host"), "is0").expect("isatapctl show");
    let reachable = |n: usize| shown.pointer(&format!("/routers/{n}/reachable")).cloned();
    let mut both = [reachable(0), reachable(1)].map(|value| value == Some(true.into()));
    both.sort_unstable();
    assert_eq!(both, [false, true], "{shown}");
    // It comes back: the preferred one is used again, and no packet is lost by that.
    site.ip(death.0, death.2);
    wait_for(secs(90), "the preferred router's return", || {
        (metric(&site, ROUTER1) < metric(&site, ROUTER2)).then_some(())
    });
    assert!(pinger.first_since(Instant::now(), secs(30)).is_some());
}

#[test]
fn the_other_takes_over_when_the_link_is_down() {
    check(DOWN, &[], UNTOLD);
}

#[test]
fn the_other_takes_over_from_one_that_falls_silent() {
    check(MUTE, &[], UNTOLD);
}

#[test]
fn the_other_takes_over_as_soon_as_it_is_told_to() {
    check(DOWN, &["--router-timeout", "1"], TOLD);
    check(MUTE, &["--router-timeout", "1"], TOLD);
}

/// Neighbor Solicitations that the host sends by IPv4.
fn solicitations(site: &Site) -> (Arc<AtomicU64>, Capture) {
    let count = Arc::new(AtomicU64::new(0));
    let ours = Arc::clone(&count);
    let capture = Capture::start(&site.namespace("host"), "eth0", move |frame: Frame<'_>| {
        let packet = frame.packet;
        let is = frame.outgoing
            && frame.kind == 0x0800
            && packet.get(9) == Some(&41)
            && packet.get(26) == Some(&58)
            && packet.get(60) == Some(&135);
        ours.fetch_add(u64::from(is), Ordering::Relaxed);
    });
    (count, capture)
}

#[test]
fn if_both_are_dead_the_routes_stay() {
    let (site, _daemon, pinger) = site(&[]);
    for router in ["router1", "router2"] {
        site.ip("site", &format!("link set {router}-eth0 down"));
    }
    let both_lost = || {
        let lost = |router| metric(&site, router) >= 2048 + METRIC_LOST;
        (lost(ROUTER1) && lost(ROUTER2)).then_some(())
    };
    wait_for(secs(30), "both routers lost", both_lost);
    // They are asked less and less often.
    let (count, _capture) = solicitations(&site);
    std::thread::sleep(secs(30));
    let asked = count.load(Ordering::Relaxed);
    assert!((1..=12).contains(&asked), "{asked} solicitations in 30 s");
    site.topology(&["via", "router2"]);
    site.ip("site", "link set router2-eth0 up");
    assert!(pinger.first_since(Instant::now(), secs(90)).is_some(), "no ping by router2");
}

/// How often the threads of these processes had a processor.
fn switches(processes: &[nix::unistd::Pid]) -> u64 {
    processes.iter().map(|pid| process::switches(*pid)).sum()
}

#[test]
fn without_traffic_nobody_is_asked() {
    // By address: names are looked up now and then.
    let (site, mut daemon, pinger) = site(&["10.0.0.101", "10.0.0.102"]);
    drop(pinger);
    let (count, _capture) = solicitations(&site);
    let processes = [daemon.parent(), daemon.child()];
    // What follows the last packet is over soon.
    wait_for(12 * crate::QUIET, "quiet", || {
        let before = switches(&processes);
        count.store(0, Ordering::Relaxed);
        std::thread::sleep(crate::QUIET);
        // The last ones may have been seen late.
        let solicited = count.load(Ordering::Relaxed);
        (switches(&processes) == before && solicited == 0).then_some(())
    });
}

/// Nobody else can say that a router is there.
#[test]
fn a_forged_answer_does_not_hold_traffic() {
    let (site, _daemon, pinger) = site(&[]);
    let dns = site.namespace("dns");
    let _forger = Repeated::start(move || {
        forge::neighbour_advert(&dns, DNS, ROUTER1, HOST);
        std::thread::sleep(Duration::from_millis(50));
    });
    let took = take_over(&site, &pinger, MUTE);
    assert!(took < UNTOLD, "{took:?}");
}
