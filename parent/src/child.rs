//! The child as the parent sees it: a process, a channel, and what it may say next.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use isatapd_proto::{DecodeError, Event, MAX_REQUEST, Phase, Request, Seq, Up, decode, encode};
use isatapd_security::spawn::{Plan, spawn};
use isatapd_security::{Channel, ReceiveError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;

/// Events kept for a child that does not take them now. All router sockets are 128.
const MOST_WAITING: usize = 256;

/// A running child.
pub struct Child {
    pid: Pid,
    channel: Channel,
    phase: Phase,
    last: Option<Seq>,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// Killed: nothing more is heard of it or told to it.
    condemned: bool,
    /// When it was started.
    pub started: Instant,
}

/// What a child must not do. It ends it.
#[derive(Debug, Error)]
pub enum Violation {
    /// Not a message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Descriptors come from the parent only; or it is longer than any message.
    #[error("{0}")]
    Frame(ReceiveError),
    /// A number that is not above the last one.
    #[error("request number {} after {}", .0.0, .1.0)]
    Sequence(Seq, Seq),
    /// Something that it must not say now.
    #[error("request out of phase")]
    Phase,
    /// It does not read what it is sent.
    #[error("does not listen")]
    Deaf,
    /// It did not confine itself in time.
    #[error("not confined in time")]
    Late,
}

/// What came from the child.
pub enum Heard {
    /// A request.
    Request(Seq, Request),
    /// Nothing now.
    Silence,
    /// End of file: it has ended or is about to.
    End,
}

impl Child {
    /// Starts one.
    pub fn start(plan: &Plan, now: Instant) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let pid = spawn(plan, theirs).map_err(io::Error::other)?;
        Ok(Self::adopt(pid, channel, now))
    }

    /// One that runs at the other end of `channel`, and has said nothing yet.
    pub const fn adopt(pid: Pid, channel: Channel, now: Instant) -> Self {
        Self {
            pid,
            channel,
            phase: Phase::Starting,
            last: None,
            waiting: VecDeque::new(),
            condemned: false,
            started: now,
        }
    }

    /// Its process.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// How far it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Tells it; what it does not take now waits.
    pub fn tell(&mut self, event: &Event, fds: Vec<OwnedFd>) -> Result<(), Violation> {
        if self.condemned {
            return Ok(());
        }
        let octets = encode(event).map_err(|_| Violation::Deaf)?;
        self.waiting.push_back((octets, fds));
        self.flush()
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<(), Violation> {
        while let Some((octets, fds)) = self.waiting.front() {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match self.channel.send(octets, &fds) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Its end is heard as end of file.
                Err(error) if is_end(&error) => self.waiting.clear(),
                // It would go on with a wrong picture; the next one is told all anew.
                Err(_) => return Err(Violation::Deaf),
            }
        }
        if self.waiting.len() > MOST_WAITING { Err(Violation::Deaf) } else { Ok(()) }
    }

    /// Whether it was killed.
    pub const fn is_condemned(&self) -> bool {
        self.condemned
    }

    /// Whether something waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next thing it says.
    pub fn hear(&mut self) -> Result<Heard, Violation> {
        if self.condemned {
            return Ok(Heard::Silence);
        }
        let mut buffer = [0; MAX_REQUEST];
        let mut received = self.channel.receive(&mut buffer, 0);
        // That it ended with events unread is told once, before what it had still to say.
        if matches!(&received, Err(ReceiveError::Io(e)) if e.kind() == io::ErrorKind::ConnectionReset)
        {
            received = self.channel.receive(&mut buffer, 0);
        }
        let received = match received {
            Ok(received) => received,
            Err(ReceiveError::Closed) => return Ok(Heard::End),
            Err(error) if error.would_block() => return Ok(Heard::Silence),
            Err(error) => return Err(Violation::Frame(error)),
        };
        let Up { seq, request } = decode(buffer.get(..received.len).unwrap_or_default())?;
        if request.is_answered()
            && let Some(last) = self.last.replace(seq).filter(|last| seq.0 <= last.0)
        {
            return Err(Violation::Sequence(seq, last));
        }
        self.phase = self.phase.after(&request).ok_or(Violation::Phase)?;
        Ok(Heard::Request(seq, request))
    }

    /// Ends it, whatever it does. SIGCHLD follows.
    pub fn kill(&mut self) {
        self.condemned = true;
        self.waiting.clear();
        // Not reaped yet, so the number is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
