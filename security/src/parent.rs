//! What the parent gives up once the child runs. It stays uid 0, for the files that are root's;
//! Landlock says which.

use crate::caps::{self, Set};
use crate::failure::{At, ConfineError};
use crate::spawn::Program;
use crate::{Status, landlock, prctl, seccomp};

pub use crate::landlock::Paths;
pub use crate::seccomp::parent::{ABSENT, RULES};

/// A capability that the parent keeps.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// capabilities(7).
    pub name: &'static str,
    /// Its number in linux/capability.h.
    pub number: u8,
    /// What it is for.
    pub reason: &'static str,
}

const fn capability(name: &'static str, number: u8, reason: &'static str) -> Capability {
    Capability { name, number, reason }
}

/// What the parent keeps: the first two for the tunnel, the others for a replacement child.
pub const CAPABILITIES: [Capability; 7] = [
    capability("CAP_KILL", 5, "to end a child that hangs, which has another uid"),
    capability("CAP_SETGID", 6, "to start a child: setgroups, setresgid"),
    capability("CAP_SETUID", 7, "to start a child: setresuid"),
    capability("CAP_SETPCAP", 8, "to start a child: empty its bounding set, lock its securebits"),
    capability("CAP_NET_ADMIN", 12, "links, addresses, routes, the PRL, per-interface settings"),
    capability(
        "CAP_NET_RAW",
        13,
        "raw sockets for the child, bound to the tunnel or to our end of it",
    ),
    capability("CAP_SYS_CHROOT", 18, "to start a child: its empty root"),
];

fn kept() -> Set {
    Set::of(&CAPABILITIES.map(|capability| capability.number))
}

/// Gives up all capabilities but [`CAPABILITIES`], all of the file system and of TCP but `paths`
/// and the execution of `program`, and all system calls but [`RULES`]. Result: what is in force.
pub fn confine(paths: &Paths, program: &Program) -> Result<Status, ConfineError> {
    prctl::set_no_new_privs().at("prctl(PR_SET_NO_NEW_PRIVS)")?;
    prctl::set_undumpable().at("prctl(PR_SET_DUMPABLE)")?;
    caps::close_ways_back(kept())?;
    caps::limit(kept())?;
    let version = landlock::allow(paths, Some(program))?;
    let status = Status::read(version, seccomp::calls(RULES))?;
    // The first takes its calls back of the second, which must allow them to let it answer.
    seccomp::apply(&seccomp::absent(ABSENT)?)?;
    seccomp::apply(&seccomp::filter(&[RULES, ABSENT].concat())?)?;
    Ok(status)
}
