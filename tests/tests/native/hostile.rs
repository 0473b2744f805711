//! A child that an attacker has taken over (`src/bin/hostile-child.rs`) behind the real parent, on the
//! TUN backend; `guest/hostile.rs` has more time for each.

use std::thread::sleep;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::hostile::{
    ENDS, STORMS, Storm, VIOLATIONS, check, check_tunnel, order, outside, surround,
};
use isatapd_tests::process::{await_gone, is_alive, resident};
use isatapd_tests::site::Site;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::check_gone;

fn site() -> Site {
    let site = Site::ours(&[]);
    surround(&site);
    site
}

#[test]
fn what_is_no_message_ends_the_child_and_nothing_else() {
    let site = site();
    let before = outside(&site);
    for attack in VIOLATIONS.iter().chain(&ENDS) {
        order(&site, "nothing");
        let mut daemon = Daemon::hostile(&site, &[]);
        let child = daemon.child();
        order(&site, attack);
        wait_for(secs(30), attack, || (!is_alive(child)).then_some(()));
        check(&site, &before);
        let (status, _) = daemon.stop(Signal::SIGTERM);
        assert_eq!(status.code(), Some(0), "{attack}");
        // One line for the violation.
        let log = daemon.log();
        let killed = format!("(pid {child})");
        let killed = log.lines().filter(|l| l.contains(&killed) && l.ends_with("it is killed"));
        let quiet = ENDS.contains(attack) || *attack == "empty";
        assert_eq!(killed.count(), usize::from(!quiet), "{attack}");
        assert!(!log.contains("FAULT") && !log.contains("2001:db8:dead::"), "{attack}");
        check_gone(&site, "is0");
    }
}

#[test]
fn decent_messages_do_not_add_up() {
    let site = site();
    let before = outside(&site);
    for attack in ["wishes", "lists", "move"] {
        order(&site, "nothing");
        let mut daemon = Daemon::hostile(&site, &[]);
        let child = daemon.child();
        let resident_before = resident(daemon.parent());
        order(&site, attack);
        let over = format!("attack over: {attack}");
        wait_for(secs(120), &over, || daemon.log().contains(&over).then_some(()));
        check(&site, &before);
        assert!(!daemon.log().contains("FAULT"), "{attack}");
        let grown = resident(daemon.parent()).saturating_sub(resident_before);
        assert!(grown < 1024, "{attack}: the parent has grown by {grown} kB");
        daemon.signal(Signal::SIGKILL);
        daemon.wait(secs(30)).expect("its end");
        await_gone(child);
    }
    let mut daemon = Daemon::working(&site, &[]);
    check_tunnel(&site);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn the_parent_answers_signals_at_any_time() {
    let site = site();
    let before = outside(&site);
    for attack in STORMS {
        order(&site, "nothing");
        let mut daemon = Daemon::hostile(&site, &[]);
        let storm = Storm::begin(&mut daemon);
        order(&site, attack);
        sleep(secs(3));
        assert_eq!(daemon.child(), storm.child, "{attack}: it still runs");
        storm.end(&mut daemon, attack);
        check_gone(&site, "is0");
        assert_eq!(outside(&site), before, "{attack}");
    }
}
