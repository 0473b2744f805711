//! What the process in front of several tunnels gives up: all but to wait for their processes, to
//! signal these, and to tell how it goes. It stays uid 0, as they are, and needs no capability.

use crate::caps::{self, Set};
use crate::failure::{At, ConfineError, Failure};
use crate::{Status, landlock, prctl, seccomp};

pub use crate::landlock::Paths;
pub use crate::seccomp::leader::RULES;

/// Gives up all capabilities, all of the file system and of TCP but `paths`, and all system calls but
/// [`RULES`]. Result: what is in force.
pub fn confine(paths: &Paths) -> Result<Status, ConfineError> {
    prctl::set_no_new_privs().at("prctl(PR_SET_NO_NEW_PRIVS)")?;
    prctl::set_undumpable().at("prctl(PR_SET_DUMPABLE)")?;
    caps::close_ways_back(Set::default())?;
    caps::limit(Set::default())?;
    let version = landlock::allow(paths, None)?;
    let status = Status::read(version, seccomp::calls(RULES))?;
    seccomp::apply(&seccomp::filter(RULES)?)?;
    Ok(status)
}

/// Has the caller killed when the process that forked it ends. It may have ended already.
pub fn end_with_it() -> Result<(), Failure> {
    prctl::set_parent_death_kill().at("prctl(PR_SET_PDEATHSIG)")
}
