//! Start and end on a quiet site.

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::process::await_gone;
use isatapd_tests::site::{ROUTER1, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, check_addresses, check_default, check_gone};

/// What there is with these arguments while it runs, and that nothing is left when it ends.
struct Case {
    arguments: &'static [&'static str],
    tunnel: &'static str,
    mtu: u64,
    bound_to: Option<&'static str>,
    signal: Signal,
}

fn check(case: &Case) {
    let site = Site::up(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, case.arguments);
    let child = daemon.child();

    let link = ip::link(&host, case.tunnel).expect("the tunnel");
    assert!(link.up && link.kind == "sit" && link.isatap, "{link:?}");
    assert_eq!((link.local.as_str(), link.ttl, link.mtu), ("10.0.0.2", 64, case.mtu), "{link:?}");
    assert_eq!(link.bound_to.as_deref(), case.bound_to, "{link:?}");
    assert_eq!(site.prl(case.tunnel), [ROUTER1]);
    assert_eq!(site.sysctl(&format!("ipv6/conf/{}/accept_ra", case.tunnel)), "0");

    check_addresses(&site, case.tunnel, &[GLOBAL1]);
    let global = || {
        let all = ip::addresses(&host, case.tunnel);
        all.into_iter().find(|a| a.address == GLOBAL1).expect("the global address")
    };
    let before = global();
    assert_eq!(before.length, 64);
    assert!((86_000..=86_400).contains(&before.valid), "{before:?}");
    assert!((14_000..=14_400).contains(&before.preferred), "{before:?}");

    let routes = ip::routes(&host, case.tunnel);
    let known = ["default", "fe80::/64", "2001:db8:1::/64"];
    assert!(routes.iter().all(|r| known.contains(&r.destination.as_str())), "{routes:?}");
    let [default] = &ip::default_routes(&host, case.tunnel)[..] else { panic!("{routes:?}") };
    check_default(default, "medium");

    wait_for(secs(30), "lifetimes that count down", || {
        let (address, routes) = (global(), ip::default_routes(&host, case.tunnel));
        let counts = address.valid < before.valid && address.preferred < before.preferred;
        (counts && routes[0].expires < default.expires).then_some(())
    });

    let (status, took) = daemon.stop(case.signal);
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(took < secs(5), "took {took:?} to end");
    await_gone(child);
    check_gone(&site, case.tunnel);
}

const PLAIN: Case =
    Case { arguments: &[], tunnel: "is0", mtu: 1480, bound_to: None, signal: Signal::SIGTERM };

#[test]
fn without_arguments() {
    check(&PLAIN);
}

#[test]
fn with_a_router_by_address() {
    check(&Case { arguments: &["10.0.0.101"], signal: Signal::SIGINT, ..PLAIN });
}

#[test]
fn with_every_option() {
    let line =
        &["-n", "is7", "-l", "eth0", "-m", "1280", "-t", "64", "-i", "300", "-D", "120", "isatap"];
    check(&Case { arguments: line, tunnel: "is7", mtu: 1280, bound_to: Some("eth0"), ..PLAIN });
}
