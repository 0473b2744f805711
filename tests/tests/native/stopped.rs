//! Processes that are there and do nothing.

use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::expect::CHILD_ENDED;
use isatapd_tests::ip;
use isatapd_tests::process::{await_gone, children, is_alive};
use isatapd_tests::site::ROUTER1;
use isatapd_tests::wait::{secs, stays, wait_for};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::common::{GLOBAL1, address, default_by};

/// How long a child may leave the parent without answer.
const ANSWERS_WITHIN: Duration = secs(10);
/// So long at least it has the time.
const NOT_YET: Duration = secs(7);
/// To find that out, and to start another.
const SLACK: Duration = secs(2);
/// So long it takes at most: a parent that had no processor in time to judge begins to count anew.
const MOST: Duration = secs(40);

/// Has the child get stuck by `stop`, and the parent tell it something: another takes its place, and
/// nothing else changes.
fn replaced(stop: impl FnOnce(Pid)) {
    let site = crate::site(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    let (parent, child) = (daemon.parent(), daemon.child());
    let index = ip::link(&host, "is0").expect("is0").index;
    // A question on its way would be missed.
    daemon.await_rest();
    stop(child);
    // Nothing was said to it: nobody misses it.
    stays(secs(3), "the child", || is_alive(child));
    let told = Instant::now();
    daemon.signal(Signal::SIGHUP);
    stays(NOT_YET, "the tunnel, its address and its route, and the child", || {
        is_alive(child)
            && ip::link(&host, "is0").is_some_and(|l| l.index == index)
            && address(&site, GLOBAL1).is_some()
            && default_by(&site, ROUTER1).is_some()
    });
    let other = || children(parent).into_iter().find(|p| *p != child);
    wait_for(MOST.saturating_sub(told.elapsed()), "another child", other);
    let log = daemon.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("not answered")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(log.to_lowercase().contains(CHILD_ENDED), "{log}");
    assert!(ip::link(&host, "is0").is_some_and(|l| l.index == index));
    site.reaches_inet();
}

#[test]
fn a_stopped_child_is_replaced() {
    replaced(|child| kill(child, Signal::SIGSTOP).expect("kill"));
}

/// The thread that answers is not the one that moves packets.
#[test]
fn a_child_whose_other_thread_is_stuck_is_replaced() {
    replaced(|child| {
        let tasks = std::fs::read_dir(format!("/proc/{child}/task")).expect("threads").flatten();
        let names = tasks.map(|task| task.file_name().to_string_lossy().parse().expect("a number"));
        let other = names.map(Pid::from_raw).find(|thread| *thread != child).expect("a thread");
        // Stopped as long as this thread, which it is traced by, lives.
        ptrace::seize(other, ptrace::Options::empty()).expect("ptrace");
        ptrace::interrupt(other).expect("ptrace");
        // Its end is told to us first, and to its parent when we have heard it.
        let hear = move || waitpid(other, Some(WaitPidFlag::__WALL));
        spawn(move || while hear().is_ok_and(|s| !matches!(s, WaitStatus::Signaled(..))) {});
    });
}

/// A parent that was stopped itself has no reason to blame its child: neither if the child has answered
/// meanwhile, nor if it was stopped too.
#[test]
fn a_parent_that_was_stopped_blames_nobody() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (parent, child) = (daemon.parent(), daemon.child());
    let send = |pid, signal| kill(pid, signal).expect("kill");
    for child_first in [true, false] {
        daemon.await_rest();
        let before = site.solicitations("router1");
        send(child, Signal::SIGSTOP);
        daemon.signal(Signal::SIGHUP);
        // It has asked when it waits again.
        sleep(secs(1));
        send(parent, Signal::SIGSTOP);
        let first = if child_first { child } else { parent };
        if child_first {
            send(first, Signal::SIGCONT);
        }
        sleep(ANSWERS_WITHIN + SLACK + crate::QUIET);
        send(parent, Signal::SIGCONT);
        sleep(Duration::from_millis(300));
        send(child, Signal::SIGCONT);
        stays(ANSWERS_WITHIN + SLACK, "the child", || children(parent) == [child]);
        // One for SIGHUP, and no burst to make up for the time; some are due anyway where time is long.
        let sent = site.solicitations("router1") - before;
        assert!((1..=3).contains(&sent), "{sent} solicitations");
    }
    assert!(!daemon.log().contains("not answered"), "{}", daemon.log());
    site.reaches_inet();
}

#[test]
fn a_stopped_child_does_not_hold_up_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let site = crate::site(&[]);
        let mut daemon = Daemon::working(&site, &[]);
        let child = daemon.child();
        kill(child, Signal::SIGSTOP).expect("kill");
        for n in 0..20 {
            site.ip("host", &format!("addr add 10.77.0.{n}/32 dev lo"));
        }
        let (status, took) = daemon.stop(signal);
        assert_eq!(status.code(), Some(0), "{}", daemon.log());
        assert!(took < NOT_YET, "took {took:?}");
        await_gone(child);
    }
}
