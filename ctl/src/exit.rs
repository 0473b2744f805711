//! How the program ends.

use std::process::ExitCode;

/// An exit status; those above 1 as sysexits(3) has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Asked and answered.
    Good = 0,
    /// IPv6 does not work.
    NotWorking = 1,
    /// EX_USAGE: the command line is wrong.
    Usage = 64,
    /// EX_UNAVAILABLE: no isatapd runs.
    Unavailable = 69,
    /// EX_OSERR: a system call failed that does not fail.
    Os = 71,
    /// EX_TEMPFAIL: no answer.
    TempFail = 75,
    /// EX_PROTOCOL: isatapd is of another version, or that is not its socket.
    Protocol = 76,
    /// EX_NOPERM: only root may ask.
    NoPermission = 77,
}

impl Exit {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Good,
        Self::NotWorking,
        Self::Usage,
        Self::Unavailable,
        Self::Os,
        Self::TempFail,
        Self::Protocol,
        Self::NoPermission,
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why the program ends, and with which status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fatal {
    /// The status.
    pub(crate) exit: Exit,
    /// The reason for people: subject, what is wrong.
    pub(crate) line: String,
}

impl Fatal {
    /// Ends with `exit` because of `line`.
    pub(crate) fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, line: line.into() }
    }
}
