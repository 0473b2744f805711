//! The prctl(2) options that nix lacks. All take plain numbers.

use libc::{c_int, c_ulong};
use nix::errno::Errno;

fn prctl(option: c_int, second: c_ulong, third: c_ulong) -> nix::Result<c_int> {
    // SAFETY: no caller in this file uses an option that takes a pointer, so no memory is touched.
    Errno::result(unsafe { libc::prctl(option, second, third, 0, 0) })
}

/// Whether a capability is in the bounding set. Error: EINVAL beyond the last the kernel knows.
pub(crate) fn bounding_has(capability: u8) -> nix::Result<bool> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0).map(|answer| answer == 1)
}

pub(crate) fn bounding_drop(capability: u8) -> nix::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

pub(crate) fn ambient_has(capability: u8) -> nix::Result<bool> {
    let which = c_ulong::from(libc::PR_CAP_AMBIENT_IS_SET.unsigned_abs());
    prctl(libc::PR_CAP_AMBIENT, which, capability.into()).map(|answer| answer == 1)
}

pub(crate) fn ambient_clear() -> nix::Result<()> {
    let all = c_ulong::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs());
    prctl(libc::PR_CAP_AMBIENT, all, 0).map(drop)
}

/// Uid 0 gives no capabilities at exec, a change of uid moves none, and this cannot be changed.
pub(crate) fn lock_securebits() -> nix::Result<()> {
    let bits = libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED
        | libc::SECBIT_NO_SETUID_FIXUP
        | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
        | libc::SECBIT_KEEP_CAPS_LOCKED
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    prctl(libc::PR_SET_SECUREBITS, c_ulong::from(bits.unsigned_abs()), 0).map(drop)
}

pub(crate) fn set_no_new_privs() -> nix::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

pub(crate) fn no_new_privs() -> nix::Result<bool> {
    prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0).map(|answer| answer == 1)
}

/// Nobody but root may read, trace or dump this process. Comes back at exec.
pub(crate) fn set_undumpable() -> nix::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

pub(crate) fn dumpable() -> nix::Result<bool> {
    prctl(libc::PR_GET_DUMPABLE, 0, 0).map(|answer| answer != 0)
}

/// Killed when the thread that made this process ends; lost at a change of uid.
pub(crate) fn set_parent_death_kill() -> nix::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGKILL.unsigned_abs()), 0).map(drop)
}

/// No huge pages, here and in all that is started from here: they would double our memory for nothing. A
/// kernel without them has nothing to refuse.
pub(crate) fn refuse_huge_pages() {
    let _ = prctl(libc::PR_SET_THP_DISABLE, 1, 0);
}

/// No memory becomes executable any more: PR_MDWE_REFUSE_EXEC_GAIN, since Linux 6.3. Seccomp says
/// the same for every kernel, so an older one is no error.
pub(crate) fn refuse_exec_gain() -> nix::Result<()> {
    match prctl(libc::PR_SET_MDWE, 1, 0) {
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}
