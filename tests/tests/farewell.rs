//! The end of a router: its child is given time to tell the hosts, but not more than that. Each
//! daemon is in an empty network namespace; its child is stopped, so that it tells nobody.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use isatapd_tests::netns::in_new;
use isatapd_tests::process::{Guard, children, status};
use isatapd_tests::site::isatapd;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a router's child may take.
const FAREWELL: Duration = Duration::from_millis(200);
/// A router that uses no name.
const ROUTER: [&str; 5] = ["--locator", "10.0.0.1", "--advertise", "2001:db8::/64", "10.0.0.1"];

/// A daemon, and its child, which is confined and then stopped.
struct Daemon(Guard, Pid);

impl Daemon {
    fn start(arguments: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let mut command = Command::new(isatapd());
        command.arg("-v").args(arguments).stderr(log.reopen().expect("the file"));
        let daemon = Guard(command.spawn().expect("isatapd"));
        // Before, its end is the end of the daemon.
        wait_for(secs(60), "a confined child", || {
            fs::read_to_string(&log).expect("the file").contains(": confined").then_some(())
        });
        let child = children(daemon.pid())[0];
        kill(child, Signal::SIGSTOP).expect("kill");
        Self(daemon, child)
    }

    fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Sends a signal, and waits until it has been read.
    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("kill");
        wait_for(secs(10), "the signal to be read", || {
            (status(self.pid(), "ShdPnd") == "0000000000000000").then_some(())
        });
    }

    /// Waits for its end, which must be a good one.
    fn end(&mut self) {
        assert!(self.0.0.wait().expect("wait").success());
    }
}

/// The least time to the end of a few, so that a busy machine does no harm.
fn least(act: impl Fn() -> Duration + Sync) -> Duration {
    in_new(|| (0..5).map(|_| act()).min().expect("some"))
}

/// Panics unless one of many ends before a farewell is over.
fn at_once(act: impl Fn() -> Duration + Sync) {
    let mut times = Vec::new();
    in_new(|| {
        while times.len() < 20 && times.iter().all(|time| *time >= FAREWELL) {
            times.push(act());
        }
    });
    assert!(times.iter().any(|time| *time < FAREWELL), "{times:?}");
}

fn time_of_end(arguments: &[&str]) -> Duration {
    let mut daemon = Daemon::start(arguments);
    let begin = Instant::now();
    kill(daemon.pid(), Signal::SIGTERM).expect("kill");
    daemon.end();
    begin.elapsed()
}

#[test]
fn a_router_waits_for_its_child_and_not_for_long() {
    let waited = least(|| time_of_end(&ROUTER));
    assert!(waited >= FAREWELL && waited < secs(5), "{waited:?}");
}

#[test]
fn a_host_ends_at_once() {
    at_once(|| time_of_end(&["--backend", "tun", "10.0.0.1"]));
}

#[test]
fn a_second_signal_ends_a_router_at_once() {
    at_once(|| {
        let mut daemon = Daemon::start(&ROUTER);
        let begin = Instant::now();
        daemon.signal(Signal::SIGTERM);
        kill(daemon.pid(), Signal::SIGINT).expect("kill");
        daemon.end();
        begin.elapsed()
    });
}

#[test]
fn a_router_without_its_child_ends_at_once() {
    at_once(|| {
        let mut daemon = Daemon::start(&ROUTER);
        let begin = Instant::now();
        daemon.signal(Signal::SIGTERM);
        // If we are late, the farewell is over and it has gone.
        let _ = kill(daemon.1, Signal::SIGKILL);
        daemon.end();
        begin.elapsed()
    });
}
