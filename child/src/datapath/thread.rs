//! The packet loop: waits, has each packet judged, moves it. Nothing that the network does ends it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use isatapd_datapath::{Counters, Traffic};
use isatapd_security::sys::BATCH;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::mail::{Ends, Mail, Mailbox};
use super::message::Message;
use super::mover::{EACH, Mover};
use super::say;
use crate::clock::Clock;

/// Messages of the control thread before packets have their turn.
const TURN: usize = 32;

/// All that the loop has.
pub(crate) struct Worker {
    channel: Arc<OwnedFd>,
    mailbox: Arc<Mailbox>,
    ends: Option<Ends>,
    /// The table says so, or there is none yet.
    hold: bool,
    mover: Mover,
    /// For a batch of packets: a page of it is memory once it was used.
    room: Vec<u8>,
    /// The control thread is to hear that all it has said before that is done.
    barrier: Option<u64>,
}

/// What there is to do.
struct Ready {
    control: bool,
    tun: PollFlags,
    whole: PollFlags,
}

impl Worker {
    /// Has no descriptors to move packets by yet.
    pub(super) fn new(
        channel: OwnedFd,
        mailbox: Arc<Mailbox>,
        counters: Arc<Counters>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let channel = Arc::new(channel);
        Self {
            mover: Mover::new(counters, traffic, Arc::clone(&channel)),
            channel,
            mailbox,
            ends: None,
            hold: true,
            room: vec![0; EACH * BATCH],
            barrier: None,
        }
    }

    /// Runs until the control thread is gone, or the system fails.
    pub(crate) fn run(mut self) -> io::Error {
        loop {
            if let Err(error) = self.turn() {
                return error;
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        if ready.control {
            // What else was ready may be of descriptors that are gone now.
            return self.hear_control();
        }
        let Some(ends) = &self.ends else { return Ok(()) };
        let now = Clock::now()?;
        let (mover, room) = (&mut self.mover, &mut self.room);
        if ready.whole.contains(PollFlags::POLLERR) {
            mover.hear_errors(now, ends, None);
        }
        if !ready.whole.is_empty() {
            mover.inbound(now, ends, room);
        }
        if ready.tun.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            // The interface is gone; the parent makes another.
            self.ends = None;
        } else if !ready.tun.is_empty() {
            mover.outbound(now, ends, room);
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let (input, none) = (PollFlags::POLLIN, PollFlags::empty());
        let upward = if self.barrier.is_some() { PollFlags::POLLOUT } else { none };
        let control = PollFd::new(self.channel.as_fd(), input | upward);
        let (mut alone, mut all);
        let fds: &mut [PollFd<'_>] = if let Some(ends) = &self.ends {
            let tun = PollFd::new(ends.tun.as_fd(), if self.hold { none } else { input });
            all = [control, tun, PollFd::new(ends.whole, input)];
            &mut all
        } else {
            alone = [control];
            &mut alone
        };
        loop {
            match poll(fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        // What nix does not know is an error.
        let mut ready = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR));
        let mut next = || ready.next().unwrap_or(none);
        Ok(Ready { control: !next().is_empty(), tun: next(), whole: next() })
    }

    /// What a message tells of was left before it was sent: the mail is taken after each.
    fn hear_control(&mut self) -> io::Result<()> {
        for _ in 0..TURN {
            let len = match recv(self.channel.as_raw_fd(), &mut self.room, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => break,
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => result?,
            };
            let Mail { table, detach, ends } = self.mailbox.take();
            if let Some(table) = table {
                self.hold = table.hold;
                self.mover.publish(table);
            }
            if detach {
                self.ends = ends;
            }
            match self.room.get(..len).and_then(Message::parse) {
                Some(Message::Packet(to, packet)) => {
                    self.mover.own(Clock::now()?, self.ends.as_ref(), to, packet);
                }
                Some(Message::Barrier(number)) => self.barrier = Some(number),
                _ => {}
            }
        }
        if let Some(number) = self.barrier {
            let said = say(self.channel.as_fd(), &Message::Barrier(number).octets());
            self.barrier.take_if(|_| said != Err(Errno::EAGAIN));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use isatapd_datapath::{Counter, Table};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::super::pair;
    use super::*;

    /// Sockets that stand for what the parent makes; and the far end of the queue.
    fn ends() -> (Ends, OwnedFd) {
        let pair = || {
            let flags = SockFlag::SOCK_NONBLOCK;
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
        };
        let leak = |socket: OwnedFd| {
            let socket: &'static OwnedFd = Box::leak(Box::new(socket));
            socket.as_fd()
        };
        let ((tun, far), (whole, fragmenting)) = (pair(), pair());
        (Ends { tun, whole: leak(whole), fragmenting: leak(fragmenting) }, far)
    }

    /// What is left while the loop reads messages is taken, too.
    #[test]
    fn no_mail_is_forgotten() {
        let (mut path, worker) = pair().unwrap();
        let mailbox = Arc::clone(&worker.mailbox);
        thread::spawn(move || worker.run());
        for round in 0..20_000 {
            path.publish(Arc::default());
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            path.publish(Arc::default());
            let number = path.barrier();
            let mut wait = [PollFd::new(path.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut wait, PollTimeout::from(10_000_u16)), Ok(1));
            assert_eq!(path.receive(&mut [0; 16]), Some(Message::Barrier(number)));
            assert!(mailbox.take().table.is_none(), "{round}");
        }
    }

    #[test]
    fn what_the_old_descriptors_said_is_not_of_the_new() {
        let (path, mut worker) = pair().unwrap();
        let (old, _) = ends();
        worker.ends = Some(old);
        let (new, _far) = ends();
        path.attach(new);
        worker.turn().unwrap();
        assert!(worker.ends.is_some());
    }

    #[test]
    fn the_queue_waits_for_a_table_to_go_by() {
        let (path, mut worker) = pair().unwrap();
        let (ends, far) = ends();
        let (fragmenting, counters) = (ends.fragmenting, path.counters());
        path.attach(ends);
        for (hold, read) in [(true, 0), (false, 1)] {
            path.publish(Arc::new(Table { hold, ..Table::default() }));
            worker.turn().unwrap();
            say(far.as_fd(), &[0x60; 40]).unwrap();
            // It still receives.
            let before = counters.get(Counter::NoLocator);
            say(fragmenting, &[0x45; 60]).unwrap();
            worker.turn().unwrap();
            assert_eq!(counters.get(Counter::NoLocator), before + 1 + 2 * read);
        }
    }

    /// The control thread says why it ends: the loop must not be first, and end the process.
    #[test]
    fn the_end_of_the_other_is_not_seen() {
        let (path, worker) = pair().unwrap();
        drop(path);
        let mut wait = [PollFd::new(worker.channel.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wait, PollTimeout::ZERO), Ok(0));
    }

    #[test]
    fn packets_without_a_way_are_counted() {
        let (mut path, mut worker) = pair().unwrap();
        path.transmit(Ipv4Addr::LOCALHOST, &[0x60; 40]);
        worker.turn().unwrap();
        assert_eq!(path.counters().get(Counter::NotSent), 1);
    }
}
