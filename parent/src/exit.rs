//! How the program ends when it cannot go on.

use std::io::{self, Write};

use isatapd_security::ConfineError;
use log::LevelFilter;
use thiserror::Error;

use crate::text;

/// An exit status, as sysexits(3) has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// EX_USAGE: the command line is wrong.
    Usage = 64,
    /// EX_NOUSER: there is no such user.
    NoUser = 67,
    /// EX_UNAVAILABLE: the kernel lacks what is needed.
    Unavailable = 69,
    /// EX_OSERR: a system call failed that does not fail.
    Os = 71,
    /// EX_CANTCREAT: the pid file or the lock cannot be made.
    CannotCreate = 73,
    /// EX_TEMPFAIL: another isatapd is in the way.
    TempFail = 75,
    /// EX_NOPERM: not started by root, or without the capabilities needed.
    NoPermission = 77,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why the program ends, and with which status.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}")]
pub struct Fatal {
    /// The status.
    pub exit: Exit,
    /// The reason for people: subject, what is wrong. It may hold foreign octets: whoever writes it
    /// escapes it.
    pub line: String,
}

impl Fatal {
    /// Ends with `exit` because of `line`.
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, line: line.into() }
    }

    /// The sandbox cannot be made; for want of Landlock it never can.
    pub fn unconfined(error: &ConfineError) -> Self {
        let exit = match error {
            ConfineError::NoLandlock => Exit::Unavailable,
            _ => Exit::Os,
        };
        Self::new(exit, format!("sandbox: {error}"))
    }

    /// Writes the reason to the log; to the standard error as long as there is no log.
    pub fn complain(&self) {
        if log::max_level() != LevelFilter::Off {
            log::error!("{self}");
            return;
        }
        let line = format!("isatapd: {}\n", text::escape(&self.line, text::MAX_LINE));
        // Nobody is left to tell if this fails.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_without_landlock_is_not_tried_again() {
        for (error, exit, line) in [
            (ConfineError::NoLandlock, Exit::Unavailable, "sandbox: landlock: not in this kernel"),
            (ConfineError::Proof("root"), Exit::Os, "sandbox: not given up: root"),
        ] {
            assert_eq!(Fatal::unconfined(&error), Fatal::new(exit, line));
        }
    }
}
