//! The child as the parent sees it: a process, a channel, and what it may say next.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use isatapd_proto::{DecodeError, Event, MAX_REQUEST, Phase, Request, Seq, Up, decode, encode};
use isatapd_security::spawn::{Plan, spawn};
use isatapd_security::{Channel, ReceiveError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;

/// Events kept for a child that does not take them now. All router sockets are 128.
const MOST_WAITING: usize = 256;
/// How long a child may take to answer.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// If we come that much too late to judge it, we were stopped ourselves, and it maybe too.
const PUNCTUAL: Duration = Duration::from_secs(1);

/// A running child.
pub struct Child {
    pid: Pid,
    channel: Channel,
    phase: Phase,
    last: Option<Seq>,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// When it was killed: nothing more is heard of it or told to it.
    condemned: Option<Instant>,
    /// Something was told after the last `Event::Ping`.
    told: bool,
    /// When its `StartupDone`, or its answer to the last `Event::Ping`, is due, until it comes. By
    /// CLOCK_MONOTONIC, as Rust has it: while the machine sleeps, nobody can answer.
    answer_due: Option<Instant>,
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
    /// It has left [`Event::Ping`] without answer.
    #[error("has not answered for {} s", ANSWERS_WITHIN.as_secs())]
    Mute,
    /// An answer to what it was not asked.
    #[error("answers what it was not asked")]
    Unasked,
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
    pub fn adopt(pid: Pid, channel: Channel, now: Instant) -> Self {
        Self {
            pid,
            channel,
            phase: Phase::Starting,
            last: None,
            waiting: VecDeque::new(),
            condemned: None,
            told: false,
            answer_due: now.checked_add(ANSWERS_WITHIN),
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
        if self.is_condemned() {
            return Ok(());
        }
        let octets = encode(event).map_err(|_| Violation::Deaf)?;
        self.told = *event != Event::Ping;
        self.waiting.push_back((octets, fds));
        self.flush()
    }

    /// Asks it for a sign of life, if it runs and is not asked already: if `anyway`, or if it was told
    /// something since it was last asked.
    pub fn ask(&mut self, anyway: bool, now: Instant) -> Result<(), Violation> {
        let asks = anyway || self.told;
        if !asks || self.answer_due.is_some() || self.is_condemned() {
            return Ok(());
        }
        self.answer_due = now.checked_add(ANSWERS_WITHIN);
        self.tell(&Event::Ping, Vec::new())
    }

    /// When it is to be judged for not answering.
    pub fn answer_due(&self) -> Option<Instant> {
        self.answer_due.filter(|_| !self.is_condemned())
    }

    /// Judges it, when all that it has said has been heard.
    pub fn judge(&mut self, now: Instant) -> Result<(), Violation> {
        let Some(late) = self.answer_due().and_then(|at| now.checked_duration_since(at)) else {
            return Ok(());
        };
        if late < PUNCTUAL {
            let starting = self.phase == Phase::Starting;
            return Err(if starting { Violation::Late } else { Violation::Mute });
        }
        self.answer_due = now.checked_add(ANSWERS_WITHIN);
        Ok(())
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
        self.condemned.is_some()
    }

    /// Whether not even that ends it.
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.condemned.is_some_and(|at| now.saturating_duration_since(at) > ANSWERS_WITHIN)
    }

    /// Whether something waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next thing it says.
    pub fn hear(&mut self) -> Result<Heard, Violation> {
        if self.is_condemned() {
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
        if matches!(request, Request::StartupDone | Request::Pong)
            && self.answer_due.take().is_none()
        {
            return Err(Violation::Unasked);
        }
        Ok(Heard::Request(seq, request))
    }

    /// Ends it, whatever it does. SIGCHLD follows.
    pub fn kill(&mut self) {
        self.condemned.get_or_insert_with(Instant::now);
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
