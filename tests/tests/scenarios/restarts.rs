//! An isatapd that ends, or is killed, and another that takes over what it left.

use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::ping::{Count, Pinger};
use isatapd_tests::process::await_gone;
use isatapd_tests::site::{INET, ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, await_default, check_addresses, check_gone};

/// Between pings where the lost ones are counted.
pub const OFTEN: Duration = Duration::from_millis(10);

/// Pings all the time from the host.
pub fn pinger(site: &Site) -> Pinger {
    Pinger::every(&site.namespace("host"), INET, OFTEN)
}

/// The number of the host's tunnel.
pub fn index(site: &Site) -> u64 {
    ip::link(&site.namespace("host"), "is0").expect("is0").index
}

/// Waits until a router has answered.
fn await_answer(daemon: &Daemon) {
    wait_for(secs(60), "an answer", || daemon.log().contains(": default router").then_some(()));
}

/// Ends it and starts another, as often as that, each time until a router has answered. Result: how long
/// nobody had the tunnel in hand.
pub fn restart(
    site: &Site,
    daemon: &mut Daemon,
    signal: Signal,
    arguments: &[&str],
    times: u32,
) -> Duration {
    let mut away = Duration::ZERO;
    for _ in 0..times {
        let began = Instant::now();
        assert_eq!(daemon.stop(signal).0.code(), Some(0), "{}", daemon.log());
        *daemon = Daemon::start(site, arguments);
        wait_for(secs(60), "the tunnel in hand", || {
            let log = daemon.log();
            (log.contains("is0: tunnel taken over") && log.contains(": confined")).then_some(())
        });
        away += began.elapsed();
        await_answer(daemon);
    }
    away
}

/// Panics if more was lost than must be: what is sent while nobody has a TUN interface in hand, which is as
/// long as the machine lets it, and a moment of each restart until packets move.
fn check(site: &Site, count: Count, restarts: u32, away: Duration) {
    println!("{restarts} restarts in {away:?}: {count:?}");
    let sent = u32::try_from(away.as_millis() / OFTEN.as_millis()).expect("a few");
    let most = if site.has_sit() { 0 } else { sent + 20 * restarts };
    assert!(count.due > 5 * restarts && count.lost <= most, "{count:?} in {away:?}");
}

#[test]
fn a_kept_tunnel_is_taken_over() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &["--keep"]);
    let (before, pinger) = (index(&site), pinger(&site));
    let away = restart(&site, &mut daemon, Signal::SIGTERM, &["--keep"], 3)
        + restart(&site, &mut daemon, Signal::SIGQUIT, &[], 3);
    site.reaches_inet();
    check(&site, pinger.count(), 6, away);
    assert_eq!(index(&site), before);
    check_addresses(&site, "is0", &[GLOBAL1]);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn with_two_routers_nothing_goes_meanwhile() {
    // A router that is on sit takes no packets from addresses of the other's prefix.
    let site = crate::site(&["--shared"]);
    let routers = ["--keep", "10.0.0.101", "10.0.0.102"];
    let mut daemon = Daemon::working(&site, &routers);
    for router in [ROUTER1, ROUTER2] {
        await_default(&site, router, secs(30));
    }
    let watch = ip::Watch::start(&site.namespace("host"), "is0");
    restart(&site, &mut daemon, Signal::SIGTERM, &routers, 3);
    site.reaches_inet();
    let removed = watch.removed();
    assert!(removed.is_empty(), "{removed:?}");
}

#[test]
fn other_options_change_what_was_left() {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &["-k", "-m", "1280", "-t", "60"]);
    let number = index(&site);
    daemon.stop(Signal::SIGTERM);
    // The address of the host changes too, while nobody looks.
    site.ip("host", "addr del 10.0.0.2/24 dev eth0");
    site.ip("host", "addr add 10.0.0.3/24 dev eth0");
    let mut daemon = Daemon::working(&site, &["-k", "-l", "eth0"]);
    let link = ip::link(&host, "is0").expect("is0");
    assert_eq!((link.index, link.mtu), (number, 1480), "{link:?}");
    if site.has_sit() {
        assert_eq!((link.local.as_str(), link.ttl), ("10.0.0.3", 64), "{link:?}");
        assert_eq!(link.bound_to.as_deref(), Some("eth0"), "{link:?}");
    }
    let found = ip::addresses(&host, "is0");
    let old = found.iter().filter(|a| a.address.octets().ends_with(&[10, 0, 0, 2]));
    assert!(found.len() == 2 && old.count() == 0, "{found:?}");
    // Another router, and none of what the first gave.
    daemon.stop(Signal::SIGTERM);
    let _daemon = Daemon::working(&site, &["10.0.0.102"]);
    // What was left on sit answers pings before that one has seen it.
    await_default(&site, ROUTER2, secs(30));
    wait_for(secs(30), "no other router", || {
        let routes = ip::default_routes(&host, "is0");
        (routes.len() == 1 && site.prl("is0") == [ROUTER2]).then_some(())
    });
    assert_eq!(index(&site), number);
}

#[test]
fn a_killed_parent_leaves_no_child_and_the_next_start_takes_over() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (before, pinger) = (index(&site), pinger(&site));
    for _ in 0..3 {
        let child = daemon.child();
        daemon.stop(Signal::SIGKILL);
        await_gone(child);
        // A TUN interface is there as long as who made it.
        let stays = ip::link(&site.namespace("host"), "is0").is_some();
        assert_eq!(stays, site.has_sit(), "whether the tunnel is left");
        daemon = Daemon::start(&site, &[]);
        await_answer(&daemon);
    }
    site.reaches_inet();
    let count = pinger.count();
    assert!(count.lost == 0 || !site.has_sit(), "{count:?}");
    assert_eq!(index(&site) == before, site.has_sit());
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn killed_at_any_moment_of_taking_over() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &["--keep"]);
    let before = index(&site);
    daemon.stop(Signal::SIGTERM);
    for step in 0..20 {
        let mut daemon = Daemon::start(&site, &[]);
        std::thread::sleep(Duration::from_millis(step * 7));
        daemon.stop(Signal::SIGKILL);
    }
    let mut daemon = Daemon::working(&site, &[]);
    assert!(index(&site) == before || !site.has_sit());
    check_addresses(&site, "is0", &[GLOBAL1]);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}
