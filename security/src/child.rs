//! What the child does first: prove what [`spawn`](crate::spawn) took away, take the rest, and, when
//! all is open and made that it needs, its second thread too, shut the door: `Confined -> Complete ->
//! filtered`.

use std::panic::{self, PanicHookInfo};
use std::sync::mpsc;
use std::{process, thread};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::stat::stat;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setfsuid, setresuid};

pub use crate::seccomp::child::RULES;
pub use crate::seccomp::datapath::RULES as DATA_PATH_RULES;

use crate::caps::Sets;
use crate::failure::{At, ConfineError, Failure};
use crate::protocol_41::{self, FRAGMENTING_FD};
use crate::seccomp;
use crate::{Status, landlock, limits, prctl, wash};

/// Octets of the data-path thread's stack.
const STACK: usize = 256 << 10;
/// The exit code after a panic: EX_SOFTWARE of sysexits.h.
const EX_SOFTWARE: i32 = 70;
/// The exit code when the system said no, of sysexits.h.
const EX_OSERR: i32 = 71;

/// A process that can reach nothing but its descriptors. Its second thread and the filter are still
/// to come.
#[derive(Debug)]
#[must_use = "without its filter the child may still ask the kernel for anything"]
pub struct Confined {
    status: Status,
}

/// A process whose threads are all there. The filter of this one is still to come.
#[derive(Debug)]
#[must_use = "without its filter the child may still ask the kernel for anything"]
pub struct Complete {
    status: Status,
}

/// Proves that nothing of root is left, then gives up the rest: limits, memory that can be made
/// executable, all paths and ports. `descriptors`: how many may be open at once. Comes first in
/// `main`; only the descriptors up to [`FRAGMENTING_FD`] stay open.
pub fn confine(descriptors: u64) -> Result<Confined, ConfineError> {
    wash::close_from(FRAGMENTING_FD.unsigned_abs() + 1).at("close_range")?;
    prove_fixed_descriptors()?;
    prove_identity()?;
    prove_no_capabilities()?;
    prove_single_thread()?;
    prove_empty_root()?;
    prctl::set_undumpable().at("prctl(PR_SET_DUMPABLE)")?;
    prctl::set_no_new_privs().at("prctl(PR_SET_NO_NEW_PRIVS)")?;
    prctl::refuse_exec_gain().at("prctl(PR_SET_MDWE)")?;
    tell_the_truth_about_crashes()?;
    one_heap()?;
    limits::apply(descriptors)?;
    let version = landlock::deny_all()?;
    Ok(Confined { status: Status::read(version, seccomp::calls(RULES))? })
}

impl Confined {
    /// Makes the data-path thread, which puts [`DATA_PATH_RULES`] in force for itself, and then does
    /// `work`. When that ends, so does the process, with exit code 71 (EX_OSERR). Result: the filter
    /// is in force, and no more threads can be made.
    pub fn start_data_path(
        self,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<Complete, ConfineError> {
        let filter = seccomp::filter(DATA_PATH_RULES)?;
        let (tell, told) = mpsc::sync_channel(1);
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let applied = seccomp::apply(&filter);
            let confined = applied.is_ok();
            if tell.send(applied).is_ok() && confined {
                work();
                process::exit(EX_OSERR);
            }
        })?;
        told.recv().unwrap_or(Err(ConfineError::Proof("the thread's silence")))?;
        limits::no_more_threads()?;
        Ok(Complete { status: self.status })
    }
}

impl Complete {
    /// What is in force, with the filter that comes next.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Puts [`RULES`] in force. From here on descriptors come from the parent only.
    pub fn filter(self) -> Result<Status, ConfineError> {
        seccomp::apply(&seccomp::filter(RULES)?)?;
        Ok(self.status)
    }
}

/// Has all threads share one heap: glibc would want 128 MiB of address space for another.
#[cfg(target_env = "gnu")]
fn one_heap() -> Result<(), ConfineError> {
    // SAFETY: sets a number, before there is another thread.
    prove(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) } == 1, "other heaps")
}

/// Other C libraries have one.
#[cfg(not(target_env = "gnu"))]
const fn one_heap() -> Result<(), ConfineError> {
    Ok(())
}

fn prove(holds: bool, what: &'static str) -> Result<(), ConfineError> {
    if holds { Ok(()) } else { Err(ConfineError::Proof(what)) }
}

/// Else a descriptor that comes later would take a number with more rights than it may have.
fn prove_fixed_descriptors() -> Result<(), Failure> {
    for descriptor in protocol_41::inherited() {
        fcntl(descriptor, FcntlArg::F_GETFD).at("fcntl(F_GETFD)")?;
    }
    Ok(())
}

fn prove_identity() -> Result<(), ConfineError> {
    let (user, group) = (getresuid().at("getresuid")?, getresgid().at("getresgid")?);
    let (uid, gid) = (user.effective, group.effective);
    // An id that cannot be: the call changes nothing and tells what is.
    let filesystem = setfsuid(Uid::from_raw(u32::MAX));
    prove([user.real, user.saved, filesystem] == [uid; 3], "another uid")?;
    prove([group.real, group.saved] == [gid; 2], "another gid")?;
    prove(!uid.is_root() && gid != Gid::from_raw(0), "root")?;
    prove(getgroups().at("getgroups")?.is_empty(), "supplementary groups")?;
    let root = Uid::from_raw(0);
    prove(setresuid(root, root, root) == Err(Errno::EPERM), "the way back to root")
}

fn prove_no_capabilities() -> Result<(), ConfineError> {
    prove(Sets::read()? == Sets::default(), "capabilities")
}

/// unshare(2) takes CLONE_THREAD, and does nothing, in a process of one thread only.
fn prove_single_thread() -> Result<(), ConfineError> {
    prove(unshare(CloneFlags::CLONE_THREAD).is_ok(), "other threads")
}

/// To the child the file system is one folder that has no name any more, and so holds nothing.
fn prove_empty_root() -> Result<(), ConfineError> {
    let root = stat(c"/").at("stat")?;
    prove(root.st_nlink == 0, "the file system")
}

/// The runtime's handlers for bad memory accesses would make calls that the filter kills, and the
/// parent would see a broken sandbox instead of a crash.
fn tell_the_truth_about_crashes() -> Result<(), Failure> {
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        wash::set_action(signal, SigHandler::SigDfl).at("sigaction")?;
    }
    Ok(())
}

/// A panic becomes one line for `report`, and exit code 70 (EX_SOFTWARE). No backtrace, no abort:
/// the filter would kill both before a word is out.
pub fn exit_on_panic(report: impl Fn(&str) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |panic| {
        report(&describe(panic));
        process::exit(EX_SOFTWARE);
    }));
}

/// "panic at file:line:column: message", without a second line.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    let first = message.lines().next().unwrap_or_default();
    match panic.location() {
        Some(place) => format!("panic at {place}: {first}"),
        None => format!("panic: {first}"),
    }
}
