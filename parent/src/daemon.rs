//! `--daemon`: the command returns when the daemon is ready or has failed, and its status tells which.
//!
//! 0.9.7 returned 0 before anything was tried. Here the original process waits for one octet from
//! the daemon, the exit status; the end of the pipe without it is a failure.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};

use isatapd_security::daemon::{Fork, fork};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::exit::{Exit, Fatal};

/// Which of the two processes goes on.
#[derive(Debug)]
pub enum Process {
    /// The one that was called: it ends with this status, having said why if it is not 0 and the
    /// daemon could not.
    Original(u8),
    /// The daemon, in a session of its own, at `/`; still with the terminal as 0 to 2.
    Daemon(Readiness),
}

/// What the daemon owes to whoever called it. Dropped without a word, it is a failure.
#[derive(Debug)]
pub struct Readiness {
    /// `None`: another process tells how it went.
    status: Option<PipeWriter>,
    null: File,
}

/// Goes to the background. To be called first of all: while there is one thread, and nothing open.
pub fn start() -> Result<Process, Fatal> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| failed("/dev/null", &error))?;
    let (reader, status) = io::pipe().map_err(|error| failed("pipe", &error))?;
    match fork().map_err(|error| failed("fork", &error))? {
        Fork::Original(daemon) => {
            drop(status);
            Ok(Process::Original(await_status(reader, daemon)?))
        }
        Fork::Copy => {
            drop(reader);
            setsid().map_err(|errno| failed("setsid", &errno.into()))?;
            chdir("/").map_err(|errno| failed("chdir", &errno.into()))?;
            Ok(Process::Daemon(Readiness { status: Some(status), null }))
        }
    }
}

impl Readiness {
    /// Lets go of the terminal and tells that all is well. An error means that nobody waits for the
    /// daemon any more: who called it has been told nothing or was ended, so it should end too.
    pub fn ready(mut self) -> Result<(), Fatal> {
        let dup = dup2_stdin(&self.null)
            .and_then(|()| dup2_stdout(&self.null))
            .and_then(|()| dup2_stderr(&self.null));
        dup.map_err(|errno| failed("/dev/null", &errno.into()))?;
        self.tell(0).map_err(|error| failed("the caller is gone", &error))
    }

    /// Tells that the daemon ends with this status. It has written the reason to the standard error.
    pub fn fail(mut self, status: u8) {
        // Without a reader there is nobody to tell.
        let _ = self.tell(status);
    }

    /// From now on nothing is told, as another process does that.
    pub fn leave_telling(&mut self) {
        self.status = None;
    }

    fn tell(&mut self, status: u8) -> io::Result<()> {
        self.status.as_mut().map_or(Ok(()), |pipe| pipe.write_all(&[status]))
    }
}

fn failed(what: &str, error: &io::Error) -> Fatal {
    Fatal::new(Exit::Os, format!("--daemon: {what}: {error}"))
}

fn await_status(mut reader: PipeReader, daemon: Pid) -> Result<u8, Fatal> {
    let mut status = [0];
    // read_exact goes on after a signal.
    if reader.read_exact(&mut status).is_ok() {
        let [status] = status;
        return Ok(status);
    }
    let fate = match waitpid(daemon, None) {
        Ok(WaitStatus::Exited(_, status)) => format!("status {status}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => signal.to_string(),
        _ => "reason unknown".to_owned(),
    };
    Err(Fatal::new(Exit::Os, format!("--daemon: ended before it was ready: {fate}")))
}
