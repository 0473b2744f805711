//! What operators say by signals and by files. However often they say it, it is done so often only.

use std::io;
use std::time::Instant;

use isatapd_proto::{Command, Event};
use log::{info, warn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::Fatal;
use crate::run::Daemon;

/// The signals that the parent reads; they are blocked otherwise.
pub fn signals() -> io::Result<SignalFd> {
    let set: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGCHLD]
            .into_iter()
            .collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

impl Daemon<'_> {
    /// True if one of them says to end.
    pub(crate) fn take_signals(&mut self) -> Result<bool, Fatal> {
        // Each is pending once at most, so that a storm of them cannot hold us here.
        for _ in 0..Signal::iterator().count() {
            let Ok(Some(signal)) = self.with.signals.read_signal() else { break };
            match i32::try_from(signal.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT) => return Ok(true),
                Some(Signal::SIGHUP) => self.reload.wish(),
                Some(Signal::SIGUSR1) => self.dump.wish(),
                _ => {}
            }
        }
        self.reap()?;
        Ok(false)
    }

    pub(crate) fn follow_files(&mut self) {
        match self.with.files.changed() {
            Ok(false) => {}
            Ok(true) => self.resolver.wish(),
            Err(error) => {
                warn!("resolv.conf and hosts are no longer followed: {error}");
                self.resolver.wish();
            }
        }
    }

    /// Does what was wished, as often as may be.
    pub(crate) fn grant(&mut self, now: Instant) {
        if self.resolver.take(now) {
            self.tell_resolver();
        }
        if self.reload.take(now) {
            info!("SIGHUP: names are looked up and routers solicited again");
            self.look_soon(now);
            self.tell(&Event::Command(Command::Reload), Vec::new());
        }
        if self.dump.take(now) {
            self.tell(&Event::Command(Command::Dump), Vec::new());
        }
    }
}
