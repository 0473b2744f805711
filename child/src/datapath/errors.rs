//! The error queue of a socket (ip(7), IP_RECVERR): what became of packets that were sent.

use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use isatapd_datapath::{Failure, Origin};
use nix::errno::Errno;
use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_LOCAL, sock_extended_err};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};

/// Octets kept of what an ICMPv4 message quotes: of 576 at most (RFC 1812 section 4.3.2.3).
const QUOTED: usize = 576;
/// Errors taken from one socket before packets have their turn.
const TURN: usize = 32;
/// Errors taken to find that of one packet: more than the receive buffer has room for.
const SEARCH: usize = 8192;

/// Takes the errors that wait. `sent` is the packet that was just refused by this host: the queue
/// does not quote it. Whether the queue told of it.
pub(super) fn drain(
    socket: BorrowedFd<'_>,
    mut sent: Option<&[u8]>,
    mut tell: impl FnMut(&Failure<'_>),
) -> bool {
    let asked = sent.is_some();
    for nth in 0..SEARCH {
        if nth >= TURN && sent.is_none() {
            break;
        }
        let mut buffer = [0; QUOTED];
        let Some((to, error, len)) = next(socket, &mut buffer) else { break };
        let quoted = buffer.get(..len).unwrap_or_default();
        let origin = origin(&error);
        // A packet in the middle of a batch is refused twice: once there, once as the first.
        let quoted = match origin {
            Origin::Icmp { .. } => Some(quoted),
            _ => sent.take(),
        };
        if let Some(quoted) = quoted {
            tell(&Failure { to, origin, quoted });
        }
    }
    asked && sent.is_none()
}

/// The next error: where the packet was to go, what happened, how much of the buffer is the packet.
fn next(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<(Ipv4Addr, sock_extended_err, usize)> {
    let mut control = nix::cmsg_space!(sock_extended_err, SockaddrIn);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let mut parts = [IoSliceMut::new(buffer)];
    let got =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let error = got.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) => Some(error),
        _ => None,
    })?;
    Some((got.address?.ip(), error, got.bytes))
}

fn origin(error: &sock_extended_err) -> Origin {
    let too_long = Errno::EMSGSIZE as u32;
    match error.ee_origin {
        SO_EE_ORIGIN_ICMP => {
            Origin::Icmp { kind: error.ee_type, code: error.ee_code, mtu: error.ee_info }
        }
        SO_EE_ORIGIN_LOCAL if error.ee_errno == too_long => Origin::TooLong { mtu: error.ee_info },
        _ => Origin::Local,
    }
}
