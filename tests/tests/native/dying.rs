//! The router's daemon is killed: its tunnel is gone with it.

use std::time::Instant;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::site::{ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::{await_default, default_by};

#[test]
fn the_other_takes_over_from_a_killed_daemon() {
    let site = Site::ours(&["--shared"]);
    site.advertise("router1", &["AdvDefaultPreference high"]);
    site.dns(&[ROUTER1, ROUTER2]);
    let _daemon = Daemon::working(&site, &[]);
    await_default(&site, ROUTER1, secs(30));
    await_default(&site, ROUTER2, secs(30));
    let pinger = site.pinger();
    assert!(pinger.first_since(Instant::now(), secs(30)).is_some(), "no ping by router1");
    site.silence("router1");
    let event = Instant::now();
    site.topology(&["via", "router2"]);
    let took = pinger.first_since(event, secs(60)).expect("a ping by router2");
    assert!(took < secs(20), "{took:?}");
    // Another one starts in its place.
    site.advertise("router1", &["AdvDefaultPreference high"]);
    wait_for(secs(90), "the preferred router's return", || {
        let metric = |router| default_by(&site, router).map(|route| route.metric);
        (metric(ROUTER1)? < metric(ROUTER2)?).then_some(())
    });
}
