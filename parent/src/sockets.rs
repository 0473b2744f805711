//! Sockets for the child, which can make none: each is bound, filtered and connected here.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZeroU8, NonZeroU32};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use isatapd_proto::{MtuMethod, Transport, UnicastV4};
use isatapd_security::sys;
use nix::errno::Errno;
use nix::libc::sock_filter;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6,
    SockaddrStorage, bind, connect, recv, setsockopt, socket, sockopt,
};

use crate::kernel::{IfIndex, KernelError};

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// Of Router and Neighbor Solicitations (RFC 4861 sections 4.1 and 4.3).
const HOP_LIMIT: i32 = 255;
/// Octets of advertisements that may wait to be read: some dozens.
const RECEIVE_BUFFER: usize = 65_536;
/// Octets of packets that may wait while the child is busy, or replaced.
const TUNNEL_RECEIVE_BUFFER: u32 = 2 << 20;
/// Octets of packets that may wait for a slow link.
const TUNNEL_SEND_BUFFER: usize = 1 << 20;
/// The number of the loopback interface (LOOPBACK_IFINDEX of the kernel).
const LOOPBACK: NonZeroU32 = NonZeroU32::MIN;
/// Packets thrown away at the start; the socket is closed if more have come.
const STRAYS: usize = 1024;

/// A raw ICMPv6 socket for one router: connected to its link-local address on the tunnel, so that
/// nothing comes from or goes to elsewhere, and only Router and Neighbor Advertisements come in (with
/// their hop limit). The kernel fills in the checksum (RFC 3542 section 3.1). The tunnel must be up
/// with its link-local address, which becomes the source.
pub fn router_socket(tunnel: IfIndex, router: Ipv6Addr) -> Result<OwnedFd, KernelError> {
    open_router_socket(tunnel, router)
        .map_err(|errno| failed(format!("router {router}"), "open a socket", errno))
}

fn open_router_socket(tunnel: IfIndex, router: Ipv6Addr) -> Result<OwnedFd, Errno> {
    if !router.is_unicast_link_local() {
        // Any other address would leave the interface open.
        return Err(Errno::EINVAL);
    }
    let socket = socket(AddressFamily::Inet6, SockType::Raw, FLAGS, SockProtocol::IcmpV6)?;
    sys::set_icmp6_filter_adverts(socket.as_fd()).map_err(|e| errno(&e))?;
    setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
    setsockopt(&socket, sockopt::Ipv6Ttl, &HOP_LIMIT)?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    sys::attach_locked_filter(socket.as_fd(), &sys::advert_filter()).map_err(|e| errno(&e))?;
    let address = SockaddrIn6::from(SocketAddrV6::new(router, 0, 0, tunnel.get()));
    connect(socket.as_raw_fd(), &address)?;
    throw_away_strays(&socket)?;
    Ok(socket)
}

/// A socket that becomes readable when a packet leaves by the tunnel that a router is to forward.
/// Nobody reads it.
pub fn traffic_socket(tunnel: IfIndex) -> Result<OwnedFd, KernelError> {
    sys::packet_socket(tunnel.nonzero(), &sys::routed_out_filter())
        .map_err(|e| failed("tunnel".to_owned(), "watch its traffic", errno(&e)))
}

/// What came from anywhere between the socket's making and its connection.
fn throw_away_strays(socket: &OwnedFd) -> Result<(), Errno> {
    for _ in 0..STRAYS {
        if recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty()) == Err(Errno::EAGAIN) {
            return Ok(());
        }
    }
    Err(Errno::ENOBUFS)
}

/// The sockets of the data path: raw, IPv4, protocol 41. Each child has them from its start on,
/// whatever becomes of the tunnel. What they are bound to holds for what says nothing else: with
/// IP_PKTINFO (ip(7)) a child can send a packet from another address of this host and by another
/// interface.
#[derive(Debug)]
pub struct Protocol41 {
    /// Receives what has IPv6 inside, and what became of packets that either sent. With the dynamic
    /// method it never fragments, with the static one it is not sent by.
    whole: OwnedFd,
    /// Lets packets be fragmented, and receives nothing.
    fragmenting: OwnedFd,
}

impl Protocol41 {
    /// Opens both, with this TTL if it is fixed. They are bound to reach no other host yet.
    pub fn open(ttl: Option<NonZeroU8>, method: MtuMethod) -> Result<Self, KernelError> {
        let open = || {
            let whole = match method {
                MtuMethod::Dynamic => sys::Fragments::Never,
                MtuMethod::Static => sys::Fragments::Allowed,
            };
            let nothing = sys::nothing_filter();
            let whole = open_protocol_41(ttl, whole, &sys::ipv6_inside_filter())?;
            // The kernel tells it what became of the other's packets, too.
            setsockopt(&whole, sockopt::Ipv4RecvErr, &true)?;
            let fragmenting = open_protocol_41(ttl, sys::Fragments::Allowed, &nothing)?;
            Ok(Self { whole, fragmenting })
        };
        open().map_err(|errno| failed("protocol 41".to_owned(), "open a socket", errno))
    }

    /// Binds them to send from and receive at the locator, which must be an address of this host, by
    /// `link` or any. What came for another is still there to be received.
    pub fn point(&self, locator: UnicastV4, link: Option<IfIndex>) -> Result<(), KernelError> {
        let address = SockaddrIn::from(SocketAddrV4::new(locator.get(), 0));
        let point = |socket: &OwnedFd| {
            bind(socket.as_raw_fd(), &address)?;
            let link = link.map(IfIndex::nonzero);
            sys::bind_to_interface(socket.as_fd(), link).map_err(|e| errno(&e))
        };
        [&self.whole, &self.fragmenting]
            .into_iter()
            .try_for_each(point)
            .map_err(|errno| failed(format!("locator {locator}"), "bind a socket", errno))
    }

    /// Binds them to reach no other host.
    pub fn park(&self) -> Result<(), KernelError> {
        [&self.whole, &self.fragmenting]
            .into_iter()
            .try_for_each(park)
            .map_err(|errno| failed("protocol 41".to_owned(), "bind a socket", errno))
    }

    /// Copies for the children: what is done to these is done to those.
    pub fn copies(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.whole.try_clone()?, self.fragmenting.try_clone()?])
    }
}

fn failed(object: String, action: &'static str, errno: Errno) -> KernelError {
    KernelError { object, action, errno, hint: String::new() }
}

/// By the loopback interface only, which is always there; 127.0.0.1 is so only while that is up.
fn park(socket: &OwnedFd) -> Result<(), Errno> {
    sys::bind_to_interface(socket.as_fd(), Some(LOOPBACK)).map_err(|e| errno(&e))
}

fn open_protocol_41(
    ttl: Option<NonZeroU8>,
    fragments: sys::Fragments,
    filter: &[sock_filter],
) -> Result<OwnedFd, Errno> {
    let socket = sys::raw_protocol_41().map_err(|e| errno(&e))?;
    let fd = socket.as_fd();
    // From its making on it receives from everywhere: that ends here, and what has come goes.
    sys::attach_filter(fd, &sys::nothing_filter()).map_err(|e| errno(&e))?;
    park(&socket)?;
    throw_away_strays(&socket)?;
    sys::set_fragments(fd, fragments).map_err(|e| errno(&e))?;
    if let Some(ttl) = ttl {
        setsockopt(&socket, sockopt::Ipv4Ttl, &ttl.get().into())?;
    }
    // In a user namespace only up to the system's limit: bursts are then lost earlier.
    if sys::set_receive_buffer_force(fd, TUNNEL_RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &usize::try_from(TUNNEL_RECEIVE_BUFFER).unwrap_or(0))?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &TUNNEL_SEND_BUFFER).is_err() {
        setsockopt(&socket, sockopt::SndBuf, &TUNNEL_SEND_BUFFER)?;
    }
    sys::attach_locked_filter(fd, filter).map_err(|e| errno(&e))?;
    Ok(socket)
}

/// A socket for one DNS query, connected to the server from a port that the kernel chooses; TCP
/// may still be connecting.
pub fn dns_socket(server: SocketAddr, transport: Transport) -> Result<OwnedFd, Errno> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match transport {
        Transport::Udp => SockType::Datagram,
        Transport::Tcp => SockType::Stream,
    };
    let socket = socket(family, kind, FLAGS, None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(server)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}
