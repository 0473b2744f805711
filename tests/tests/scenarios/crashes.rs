//! Processes that die.

use std::process::Command;
use std::time::Instant;

use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, CHILD_ENDED, status};
use isatapd_tests::netns::within;
use isatapd_tests::process::{children, is_alive};
use isatapd_tests::site::ROUTER1;
use isatapd_tests::wait::{secs, stays, wait_for};
use isatapd_tests::{ctl, ip};
use nix::sys::signal::{Signal, kill};

use crate::common::{GLOBAL1, address, check_gone, default_by};

#[test]
fn a_killed_parent_leaves_no_child_and_the_next_start_works() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let child = daemon.child();
    daemon.stop(Signal::SIGKILL);
    wait_for(secs(1), "the child's end", || (!is_alive(child)).then_some(()));
    // A TUN interface is there as long as who made it.
    let stays = ip::link(&site.namespace("host"), "is0").is_some();
    assert_eq!(stays, site.has_sit(), "whether the tunnel is left");

    let mut next = Daemon::working(&site, &[]);
    assert_eq!(next.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

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

/// Who asks how things stand hears at once that there is nobody to tell, and when there will be.
#[test]
fn while_a_child_that_keeps_dying_is_waited_for_it_is_said() {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    for wait in [0, 1, 2, 4] {
        let child = daemon.child();
        kill(child, Signal::SIGKILL).expect("kill");
        wait_for(secs(1), "its end", || (!is_alive(child)).then_some(()));
        if wait == 4 {
            break;
        }
        wait_for(secs(wait + 10), "another child", || ctl::show(&host, "is0"));
    }
    let mut command = Command::new(ctl::isatapctl());
    command.args(["-n", "is0"]);
    let asked = Instant::now();
    let output = within(&host, || command.output()).expect("isatapctl");
    assert!(asked.elapsed() < secs(1), "took {:?}", asked.elapsed());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("isatapd-child keeps ending; another is started in"), "{said}");
    assert_eq!(output.status.code(), Some(status::TEMPORARY), "{said}");
    let log = daemon.log();
    let ends: Vec<_> = log.lines().filter(|line| line.contains("another is started")).collect();
    let told = ["is started, ", "in 1 s, ", "in 2 s, ", "in 4 s, "];
    assert_eq!(ends.len(), told.len(), "{log}");
    assert!(ends.iter().zip(told).all(|(line, told)| line.contains(told)), "{log}");
    site.reaches_inet();
    wait_for(secs(10), "another child", || ctl::show(&host, "is0"));
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
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
