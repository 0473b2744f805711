//! Two of them on one host.

use isatapd_tests::daemon::Daemon;
use isatapd_tests::expect::METRICS;
use isatapd_tests::ip::{self, Route};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::check_gone;

#[test]
fn on_different_links_both_have_their_routes() {
    // Either router is behind a link of its own.
    let site = crate::site(&["--far", "1500"]);
    let host = site.namespace("host");
    let one = ["-k", "-l", "eth0", "10.0.0.101"];
    let two = ["-n", "is1", "-l", "eth2", "10.0.0.102"];
    let mut first = Daemon::working(&site, &one);
    let mut second = Daemon::start(&site, &two);
    let default = |name: &str| -> Route {
        wait_for(secs(30), "a default route", || ip::default_routes(&host, name).pop())
    };
    let metrics = [default("is0").metric, default("is1").metric];
    assert_eq!(metrics[1], metrics[0] + METRICS, "{}", second.log());
    wait_for(secs(10), "a word of it", || {
        second.log().contains("is1: its metrics are 512 more").then_some(())
    });
    site.reaches_inet();

    // Each goes without the other, and keeps its place in a restart.
    first.stop(Signal::SIGTERM);
    let mut first = Daemon::start(&site, &one);
    wait_for(secs(30), "the tunnel", || first.log().contains("taken over").then_some(()));
    assert_eq!([default("is0").metric, default("is1").metric], metrics);
    first.stop(Signal::SIGQUIT);
    assert_eq!(second.stop(Signal::SIGTERM).0.code(), Some(0));
    assert!(ip::link(&host, "is1").is_none());
    let mut first = Daemon::working(&site, &one[1..]);
    assert_eq!(first.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}
