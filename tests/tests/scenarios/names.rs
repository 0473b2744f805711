//! What DNS may say.

use std::net::Ipv4Addr;
use std::time::Instant;

use isatapd_proto::MAX_ROUTERS;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::site::{HOST, ROUTER1, ROUTER2};
use isatapd_tests::wait::{secs, stays, wait_for};
use nix::sys::signal::Signal;

use crate::common::{await_default, check_gone, defaults};

/// `n` addresses of the site, one of them the router's; only the router answers.
fn records(n: u8) -> Vec<Ipv4Addr> {
    (54..54 + n).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect()
}

#[test]
fn any_number_of_records() {
    let site = crate::site(&[]);
    for n in [1, 50, 200] {
        let records = if n == 1 { vec![ROUTER1] } else { records(n) };
        site.dns(&records);
        let mut daemon = Daemon::start(&site, &[]);
        let want = records.len().min(MAX_ROUTERS);
        wait_for(secs(60), "the whole list", || (site.prl("is0").len() == want).then_some(()));
        // Of more than there may be, chance says which ones.
        if want == records.len() {
            await_default(&site, ROUTER1, secs(60));
        }
        assert!(daemon.log().lines().count() < 40, "{n} records: {}", daemon.log());
        assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
        check_gone(&site, "is0");
    }
}

#[test]
fn no_record() {
    let site = crate::site(&[]);
    site.dns(&[]);
    let daemon = Daemon::start(&site, &[]);
    stays(3 * crate::QUIET, "alive without routers", || {
        daemon.is_alive() && defaults(&site).is_empty()
    });
    assert!(daemon.log().lines().count() < 20, "{}", daemon.log());
}

#[test]
fn records_that_are_no_router() {
    let site = crate::site(&[]);
    let bad = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::BROADCAST,
        HOST,
    ];
    for bad in bad {
        site.dns(&[bad, ROUTER1]);
        let mut daemon = Daemon::start(&site, &[]);
        await_default(&site, ROUTER1, secs(60));
        assert_eq!(site.prl("is0"), [ROUTER1], "beside {bad}");
        assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0), "beside {bad}");
    }
}

#[test]
fn sigterm_while_the_name_server_is_silent() {
    let site = crate::site(&[]);
    site.signal("dnsmasq", Signal::SIGSTOP);
    let mut daemon = Daemon::start(&site, &[]);
    daemon.child();
    stays(secs(7), "waiting for the name server", || daemon.is_alive());
    let (status, took) = daemon.stop(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    // A look-up takes longer.
    assert!(took < secs(4), "took {took:?} to end");
}

#[test]
fn a_name_that_another_router_gets() {
    let site = crate::site(&["--shared"]);
    let mut daemon = Daemon::working(&site, &[]);
    let pinger = site.pinger();
    site.dns(&[ROUTER2]);
    site.ip("router1", "link set eth0 down");
    site.topology(&["via", "router2"]);
    let took = pinger.first_since(Instant::now(), secs(60)).expect("a ping");
    println!("a ping after {took:?}");
    // The time to live is 10 s, and the machine may be busy.
    assert!(took < secs(20), "took {took:?}: {}", daemon.log());
    assert_eq!(site.prl("is0"), [ROUTER2]);
    assert_eq!(defaults(&site).len(), 1);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
}

#[test]
fn a_name_server_that_speaks_again() {
    let site = crate::site(&[]);
    site.signal("dnsmasq", Signal::SIGSTOP);
    let mut daemon = Daemon::start(&site, &[]);
    daemon.child();
    stays(secs(20), "waiting for the name server", || daemon.is_alive());
    site.signal("dnsmasq", Signal::SIGCONT);
    let _ = wait_for(secs(70), "a default route", || defaults(&site).pop());
}
