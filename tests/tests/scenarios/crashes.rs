//! Processes that die.

use std::process::Command;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, CHILD_ENDED, status};
use isatapd_tests::netns::within;
use isatapd_tests::process::{await_gone, children, is_alive};
use isatapd_tests::site::ROUTER1;
use isatapd_tests::wait::{secs, stays, wait_for};
use isatapd_tests::{ctl, ip};
use nix::sys::signal::{Signal, kill};

use crate::common::{GLOBAL1, address, default_by};
use crate::scenarios::restarts::{index, pinger};

/// From the end of a child to the first solicitation of the next: less than any wait of the parent's.
const SOLICITS: Duration = Duration::from_millis(500);

/// The time from this end of a child to the first solicitation of the next.
fn replaced(signal: Signal) -> Duration {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (child, number, parent) = (daemon.child(), index(&site), daemon.parent());
    let watch = ip::Watch::start(&site.namespace("host"), "is0");
    let pinger = pinger(&site);
    let before = site.solicitations("router1");
    kill(child, signal).expect("kill");
    let event = Instant::now();
    wait_for(secs(30), "a solicitation by another child", || {
        (site.solicitations("router1") > before).then_some(())
    });
    let took = event.elapsed();
    assert!(children(parent).iter().any(|other| *other != child));
    stays(secs(1), "alive", || daemon.is_alive());
    let count = pinger.count();
    assert!(count.lost == 0 && count.due > 10, "{signal}: {count:?}");
    assert_eq!((watch.removed(), index(&site)), (Vec::new(), number), "{signal}");
    assert!(daemon.log().to_lowercase().contains(CHILD_ENDED), "{}", daemon.log());
    took
}

/// The best of ten: on a busy machine a look may be late.
#[test]
fn a_killed_child_is_replaced_and_nothing_else_changes() {
    for signal in [Signal::SIGKILL, Signal::SIGSEGV] {
        let quick = (0..10).any(|_| replaced(signal) < SOLICITS);
        assert!(quick, "{signal}: never in {SOLICITS:?}");
    }
}

#[test]
fn a_child_that_keeps_dying_is_not_replaced_at_once() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    let (parent, number, begin) = (daemon.parent(), index(&site), Instant::now());
    let mut last = None;
    for _ in 0..5 {
        let child = wait_for(secs(30), "a child", || {
            children(parent).into_iter().find(|child| Some(*child) != last && is_alive(*child))
        });
        // Whether it is confined or not: that counts only for the first of all.
        kill(child, Signal::SIGKILL).expect("kill");
        last = Some(child);
    }
    // At once, then after 1, 2 and 4 s.
    let took = begin.elapsed();
    assert!(took >= secs(7), "{took:?}");
    assert!(daemon.is_alive() && index(&site) == number);
    assert!(address(&site, GLOBAL1).is_some() && default_by(&site, ROUTER1).is_some());
}

#[test]
fn a_stopped_parent_makes_up_for_nothing() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    let number = index(&site);
    daemon.signal(Signal::SIGSTOP);
    stays(crate::QUIET, "the child", || !children(daemon.parent()).is_empty());
    let before = site.solicitations("router1");
    daemon.signal(Signal::SIGCONT);
    stays(secs(3), "alive", || daemon.is_alive());
    let burst = site.solicitations("router1") - before;
    assert!(burst <= 3, "{burst} solicitations at once");
    site.reaches_inet();
    assert_eq!(index(&site), number);
}

/// Who asks how things stand hears at once that there is nobody to tell, and when there will be.
#[test]
fn while_a_child_that_keeps_dying_is_waited_for_it_is_said() {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    for wait in [0, 1, 2, 4, 8] {
        let child = daemon.child();
        kill(child, Signal::SIGKILL).expect("kill");
        await_gone(child);
        if wait == 8 {
            break;
        }
        wait_for(secs(wait + 30), "another child", || ctl::show(&host, "is0"));
    }
    let mut command = Command::new(ctl::isatapctl());
    command.args(["-n", "is0"]);
    let asked = Instant::now();
    let output = within(&host, || command.output()).expect("isatapctl");
    assert!(asked.elapsed() < secs(8), "took {:?}", asked.elapsed());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("isatapd-child keeps ending; another is started in"), "{said}");
    assert_eq!(output.status.code(), Some(status::TEMPORARY), "{said}");
    let log = daemon.log();
    let ends: Vec<_> = log.lines().filter(|line| line.contains("another is started")).collect();
    let told = ["is started, ", "in 1 s, ", "in 2 s, ", "in 4 s, ", "in 8 s, "];
    assert_eq!(ends.len(), told.len(), "{log}");
    assert!(ends.iter().zip(told).all(|(line, told)| line.contains(told)), "{log}");
    site.reaches_inet();
    wait_for(secs(30), "another child", || ctl::show(&host, "is0"));
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
