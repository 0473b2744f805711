//! What the parent gets rid of first: whatever its caller left in the process.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::sys::stat::{Mode, umask};
use thiserror::Error;

use crate::failure::{At, Failure};
use crate::prctl;

/// What is kept of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// `NOTIFY_SOCKET`: where systemd wants to hear of readiness (sd_notify(3)).
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`: it ends us if it hears nothing for so long (sd_watchdog_enabled(3)).
    pub watchdog: Option<Duration>,
    /// `WATCHDOG_PID`: the process that it means.
    pub watchdog_pid: Option<u32>,
    /// `JOURNAL_STREAM`: standard error is the journal (systemd.exec(5)).
    pub journal_stream: Option<OsString>,
}

/// Why a process cannot be washed. It must end.
#[derive(Debug, Error)]
pub enum WashError {
    /// Started as set-uid, set-gid or with file capabilities: the caller is less than we are.
    #[error("set-id programs are not supported")]
    SetId,
    /// A system call failed.
    #[error(transparent)]
    Step(#[from] Failure),
    /// A standard descriptor was closed, and could not be opened.
    #[error("/dev/null: {0}")]
    Null(#[from] std::io::Error),
}

/// Washes the process. Comes first in `main`, while there is one thread: standard descriptors are
/// open, no other is; the environment is empty; umask 027; no huge pages; no signal is blocked or
/// ignored, but SIGPIPE.
pub fn wash() -> Result<Kept, WashError> {
    refuse_set_id()?;
    prctl::refuse_huge_pages();
    open_standard_descriptors()?;
    close_from(3).at("close_range")?;
    let kept = Kept {
        notify_socket: env::var_os("NOTIFY_SOCKET"),
        watchdog: number("WATCHDOG_USEC").map(Duration::from_micros),
        watchdog_pid: number("WATCHDOG_PID"),
        journal_stream: env::var_os("JOURNAL_STREAM"),
    };
    clear_environment().at("clearenv")?;
    umask(Mode::S_IWGRP | Mode::S_IRWXO);
    reset_signals()?;
    set_action(Signal::SIGPIPE, SigHandler::SigIgn).at("sigaction")?;
    Ok(kept)
}

/// A number of the environment; none if it is not one.
fn number<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

fn refuse_set_id() -> Result<(), WashError> {
    // SAFETY: getauxval only looks a number up in a table that the kernel left.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    if secure == 0 { Ok(()) } else { Err(WashError::SetId) }
}

/// The lowest free number is taken by each open, so the loop ends above 2.
fn open_standard_descriptors() -> Result<(), WashError> {
    loop {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let number = null.into_raw_fd();
        // Rust opens close-on-exec; the standard ones are for programs too.
        // SAFETY: F_SETFD takes a number, and touches nothing but the descriptor made above.
        Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).at("fcntl")?;
    }
}

/// Closes every descriptor from `first` on. Who owns one of them must not use it again.
pub(crate) fn close_from(first: libc::c_uint) -> nix::Result<()> {
    // SAFETY: numbers only. Called before any descriptor above is owned, in this process or this
    // program, so no owner is left behind.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    Errno::result(answer).map(drop)
}

fn clear_environment() -> nix::Result<()> {
    // SAFETY: there is one thread, and nothing holds a pointer into the environment.
    Errno::result(unsafe { libc::clearenv() }).map(drop)
}

/// No signal is blocked, none is ignored. Handlers that are there stay: they are our own runtime's.
/// Does not allocate.
pub(crate) fn reset_signals() -> Result<(), Failure> {
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        let old = set_action(signal, SigHandler::SigDfl).at("sigaction")?;
        if matches!(old.handler(), SigHandler::Handler(_) | SigHandler::SigAction(_)) {
            // SAFETY: this puts back the handler that was in force a moment ago.
            unsafe { sigaction(signal, &old) }.at("sigaction")?;
        }
    }
    set_mask(&SigSet::empty()).at("sigprocmask").map(drop)
}

/// Sets which signals are blocked; result: which were. Not pthread_sigmask(3), whose errors nix
/// takes for success.
pub(crate) fn set_mask(blocked: &SigSet) -> nix::Result<SigSet> {
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(blocked), Some(&mut old)).map(|()| old)
}

/// Sets a signal to its default or to be ignored; result: what it was.
pub(crate) fn set_action(signal: Signal, handler: SigHandler) -> nix::Result<SigAction> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: every caller passes SigDfl or SigIgn, so no code of ours runs in signal context.
    unsafe { sigaction(signal, &action) }
}
