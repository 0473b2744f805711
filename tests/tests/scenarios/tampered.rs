//! What we must not do to what is others'.

use isatapd_tests::daemon::Daemon;
use isatapd_tests::expect::{METRIC_MEDIUM, METRICS};
use isatapd_tests::site::ROUTER1;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, address, await_default};

#[test]
fn a_route_of_somebody_else_is_not_replaced() {
    let site = crate::site(&[]);
    // On another interface, with the very metric that ours would have.
    site.ip("host", "link add other type veth peer name another");
    site.ip("host", "link set another up");
    site.ip("host", "link set other up");
    site.ip("host", "-6 addr add 2001:db8:77::2/64 dev other nodad");
    site.ip("host", "-6 route add default via 2001:db8:77::1 dev other metric 2112");
    let mut daemon = Daemon::start(&site, &[]);
    wait_for(secs(30), "the address", || address(&site, GLOBAL1));
    let ours = await_default(&site, ROUTER1, secs(30));
    assert_eq!(ours.metric, METRIC_MEDIUM + METRICS);
    wait_for(secs(10), "a word of it", || {
        daemon.log().contains("is0: its metrics are 512 more").then_some(())
    });
    let foreign = || site.ip("host", "-6 route show default dev other");
    assert!(foreign().contains("2001:db8:77::1"), "{}", foreign());
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    assert!(foreign().contains("2001:db8:77::1"), "{}", foreign());
}
