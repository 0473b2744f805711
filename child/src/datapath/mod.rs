//! The packet loop's handle, for the control thread. The loop runs in a thread of its own, with a
//! filter of its own.
//!
//! Two ways lead there: a socket pair for packets and wake-ups, and a mailbox for the table and the
//! descriptors, which the loop opens only after a wake-up, never for a packet. One way leads back:
//! solicitations and advertisements, by the same socket pair. Only these wake the control thread.

mod errors;
mod mail;
mod mover;
mod thread;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use isatapd_datapath::{Counters, LONGEST, Table};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

pub(crate) use self::mail::Ends;
use self::mail::Mailbox;
pub(crate) use self::thread::Worker;

/// Octets before a packet between the threads: the outer address, source or destination.
const ADDRESS: usize = 4;
/// Octets of room for one message between the threads.
pub(crate) const LONGEST_MESSAGE: usize = ADDRESS + LONGEST;

/// The control thread's end.
pub(crate) struct DataPath {
    channel: OwnedFd,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
}

/// Makes both ends: the handle, and what the other thread has to run.
pub(crate) fn pair() -> io::Result<(DataPath, Worker)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let (mailbox, counters) = (Arc::new(Mailbox::default()), Arc::new(Counters::default()));
    let worker = Worker::new(theirs, Arc::clone(&mailbox), Arc::clone(&counters));
    Ok((DataPath { channel: ours, mailbox, counters }, worker))
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

    /// Has an IPv6 packet sent, after all that was attached and published before. It is lost if too
    /// many wait already.
    pub(crate) fn transmit(&self, to: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        self.say(&[to.octets().as_slice(), packet].concat())?;
        Ok(())
    }

    /// The next solicitation or advertisement, with its outer source, if there is one. `buffer` has
    /// [`LONGEST_MESSAGE`] octets.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<(Ipv4Addr, &'a [u8])> {
        let len = recv(self.channel.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).ok()?;
        parse(buffer.get(..len)?)
    }

    /// What became of packets.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Where too many messages wait for this one to be sent, the loop is awake.
    fn wake(&self) {
        let _ = self.say(&[0]);
    }

    fn say(&self, message: &[u8]) -> Result<usize, Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.channel.as_raw_fd(), message, flags)
    }
}

impl AsFd for DataPath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// A message between the threads: `None` is a wake-up.
fn parse(message: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (address, packet) = message.split_first_chunk::<ADDRESS>()?;
    Some((Ipv4Addr::from(*address), packet))
}
