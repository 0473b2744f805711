//! A child that an attacker has taken over (`src/bin/hostile-child.rs`) behind the real parent: all
//! that comes of it is what SECURITY.md promises.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::hostile::{
    ENDS, STORMS, Storm, VIOLATIONS, check, check_tunnel, order, outside, surround,
};
use isatapd_tests::process::{await_gone, children, resident};
use isatapd_tests::site::{Site, isatapd};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::common::check_gone;

/// After so long a life a child is replaced at once.
const LIVED: Duration = secs(61);

/// The parent's child is the hostile one until this is dropped.
struct Replaced {
    path: PathBuf,
    good: Vec<u8>,
}

impl Replaced {
    fn new() -> Self {
        let folder = std::env::var_os("ISATAPD_LIBEXECDIR").expect("ISATAPD_LIBEXECDIR");
        let path = Path::new(&folder).join("isatapd-child");
        let good = fs::read(&path).expect("the child");
        let hostile = isatapd().with_file_name("hostile-child");
        put(&path, &fs::read(&hostile).unwrap_or_else(|e| panic!("{}: {e}", hostile.display())));
        Self { path, good }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        put(&self.path, &self.good);
    }
}

/// Another file in the place of the old one, which may run.
fn put(path: &Path, program: &[u8]) {
    let other = path.with_extension("other");
    fs::write(&other, program).expect("a program");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(&other, path).expect("rename");
}

/// With `auto` a child could bring the other backend about.
const KERNEL: [&str; 2] = ["--backend", "kernel"];

fn site() -> Site {
    let site = Site::up(&[]);
    surround(&site);
    site
}

/// Waits for another child than this one, that has come to where it takes orders.
fn await_another(parent: Pid, child: Pid) {
    wait_for(secs(400), "another child", || children(parent).into_iter().find(|c| *c != child));
    sleep(LIVED);
}

#[test]
fn what_is_no_message_ends_the_child_and_nothing_else() {
    let site = site();
    let _replaced = Replaced::new();
    let mut daemon = Daemon::working(&site, &KERNEL);
    let before = outside(&site);
    sleep(LIVED);
    let parent = daemon.parent();
    let resident_before = resident(parent);
    for (n, attack) in VIOLATIONS.iter().chain(&ENDS).enumerate() {
        let child = daemon.child();
        order(&site, attack);
        await_another(parent, child);
        let log = daemon.log();
        let last =
            log.lines().filter(|l| l.contains(&format!("(pid {child})"))).collect::<Vec<_>>();
        eprintln!("{n} {attack}: {last:?}");
        // One line for the violation, one for the end.
        let killed = last.iter().filter(|l| l.ends_with("it is killed")).count();
        let quiet = ["close", "exit", "crash", "empty"].contains(attack);
        assert_eq!(killed, usize::from(!quiet), "{attack}: {last:?}");
    }
    assert!(!daemon.log().contains("FAULT"));
    check(&site, &before);
    assert_eq!(daemon.log().matches("2001:db8:dead::").count(), 0);
    let grown = resident(parent).saturating_sub(resident_before);
    assert!(grown < 1024, "the parent has grown by {grown} kB");

    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn decent_messages_do_not_add_up() {
    let site = site();
    let replaced = Replaced::new();
    let mut daemon = Daemon::working(&site, &KERNEL);
    let before = outside(&site);
    let resident_before = resident(daemon.parent());
    for attack in ["wishes", "lists", "move"] {
        // Time for the budget of log lines.
        sleep(LIVED);
        let child = daemon.child();
        order(&site, attack);
        let over = format!("attack over: {attack}");
        wait_for(secs(300), &over, || daemon.log().contains(&over).then_some(()));
        check(&site, &before);
        assert!(!daemon.log().contains("FAULT"), "{attack}");
        daemon.signal(Signal::SIGKILL);
        daemon.wait(secs(30)).expect("its end");
        await_gone(child);
        daemon = Daemon::working(&site, &KERNEL);
    }
    let grown = resident(daemon.parent()).saturating_sub(resident_before);
    assert!(grown < 1024, "the parent has grown by {grown} kB");
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));

    drop(replaced);
    let mut daemon = Daemon::working(&site, &KERNEL);
    check_tunnel(&site);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn the_parent_answers_signals_at_any_time() {
    let site = site();
    let _replaced = Replaced::new();
    let before = outside(&site);
    for attack in STORMS {
        let mut daemon = Daemon::working(&site, &KERNEL);
        let storm = Storm::begin(&mut daemon);
        let begin = Instant::now();
        order(&site, attack);
        sleep(secs(5));
        eprintln!("{attack}: {:?}", begin.elapsed());
        // On one slow processor it may be behind with what it is told.
        let is_behind = daemon.log().contains("does not listen");
        assert!(is_behind || daemon.child() == storm.child, "{attack}: it still runs");
        storm.end(&mut daemon, attack);
        check_gone(&site, "is0");
        assert_eq!(outside(&site), before, "{attack}");
    }
}
