//! The operator's tools: each asks once and is answered at once, and none can hold us up.
//!
//! The socket is the parent's. Who may ask is said by the kernel (SO_PEERCRED). An answer is one
//! packet into an empty buffer of the kernel, so nobody waits for a client that does not read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{Counter, Counters};
use isatapd_engine::{Engine, Instant};
use isatapd_proto::control::{
    Answer, Ask, Count, MAX_COUNTERS, MAX_QUERY, Query, Told, VERSION, Version, version_of,
};
use isatapd_proto::{Bounded, Text, decode, encode};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sockopt};
use nix::unistd::Uid;

/// Clients at once; more are closed at once.
pub(crate) const MOST: usize = 16;
/// How long a client may take to ask.
const IDLE: Duration = Duration::from_secs(5);
/// After clients could not be accepted, until the next try.
const RETRY: Duration = Duration::from_secs(10);
/// Clients accepted before others have their turn.
const TURN: usize = 32;

/// The listening socket and those who have not asked yet.
pub(crate) struct Control {
    listener: Option<UnixListener>,
    /// Nobody could be accepted: until when it is left alone, as it may be ready for ever.
    resting_until: Option<Instant>,
    /// Whose processes may ask, beside root's.
    own: Uid,
    clients: Vec<Client>,
    /// Of the data path.
    counters: Arc<Counters>,
    /// Clients closed without answer: too many, not allowed, too slow, not understood.
    refused: u64,
}

struct Client {
    socket: OwnedFd,
    /// When it is closed, if it has not asked.
    until: Instant,
}

impl Control {
    /// No socket yet.
    pub(crate) const fn new(own: Uid, counters: Arc<Counters>) -> Self {
        let clients = Vec::new();
        Self { listener: None, resting_until: None, own, clients, counters, refused: 0 }
    }

    /// Takes the listening socket that the parent made.
    pub(crate) fn listen(&mut self, socket: OwnedFd) {
        self.listener = Some(socket.into());
        self.resting_until = None;
    }

    /// What to wait for: whether something can be read.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clients = self.clients.iter().map(|client| client.socket.as_fd());
        let listener = self.listener.iter().filter(|_| self.resting_until.is_none());
        listener.map(AsFd::as_fd).chain(clients)
    }

    /// When [`Control::serve`] is due even if nothing can be read.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().map(|client| client.until).chain(self.resting_until).min()
    }

    /// Takes who comes, answers who asks, closes who does not.
    ///
    /// # Errors
    ///
    /// Nobody more can be accepted; that is tried again later.
    pub(crate) fn serve(&mut self, engine: &Engine, now: Instant) -> io::Result<()> {
        let accepted = self.accept(now);
        for client in std::mem::take(&mut self.clients) {
            let mut octets = [0; MAX_QUERY + 1];
            match recv(client.socket.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN | Errno::EINTR) if client.until > now => {
                    self.clients.push(client);
                }
                // It has changed its mind.
                Ok(0) => {}
                Ok(len) => {
                    let answer = self.answer(octets.get(..len).unwrap_or_default(), engine, now);
                    let sent = answer.is_some_and(|answer| client.tell(&answer).is_ok());
                    self.refused = self.refused.saturating_add((!sent).into());
                }
                Err(_) => self.refused = self.refused.saturating_add(1),
            }
        }
        accepted
    }

    fn accept(&mut self, now: Instant) -> io::Result<()> {
        self.resting_until.take_if(|until| *until <= now);
        for _ in 0..TURN {
            let listener = self.listener.as_ref().filter(|_| self.resting_until.is_none());
            let Some(listener) = listener else { break };
            let socket: OwnedFd = match listener.accept() {
                Ok((client, _)) => client.into(),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => continue,
                    _ => {
                        self.resting_until = Some(now.after(RETRY));
                        return Err(error);
                    }
                },
            };
            if self.clients.len() < MOST && self.may_ask(&socket) {
                self.clients.push(Client { socket, until: now.after(IDLE) });
            } else {
                self.refused = self.refused.saturating_add(1);
            }
        }
        Ok(())
    }

    fn may_ask(&self, socket: &OwnedFd) -> bool {
        getsockopt(socket, sockopt::PeerCredentials)
            .map(|peer| Uid::from_raw(peer.uid()))
            .is_ok_and(|uid| uid.is_root() || uid == self.own)
    }

    /// `None`: that was no query.
    fn answer(&self, octets: &[u8], engine: &Engine, now: Instant) -> Option<Answer> {
        let told = match decode(octets) {
            Ok(Query { ask: Ask::Show, .. }) => {
                let mut show = engine.show(now);
                show.counters = self.with_ours(&show.counters, false);
                Told::Show(Box::new(show))
            }
            Ok(Query { ask: Ask::Counters, .. }) => {
                Told::Counters(self.with_ours(&engine.counters(), true))
            }
            Err(_) if version_of(octets).is_some_and(|version| version != VERSION) => {
                Told::OtherVersion
            }
            Err(_) => return None,
        };
        Some(Answer { version: Version, told })
    }

    /// The engine's counters and those that are not its own.
    fn with_ours(&self, engine: &[Count], zeroes: bool) -> Bounded<Count, MAX_COUNTERS> {
        let path = Counter::ALL.iter().map(|c| (c.text(), self.counters.get(*c)));
        let ours = path.chain([("control clients closed without answer", self.refused)]);
        let ours = ours.filter(|(_, count)| zeroes || *count > 0);
        let ours = ours.map(|(what, count)| Count { what: Text::cut(what), count });
        Bounded::first_of(ours.chain(engine.iter().cloned()))
    }
}

impl Client {
    fn tell(&self, answer: &Answer) -> io::Result<()> {
        let octets = encode(answer).map_err(io::Error::other)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.socket.as_raw_fd(), &octets, flags)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
