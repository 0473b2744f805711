//! rtnetlink without a runtime: one socket, driven by poll(2), one request at a time.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::BufMut;
use futures_util::Stream;
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_proto::Connection;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::Handle;

use super::{KernelError, Refusal};

/// The kernel answers at once; the answer may be lost if memory is short.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often a dump is begun anew that changed while it was read.
const DUMP_ATTEMPTS: usize = 8;
/// Octets of `struct nlmsghdr`; with `NETLINK_CAP_ACK` all that an error repeats of the request.
const HEADER_LEN: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Requests to the kernel, each answered before the next is made. Its socket watches nothing:
/// the kernel does not tell a socket of its own route changes.
pub struct Netlink {
    connection: Connection<RouteNetlinkMessage, PollSocket>,
    handle: Handle,
}

impl Netlink {
    /// A socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, KernelError> {
        let refused = |e| KernelError::new("netlink", "open a socket", e);
        let mut socket = PollSocket::new(NETLINK_ROUTE).map_err(refused)?;
        // Strict checks make filters of a dump work, and errors of what would be ignored.
        socket
            .0
            .bind_auto()
            .and_then(|_| socket.0.set_netlink_get_strict_chk(true))
            .and_then(|()| socket.0.set_ext_ack(true))
            .and_then(|()| socket.0.set_cap_ack(true))
            .map_err(refused)?;
        let (mut connection, handle, _unsolicited) = rtnetlink::from_socket(socket);
        connection.set_forward_done(true);
        Ok(Self { connection, handle })
    }

    /// One request that changes or looks up one object: the answers before its acknowledgement.
    pub(super) fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        Ok(self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags)?.messages)
    }

    /// All objects that `message` selects, as they stood at one moment.
    pub(super) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            let answer = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if !answer.interrupted {
                return Ok(answer.messages);
            }
        }
        Err(Refusal::because(Errno::EAGAIN, "it changes while it is read"))
    }

    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<Answer, Refusal> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        let mut answers = self.handle.request(message).map_err(|_| Errno::EPIPE)?;
        let mut answer = Answer::default();
        let mut context = Context::from_waker(Waker::noop());
        let deadline = Instant::now().checked_add(TIMEOUT).ok_or(Errno::EOVERFLOW)?;
        loop {
            let closed = Future::poll(Pin::new(&mut self.connection), &mut context).is_ready();
            while let Poll::Ready(next) = Pin::new(&mut answers).poll_next(&mut context) {
                match next {
                    Some(message) => answer.take(message)?,
                    None => return Ok(answer),
                }
            }
            if closed {
                *self = Self::open().map_err(|e| Refusal::because(e.errno, e.action))?;
                return Err(Errno::EPIPE.into());
            }
            self.wait(deadline)?;
        }
    }

    fn wait(&mut self, deadline: Instant) -> Result<(), Errno> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(|_| Errno::EOVERFLOW)?;
        let fd = PollFd::new(self.connection.socket_mut().0.as_fd(), PollFlags::POLLIN);
        match poll(&mut [fd], timeout) {
            // A late answer carries an old sequence number and is thrown away.
            Ok(0) => Err(Errno::ETIMEDOUT),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

impl Answer {
    fn take(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Result<(), Refusal> {
        self.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => self.messages.push(inner),
            NetlinkPayload::Error(error) => return Err(refusal(&error)),
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(Errno::from_raw(done.code.saturating_neg()).into());
            }
            NetlinkPayload::Overrun(_) => return Err(Errno::ENOBUFS.into()),
            _ => {}
        }
        Ok(())
    }
}

fn refusal(error: &ErrorMessage) -> Refusal {
    let attributes = error.header.get(HEADER_LEN..).unwrap_or_default();
    let text = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).into_owned());
    let hint = text.unwrap_or_default().trim_end_matches('\0').to_owned();
    Refusal { errno: Errno::from_raw(error.raw_code().saturating_neg()), hint }
}

/// What rtnetlink wants of a socket. Nothing wakes it: `Netlink::exchange` polls again.
struct PollSocket(Socket);

fn pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Poll::Pending
        }
        result => Poll::Ready(result),
    }
}

impl AsyncSocket for PollSocket {
    fn socket_ref(&self) -> &Socket {
        &self.0
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.0
    }

    fn new(protocol: isize) -> io::Result<Self> {
        Socket::new(protocol).map(Self)
    }

    fn poll_send(&self, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        pending(self.0.send(buf, MSG_DONTWAIT))
    }

    fn poll_send_to(
        &self,
        _: &mut Context<'_>,
        buf: &[u8],
        addr: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        pending(self.0.send_to(buf, addr, MSG_DONTWAIT))
    }

    fn poll_recv<B: BufMut>(&self, _: &mut Context<'_>, buf: &mut B) -> Poll<io::Result<()>> {
        pending(self.0.recv(buf, MSG_DONTWAIT).map(drop))
    }

    fn poll_recv_from<B: BufMut>(
        &self,
        _: &mut Context<'_>,
        buf: &mut B,
    ) -> Poll<io::Result<SocketAddr>> {
        let (_, sender) = ready!(pending(self.0.recv_from(buf, MSG_DONTWAIT)))?;
        Poll::Ready(Ok(sender))
    }

    fn poll_recv_from_full(&self, _: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        // It would block, and nothing here uses it.
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use netlink_packet_core::{DoneMessage, NetlinkHeader};

    use super::*;

    fn message(
        flags: u16,
        payload: NetlinkPayload<RouteNetlinkMessage>,
    ) -> NetlinkMessage<RouteNetlinkMessage> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        NetlinkMessage::new(header, payload)
    }

    #[test]
    fn an_interrupted_dump_is_noticed_in_any_of_its_messages() {
        for (flags, expected) in [(0, false), (NLM_F_DUMP_INTR, true)] {
            let mut answer = Answer::default();
            answer.take(message(flags, NetlinkPayload::Noop)).unwrap();
            answer.take(message(0, NetlinkPayload::Noop)).unwrap();
            assert_eq!(answer.interrupted, expected);
        }
    }

    #[test]
    fn a_refusal_is_one_wherever_it_stands() {
        let mut error = ErrorMessage::default();
        error.code = NonZeroI32::new(-17);
        // The header of the request, then the attributes of the extended acknowledgement.
        error.header = vec![0; HEADER_LEN];
        error.header.extend([8, 0, 2, 0, 9, 9, 9, 9, 8, 0, 1, 0, b'n', b'o', b'!', 0]);
        let refusal = Answer::default().take(message(0, NetlinkPayload::Error(error.clone())));
        let Refusal { errno, hint } = refusal.unwrap_err();
        assert_eq!((errno, hint.as_str()), (Errno::EEXIST, "no!"));
        // Attributes that lie about their length, or none at all.
        for len in [0, HEADER_LEN, HEADER_LEN + 2, HEADER_LEN + 6, HEADER_LEN + 14] {
            let mut cut = error.clone();
            cut.header.truncate(len);
            assert_eq!(super::refusal(&cut).hint, "");
        }
        let mut done = DoneMessage::default();
        done.code = -12;
        let refusal = Answer::default().take(message(0, NetlinkPayload::Done(done)));
        assert_eq!(refusal.unwrap_err().errno, Errno::ENOMEM);
        let refusal = Answer::default().take(message(0, NetlinkPayload::Overrun(Vec::new())));
        assert_eq!(refusal.unwrap_err().errno, Errno::ENOBUFS);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut netlink = Netlink::open().unwrap();
        let soon = Instant::now().checked_add(Duration::from_millis(5)).unwrap();
        assert_eq!(netlink.wait(soon), Err(Errno::ETIMEDOUT));
    }
}
