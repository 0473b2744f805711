//! The packet loop's handle, for the control thread. The loop runs in a thread of its own, with a
//! filter of its own.
//!
//! Two ways lead there: a socket pair for packets and wake-ups, and a mailbox for the table and the
//! descriptors, which the loop opens only after a message of the former. One way leads back, by
//! the same socket pair: solicitations and advertisements, hints that a router may have failed, and,
//! if that was asked for, that a packet went to a router. Only these wake the control thread.

mod errors;
mod mail;
mod message;
mod mover;
mod thread;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use isatapd_datapath::{Counter, Counters, Table, Traffic};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

pub(crate) use self::mail::Ends;
use self::mail::Mailbox;
pub(crate) use self::message::{LONGEST_MESSAGE, Message};
pub(crate) use self::thread::Worker;

/// Packets kept for the loop while the socket pair is full: a farewell to all hosts that are known, and
/// as much again.
const MOST_WAITING: usize = 8192;

/// The control thread's end.
pub(crate) struct DataPath {
    /// Never closed: the loop would take that for the end, and end the process before it is told why.
    channel: ManuallyDrop<OwnedFd>,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    traffic: Arc<Traffic>,
    waiting: VecDeque<Vec<u8>>,
    barriers: u64,
}

/// Makes both ends: the handle, and what the other thread has to run.
pub(crate) fn pair() -> io::Result<(DataPath, Worker)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let (mailbox, counters) = (Arc::new(Mailbox::default()), Arc::new(Counters::default()));
    let traffic = Arc::new(Traffic::default());
    let worker =
        Worker::new(theirs, Arc::clone(&mailbox), Arc::clone(&counters), Arc::clone(&traffic));
    let (channel, waiting, barriers) = (ManuallyDrop::new(ours), VecDeque::new(), 0);
    Ok((DataPath { channel, mailbox, counters, traffic, waiting, barriers }, worker))
}

impl DataPath {
    /// Packets pass by these descriptors from now on; those before are closed.
    pub(crate) fn attach(&self, ends: Ends) {
        self.mailbox.attach(Some(ends));
        self.wake();
    }

    /// No packet passes any more; the descriptors are closed.
    pub(crate) fn detach(&self) {
        self.mailbox.attach(None);
        self.wake();
    }

    /// Packets go by this table from now on.
    pub(crate) fn publish(&self, table: Arc<Table>) {
        self.mailbox.publish(table);
        self.wake();
    }

    /// Has an IPv6 packet sent, after all that was attached and published before. It is lost, and
    /// counted, if too many wait already.
    pub(crate) fn transmit(&mut self, to: Ipv4Addr, packet: &[u8]) {
        if self.waiting.len() < MOST_WAITING {
            self.queue(Message::Packet(to, packet));
        } else {
            self.counters.add(Counter::NotSent, 1);
        }
    }

    /// [`Message::Barrier`] comes back, with this number or a later one, when all packets before have
    /// been given to IPv4.
    pub(crate) fn barrier(&mut self) -> u64 {
        self.barriers = self.barriers.saturating_add(1);
        self.queue(Message::Barrier(self.barriers));
        self.barriers
    }

    fn queue(&mut self, message: Message<'_>) {
        self.waiting.push_back(message.octets());
        self.flush();
    }

    /// Whether something waits for the socket pair to have room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            if self.say(message) == Err(Errno::EAGAIN) {
                break;
            }
            self.waiting.pop_front();
        }
    }

    /// The next message, if there is one. `buffer` has [`LONGEST_MESSAGE`] octets.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<Message<'a>> {
        let len = recv(self.channel.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).ok()?;
        Message::parse(buffer.get(..len)?)
    }

    /// What became of packets.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Which routers packets come from and go to.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Where too many messages wait for this one to be sent, the loop is awake.
    fn wake(&self) {
        let _ = self.say(&Message::Wake.octets());
    }

    fn say(&self, message: &[u8]) -> Result<usize, Errno> {
        say(self.channel.as_fd(), message)
    }
}

impl AsFd for DataPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn say(channel: BorrowedFd<'_>, message: &[u8]) -> Result<usize, Errno> {
    send(channel.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
}
