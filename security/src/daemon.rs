//! Two processes out of one, for going to the background.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork as fork_raw};

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The one that was there; the other one's number.
    Original(Pid),
    /// The new one.
    Copy,
}

/// Forks. Refused with `EDEADLK` while the process has a second thread: its locks would be copied as
/// they are, without it. Needs /proc.
pub fn fork() -> io::Result<Fork> {
    if fs::read_dir("/proc/self/task")?.nth(1).is_some() {
        return Err(Errno::EDEADLK.into());
    }
    // SAFETY: there is one thread, so nothing that the copy needs is locked or half changed. No safe
    // code forks: Command executes a program at once.
    match unsafe { fork_raw() }? {
        ForkResult::Parent { child } => Ok(Fork::Original(child)),
        ForkResult::Child => Ok(Fork::Copy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test itself runs in a thread that is not the first.
        let refused = fork().map_err(|error| error.raw_os_error());
        assert_eq!(refused, Err(Some(libc::EDEADLK)));
    }
}
