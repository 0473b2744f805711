//! Two routers.

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::site::{ROUTER1, ROUTER2};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::{
    GLOBAL1, GLOBAL2, address, await_default, check_addresses, check_default, default_by,
};

#[test]
fn both_are_used_and_the_preferred_one_first() {
    let site = crate::site(&[]);
    site.advertise("router2", &["AdvDefaultPreference high"]);
    site.dns(&[ROUTER1, ROUTER2]);
    let _daemon = Daemon::working(&site, &[]);
    let first = await_default(&site, ROUTER1, secs(30));
    let second = await_default(&site, ROUTER2, secs(30));
    check_default(&first, "medium");
    check_default(&second, "high");
    assert!(second.metric < first.metric);
    assert_eq!(site.prl("is0"), [ROUTER1, ROUTER2]);
    check_addresses(&site, "is0", &[GLOBAL1, GLOBAL2]);
    for router in ["router1", "router2"] {
        assert!(site.solicitations(router) >= 1, "{router} was not solicited");
    }
}

#[test]
fn the_other_stays_when_one_falls_silent() {
    let site = crate::site(&["--shared"]);
    // RFC 4861 section 6.2.1: AdvDefaultLifetime is at least MaxRtrAdvInterval.
    let short = ["MaxRtrAdvInterval 4", "MinRtrAdvInterval 3", "AdvDefaultLifetime 60"];
    site.advertise("router1", &[&short[..], &["AdvDefaultPreference high"]].concat());
    site.dns(&[ROUTER1, ROUTER2]);
    let _daemon = Daemon::working(&site, &[]);
    await_default(&site, ROUTER1, secs(30));
    await_default(&site, ROUTER2, secs(30));
    site.silence("router1");
    site.topology(&["via", "router2"]);
    wait_for(secs(180), "the end of the silent router's route", || {
        default_by(&site, ROUTER1).is_none().then_some(())
    });
    assert!(default_by(&site, ROUTER2).is_some());
    assert!(address(&site, GLOBAL1).is_some(), "the shared prefix is still router2's");
    site.reaches_inet();
    assert!(ip::link(&site.namespace("host"), "is0").is_some());
}
