//! Which step failed, and why.

use ::landlock::RulesetError;
use nix::errno::Errno;
use thiserror::Error;

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{step}: {}", .errno.desc())]
pub struct Failure {
    /// The call, with what tells it from other calls of its name.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Names the step of a result.
pub(crate) trait At<T> {
    fn at(self, step: &'static str) -> Result<T, Failure>;
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, errno })
    }
}

/// Why a process is not confined. It must end.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// A system call failed.
    #[error(transparent)]
    Step(#[from] Failure),
    /// Something that should be gone is still there.
    #[error("not given up: {0}")]
    Proof(&'static str),
    /// The data-path thread could not be made.
    #[error("thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Landlock refused the rules.
    #[error("landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// The kernel was built or started without Landlock (before Linux 5.13, or not in `lsm=`).
    #[error("landlock: not in this kernel")]
    NoLandlock,
    /// A path of the parent's could not be opened.
    #[error("landlock: {0}")]
    Path(#[from] ::landlock::PathFdError),
    /// The rules cannot be made into a filter, or the kernel refused it.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

impl From<seccompiler::BackendError> for ConfineError {
    fn from(error: seccompiler::BackendError) -> Self {
        Self::Seccomp(error.into())
    }
}
