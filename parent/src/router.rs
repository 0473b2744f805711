//! What the parent does for a router: it has the host forward, says if it does not, and gives the
//! child time to tell the hosts of the end.

use std::fs;
use std::time::{Duration, Instant};

use isatapd_proto::{Command, Event};
use log::warn;

use crate::child::Child;
use crate::exit::{Exit, Fatal};
use crate::kernel::{FORWARDING, forwards};
use crate::run::Daemon;

/// How long a router's child may take to tell its hosts that it ends.
const FAREWELL: Duration = Duration::from_millis(200);

/// Forwarding that we switched on: it is switched off when this is dropped.
#[derive(Debug)]
pub struct Forwarding(());

impl Forwarding {
    /// Has the host forward IPv6; `None` if it does so already, which is left as it is.
    pub fn switch_on() -> Result<Option<Self>, Fatal> {
        if forwards() {
            return Ok(None);
        }
        fs::write(FORWARDING, "1")
            .map_err(|e| Fatal::new(Exit::Os, format!("--forward: {FORWARDING}: {e}")))?;
        Ok(Some(Self(())))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        if let Err(error) = fs::write(FORWARDING, "0") {
            warn!("{FORWARDING}: stays 1: {error}");
        }
    }
}

impl Daemon<'_> {
    /// Says if a router's host does not forward IPv6.
    pub(crate) fn say_forwarding(&mut self) {
        let lacks = !self.forwarding && self.options.advertise.is_some();
        if lacks && !self.said.no_forwarding {
            let name = &self.options.name;
            warn!("{name}: IPv6 forwarding is off; hosts are told that this is no default router");
        }
        self.said.no_forwarding = lacks;
    }

    /// A signal says to end. True if that is now: of a router it is when its hosts have been told, or
    /// with the second signal.
    pub(crate) fn ends_now(&mut self, now: Instant) -> bool {
        if self.options.advertise.is_none() || self.ends_by.is_some() || !self.restart.confined {
            return true;
        }
        self.tell(&Event::Command(Command::Stop), Vec::new());
        self.ends_by = now.checked_add(FAREWELL);
        self.ends_by.is_none()
    }

    /// The child has told the hosts.
    pub(crate) fn has_told_hosts(&mut self, now: Instant) {
        self.ends_by = self.ends_by.map(|_| now);
    }

    /// Whether the hosts have been told, or nobody is left to tell them.
    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        let mute = self.child.as_ref().is_none_or(Child::is_condemned);
        self.ends_by.is_some_and(|at| mute || at <= now)
    }
}
