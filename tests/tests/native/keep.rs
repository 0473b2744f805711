//! A router that is to be started again.

use std::fs;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::netns::within;
use isatapd_tests::process::await_gone;
use isatapd_tests::site::{ROUTER1, Site};
use isatapd_tests::wait::{secs, stays};
use nix::sys::signal::{Signal, kill};

use crate::common::default_by;

#[test]
fn a_router_that_comes_back_tells_its_hosts_nothing() {
    let site = Site::bare(&[]);
    site.run_router("router1", &["--keep"], &[]);
    let _daemon = Daemon::working(&site, &[]);
    let router = site.namespace("router1");
    let index = || ip::link(&router, "is0").expect("the router's tunnel").index;
    let (before, pid) = (index(), site.router_pid("router1"));
    kill(pid, Signal::SIGTERM).expect("kill");
    await_gone(pid);
    stays(secs(1), "the route by it", || default_by(&site, ROUTER1).is_some());
    let forwarding = || fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding");
    assert_eq!(within(&router, forwarding).expect("IPv6"), "1\n");

    site.run_router("router1", &[], &[]);
    assert_eq!(index(), before);
    site.reaches_inet();
    let pid = site.router_pid("router1");
    kill(pid, Signal::SIGTERM).expect("kill");
    await_gone(pid);
    assert_eq!(within(&router, forwarding).expect("IPv6"), "0\n");
}
