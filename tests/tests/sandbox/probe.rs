//! A child that does as it is told.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use isatapd_security::identity::Identity;
use isatapd_security::spawn::{EmptyRoot, Plan, Program, spawn};
use isatapd_security::{Channel, ReceiveError};
use isatapd_tests::process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, Uid};

/// How long a probe may think, in milliseconds.
const PATIENCE: u16 = 20_000;

pub const PARENT: &str = env!("CARGO_BIN_EXE_probe-parent");

/// The child's stand-in, built as the child is: static.
pub fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        assert!(Uid::effective().is_root(), "the sandbox tests need root: run them as root");
        let folder = Path::new(PARENT).parent().expect("a folder");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["rustc", "--offline", "-p", "isatapd-tests", "--bin", "probe-child"]);
        cargo.arg("--target-dir").arg(folder.parent().expect("a target folder"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.args(["--", "-C", "target-feature=+crt-static"]);
        let output = cargo.output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe-child");
        let _ = std::fs::remove_file(&copy);
        process::copy([folder.join("probe-child")], &copy);
        copy
    })
}

pub fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| Plan {
        program: Program::open(program()).expect("the probe"),
        root: EmptyRoot::new().expect("a root"),
        identity: Identity::lookup("nobody").expect("nobody"),
        protocol_41: None,
    })
}

/// What became of an order.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Said(String),
    Ended(WaitStatus),
}

impl Outcome {
    /// Whether the filter killed the probe.
    pub fn killed(&self) -> bool {
        self.killed_by(Signal::SIGSYS)
    }

    pub fn killed_by(&self, signal: Signal) -> bool {
        matches!(self, Self::Ended(WaitStatus::Signaled(_, by, _)) if *by == signal)
    }
}

pub struct Probe {
    pub pid: Pid,
    channel: Channel,
    ended: bool,
}

impl Probe {
    /// Starts one, up to `proven` or `filtered`.
    pub fn start(stage: &str) -> Self {
        Self::start_by(plan(), stage)
    }

    pub fn start_by(plan: &Plan, stage: &str) -> Self {
        let (channel, theirs) = Channel::pair().expect("a channel");
        let pid = spawn(plan, theirs).expect("a child");
        let mut probe = Self { pid, channel, ended: false };
        let Outcome::Said(ready) = probe.order(stage) else { panic!("the probe ended") };
        assert!(ready.starts_with("ready: "), "{ready}");
        probe
    }

    pub fn filtered() -> Self {
        Self::start("filtered")
    }

    pub fn order(&mut self, order: &str) -> Outcome {
        self.pass(order, &[])
    }

    /// Gives an order with descriptors, and waits for what comes of it.
    pub fn pass(&mut self, order: &str, fds: &[BorrowedFd<'_>]) -> Outcome {
        self.channel.send(order.as_bytes(), fds).expect("the probe is alive");
        let mut wait = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wait, PollTimeout::from(PATIENCE)), Ok(1), "no answer to {order}");
        let mut buffer = [0; 512];
        match self.channel.receive(&mut buffer, 0) {
            Ok(received) => {
                Outcome::Said(String::from_utf8_lossy(&buffer[..received.len]).into_owned())
            }
            Err(ReceiveError::Closed | ReceiveError::Io(_)) => self.end(),
            Err(error) => panic!("{error}"),
        }
    }

    /// What it ends with; it is told nothing more.
    pub fn end(&mut self) -> Outcome {
        self.ended = true;
        Outcome::Ended(waitpid(self.pid, None).expect("our child"))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.channel.send(b"exit", &[]);
            let _ = waitpid(self.pid, None);
        }
    }
}
