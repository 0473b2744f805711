//! Start and end on a quiet site, without the kernel's driver.

use isatapd_tests::ctl;
use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, NO_SIT, status};
use isatapd_tests::ip;
use isatapd_tests::process::await_gone;
use isatapd_tests::site::{HOST, ROUTER1, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{GLOBAL1, address, check_addresses, check_default, check_gone};

/// What there is with these arguments while it runs, and that nothing is left when it ends.
fn check(arguments: &[&str], tunnel: &str, mtu: u64) {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, arguments);
    let child = daemon.child();

    let link = ip::link(&host, tunnel).expect("the tunnel");
    assert!(link.up && link.kind == "tun" && link.mtu == mtu, "{link:?}");
    for name in ["accept_ra", "autoconf"] {
        assert_eq!(site.sysctl(&format!("ipv6/conf/{tunnel}/{name}")), "0", "{name}");
    }
    check_addresses(&site, tunnel, &[GLOBAL1]);
    let [default] = &ip::default_routes(&host, tunnel)[..] else { panic!("not one default route") };
    check_default(default, "medium");
    assert_eq!(site.prl(tunnel), [ROUTER1]);

    // It hears that all is done after the first packet could pass.
    let shown = wait_for(secs(30), "that it works", || {
        ctl::show(&host, tunnel).filter(|shown| shown["working"] == true)
    });
    let at = |path: &str| shown.pointer(path).cloned().unwrap_or_default();
    assert_eq!(at("/backend").as_str().map(str::to_lowercase).as_deref(), Some("tun"), "{shown}");
    assert_eq!(at("/locator"), Value::from(HOST.to_string()), "{shown}");

    let (status, took) = daemon.stop(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < secs(5), "took {took:?} to end");
    await_gone(child);
    check_gone(&site, tunnel);
}

#[test]
fn without_arguments() {
    check(&[], "is0", 1480);
}

#[test]
fn with_a_router_by_address() {
    check(&["10.0.0.101"], "is0", 1480);
}

#[test]
fn with_every_option() {
    let line =
        &["-n", "is7", "-l", "eth0", "-m", "1280", "-t", "64", "-i", "300", "-D", "120", "isatap"];
    check(line, "is7", 1280);
}

#[test]
fn auto_takes_tun_where_there_is_no_sit_and_says_why() {
    let site = Site::ours(&[]);
    let daemon = Daemon::working(&site, &["--backend", "auto"]);
    let shown = ctl::show(&site.namespace("host"), "is0").expect("an answer");
    let reason = shown.get("reason").and_then(Value::as_str).expect("a reason").to_owned();
    assert!(reason.contains(NO_SIT), "{reason:?}");
    assert!(daemon.log().contains(&reason), "{}", daemon.log());
    assert!(address(&site, GLOBAL1).is_some());
}

#[test]
fn the_kernel_backend_is_refused_where_there_is_no_sit() {
    let site = Site::ours(&[]);
    let (exit, log) = run(&site, &["--backend", "kernel"]);
    expect::exit(exit, status::UNAVAILABLE, &log);
    expect::one_line(&log, &[NO_SIT]);
}
