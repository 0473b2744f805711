//! One DNS query's socket, made and connected by the parent: a datagram, or a stream with a length
//! before each message (RFC 1035 section 4.2.2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use isatapd_proto::Transport;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

/// The longest answer taken. 64 addresses need 1 KiB; pathological ones come in 64.
const LONGEST: usize = 8192;

/// A socket to one name server.
pub(crate) struct DnsSocket {
    socket: OwnedFd,
    transport: Transport,
    /// What is still to be sent.
    out: Vec<u8>,
    /// What came in of a stream so far.
    inward: Vec<u8>,
}

impl DnsSocket {
    /// Takes what the parent made.
    pub(crate) const fn new(socket: OwnedFd, transport: Transport) -> Self {
        Self { socket, transport, out: Vec::new(), inward: Vec::new() }
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// Sends `message`, now or as soon as the stream takes it.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.transport == Transport::Tcp {
            let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.out.extend_from_slice(&len.to_be_bytes());
        }
        self.out.extend_from_slice(message);
        self.flush()
    }

    /// Sends what is left.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match send(self.socket.as_raw_fd(), &self.out, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(self.out.drain(..sent.min(self.out.len()))),
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next whole message, if there is one.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.transport {
            Transport::Udp => self.receive_some(LONGEST),
            Transport::Tcp => self.receive_framed(),
        }
    }

    fn receive_framed(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((header, rest)) = self.inward.split_first_chunk::<2>() {
                let len = usize::from(u16::from_be_bytes(*header));
                if len > LONGEST {
                    return Err(io::Error::other("answer too long"));
                }
                if let Some(message) = rest.get(..len) {
                    let message = message.to_vec();
                    self.inward.drain(..len.saturating_add(header.len()));
                    return Ok(Some(message));
                }
            }
            match self.receive_some(LONGEST)? {
                None => return Ok(None),
                Some(part) if part.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(part) => self.inward.extend_from_slice(&part),
            }
        }
    }

    fn receive_some(&self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; most];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(len) => {
                buffer.truncate(len);
                Ok(Some(buffer))
            }
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for DnsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
