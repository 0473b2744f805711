//! Nothing to do.

use std::thread::sleep;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::process::switches;
use isatapd_tests::wait::secs;

/// By address, as the site's name is looked up each half minute.
#[test]
fn nobody_wakes_up_for_nothing() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &["10.0.0.101"]);
    let processes = [daemon.parent(), daemon.child()];
    // The kernel still announces the addresses of a new interface (RFC 3810).
    sleep(secs(20));
    let before = processes.map(switches);
    sleep(crate::QUIET * 12);
    assert_eq!(processes.map(switches), before);
    site.reaches_inet();
}
