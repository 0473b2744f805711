//! The raw ICMPv6 socket of one router in one form, made by the parent.

use std::io::{self, IoSliceMut};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, send};

/// The longest message that can come: a reassembled IPv6 packet without jumbo payload.
pub(crate) const LONGEST: usize = 65_535;

/// What came in.
pub(crate) struct Packet<'a> {
    /// The IPv6 source address.
    pub(crate) source: Ipv6Addr,
    /// The IPv6 hop limit, if the kernel said.
    pub(crate) hop_limit: Option<u8>,
    /// From the ICMPv6 type on.
    pub(crate) bytes: &'a [u8],
}

/// A socket that reaches one router only.
pub(crate) struct RouterSocket(OwnedFd);

impl RouterSocket {
    /// Takes what the parent made.
    pub(crate) const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends an ICMPv6 message; the kernel fills in its checksum.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    /// The next message, if there is one. An error that the kernel kept for us (an ICMPv6 error, a
    /// link that went down) is told by the next send and means nothing here.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<Packet<'a>> {
        let mut control = nix::cmsg_space!(i32);
        let (source, hop_limit, len) = {
            let mut slices = [IoSliceMut::new(buffer)];
            let fd = self.0.as_raw_fd();
            let got =
                recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), MsgFlags::empty())
                    .ok()?;
            let hop_limit = got.cmsgs().ok().and_then(|mut messages| {
                messages.find_map(|message| match message {
                    ControlMessageOwned::Ipv6HopLimit(hops) => u8::try_from(hops).ok(),
                    _ => None,
                })
            });
            (got.address?.ip(), hop_limit, got.bytes)
        };
        Some(Packet { source, hop_limit, bytes: buffer.get(..len)? })
    }
}

impl AsFd for RouterSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
