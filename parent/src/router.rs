//! What the parent does for a router: it has the host forward, says if it does not, and gives the
//! child time to tell the hosts of the end.

use std::time::{Duration, Instant};

use isatapd_proto::{Command, Event};
use log::warn;

use crate::child::Child;
use crate::forwarding::Forwarding;
use crate::kernel::forwards;
use crate::run::Daemon;

/// How long a router's child may take to tell its hosts that it ends.
const FAREWELL: Duration = Duration::from_millis(200);

impl Daemon<'_> {
    /// Switches forwarding on again if it is ours to do and somebody switched it off; at most once a
    /// second.
    pub(crate) fn keep_forwarding(&mut self, now: Instant) {
        if !self.options.forward || forwards() {
            return;
        }
        if let Some(wait) = self.forward_again.wait(now) {
            self.look_by(now.checked_add(wait));
        } else {
            self.forward_again.take(now);
            match Forwarding::again() {
                Ok(()) => warn!("IPv6 forwarding was switched off; switched on again (--forward)"),
                Err(error) => warn!("--forward: IPv6 forwarding stays off: {error}"),
            }
        }
    }

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
        // Hosts are not told of an end that is followed by another start.
        let mute = self.options.advertise.is_none() || self.keep;
        if mute || self.ends_by.is_some() || !self.restart.confined {
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
