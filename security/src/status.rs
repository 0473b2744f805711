//! What is in force, read back from the kernel. By system calls: the child has no /proc.

use std::fmt;

use ::landlock::ABI;
use nix::unistd::{Gid, Uid, getresgid, getresuid};

use crate::caps::Sets;
use crate::failure::{At, Failure};
use crate::prctl;

/// What a process is and has, for one line of the log.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Effective user.
    pub uid: Uid,
    /// Effective group.
    pub gid: Gid,
    /// All capability sets.
    pub capabilities: Sets,
    /// No exec gives more than there is.
    pub no_new_privs: bool,
    /// Whether others may trace or dump it.
    pub dumpable: bool,
    /// The version of Landlock in force.
    pub landlock: u8,
    /// How many system calls the filter allows; it comes into force right after this.
    pub system_calls: usize,
}

impl Status {
    pub(crate) fn read(landlock: ABI, system_calls: usize) -> Result<Self, Failure> {
        Ok(Self {
            uid: getresuid().at("getresuid")?.effective,
            gid: getresgid().at("getresgid")?.effective,
            capabilities: Sets::read()?,
            no_new_privs: prctl::no_new_privs().at("prctl(PR_GET_NO_NEW_PRIVS)")?,
            dumpable: prctl::dumpable().at("prctl(PR_GET_DUMPABLE)")?,
            landlock: landlock as u8,
            system_calls,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "uid {} gid {} capabilities {} of {} no-new-privs {} dumpable {} landlock {} calls {}",
            self.uid,
            self.gid,
            self.capabilities.effective,
            self.capabilities.bounding,
            self.no_new_privs,
            self.dumpable,
            self.landlock,
            self.system_calls
        )
    }
}
