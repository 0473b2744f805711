//! Processes that die.

use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, CHILD_ENDED, status};
use isatapd_tests::ip;
use isatapd_tests::process::{children, is_alive};
use isatapd_tests::site::ROUTER1;
use isatapd_tests::wait::{secs, stays, wait_for};
use nix::sys::signal::{Signal, kill};

use crate::common::{GLOBAL1, address, check_gone, default_by};

#[test]
fn a_killed_child_is_replaced_and_nothing_else_changes() {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    let child = daemon.child();
    let index = ip::link(&host, "is0").expect("is0").index;
    kill(child, Signal::SIGKILL).expect("kill");
    let parent = daemon.parent();
    let other = || children(parent).into_iter().find(|p| *p != child);
    let before = site.solicitations("router1");
    stays(secs(2), "the tunnel, its address and its route", || {
        ip::link(&host, "is0").is_some_and(|l| l.index == index)
            && address(&site, GLOBAL1).is_some()
            && default_by(&site, ROUTER1).is_some()
    });
    wait_for(secs(10), "another child", other);
    assert!(daemon.log().to_lowercase().contains(CHILD_ENDED), "{}", daemon.log());
    wait_for(secs(130), "a solicitation by the new child", || {
        (site.solicitations("router1") > before).then_some(())
    });
    site.reaches_inet();
    daemon.child();
}

#[test]
fn a_second_instance_gives_way() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (exit, log) = run(&site, &[]);
    expect::exit(exit, status::TEMPORARY, "a second instance");
    expect::one_line(&log, &["is0"]);
    assert!(daemon.is_alive());
    site.reaches_inet();
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
}
