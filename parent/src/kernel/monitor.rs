//! What changes in the kernel. It tells only that something changed: what holds now is then asked
//! for, so a lost or late message does no harm.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::NlasIterator;
use nix::errno::Errno;
use nix::libc::{
    AF_INET6, RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_DELRULE, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWNETCONF, RTM_NEWROUTE, RTM_NEWRULE,
};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt,
    socket, sockopt,
};
use rtnetlink::MulticastGroup;

use super::{IfIndex, KernelError};

/// Octets that may wait to be read; a storm of thousands of changes needs more, and overruns.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Datagrams read in one call. The rest waits, as other work does.
const BATCH: usize = 256;
/// Octets of a datagram that are read; only the head of a message counts.
const DATAGRAM: usize = 8192;

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Netconf,
];

/// `RTA_OIF` of linux/rtnetlink.h.
const RTA_OIF: u16 = 4;
/// Octets of `struct nlmsghdr` and `struct rtmsg`.
const ROUTE_HEADERS: usize = 28;

/// What has changed since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent flags")]
pub struct Changes {
    /// An interface other than the tunnel.
    pub links: bool,
    /// An IPv4 address, route or rule.
    pub ipv4: bool,
    /// The tunnel itself, an IPv6 address of it or route through it. What we do ourselves counts too,
    /// PRL included: who answers it by a change that is not needed goes in circles.
    pub tunnel: bool,
    /// Whether an interface forwards IPv6.
    pub forwarding: bool,
    /// Messages were lost: anything may have changed.
    pub overrun: bool,
}

/// A socket that the kernel sends its changes to.
pub struct Monitor {
    socket: OwnedFd,
    tunnel: Option<IfIndex>,
    buffer: Box<[u8; DATAGRAM]>,
}

impl Monitor {
    /// A socket in the network namespace of the calling thread. It tells of all changes from now on.
    pub fn open() -> Result<Self, KernelError> {
        let refused = |e: Errno| KernelError::new("netlink", "watch for changes", e);
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )
        .map_err(refused)?;
        // Without the right to exceed net.core.rmem_max it overruns sooner, no more.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER));
        let groups = GROUPS.iter().fold(0, |all, group| all | 1 << (*group as u32).wrapping_sub(1));
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(refused)?;
        Ok(Self { socket, tunnel: None, buffer: Box::new([0; DATAGRAM]) })
    }

    /// Which interface is ours.
    pub fn set_tunnel(&mut self, tunnel: Option<IfIndex>) {
        self.tunnel = tunnel;
    }

    /// What has changed, of a bounded number of messages; poll(2) tells whether there are more.
    pub fn drain(&mut self) -> Result<Changes, KernelError> {
        let mut changes = Changes::default();
        for _ in 0..BATCH {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), self.buffer.as_mut_slice()) {
                Ok((len, Some(sender))) if sender.pid() == 0 => {
                    changes.note(self.buffer.get(..len).unwrap_or_default(), self.tunnel);
                }
                // Not from the kernel: any process may send here.
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => changes.overrun = true,
                Err(errno) => return Err(KernelError::new("netlink", "read the changes", errno)),
            }
        }
        Ok(changes)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Changes {
    /// One message, the first of a datagram: the kernel sends one each.
    fn note(&mut self, datagram: &[u8], tunnel: Option<IfIndex>) {
        // nlmsghdr: length, type, flags, sequence, port. Then ifinfomsg, ifaddrmsg, rtmsg or
        // fib_rule_hdr begins with the family; the first two have the interface at octet 4.
        let Some([_, _, _, _, t0, t1, _, _, _, _, _, _, _, _, _, _, family, _, _, _, i @ ..]) =
            datagram.first_chunk::<24>()
        else {
            return;
        };
        let kind = u16::from_ne_bytes([*t0, *t1]);
        let ours = tunnel.is_some_and(|tunnel| tunnel.get() == u32::from_ne_bytes(*i));
        let ipv6 = i32::from(*family) == AF_INET6;
        match kind {
            RTM_NEWLINK | RTM_DELLINK if ours => self.tunnel = true,
            RTM_NEWLINK | RTM_DELLINK => self.links = true,
            RTM_NEWADDR | RTM_DELADDR if ipv6 => self.tunnel |= ours,
            RTM_NEWROUTE | RTM_DELROUTE if ipv6 => {
                self.tunnel |= tunnel.is_some_and(|tunnel| leads_through(datagram, tunnel));
            }
            RTM_NEWNETCONF if ipv6 => self.forwarding = true,
            RTM_NEWADDR | RTM_DELADDR | RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => {
                self.ipv4 = true;
            }
            _ => {}
        }
    }
}

/// Whether a route leads through the interface; one of several paths has none of its own.
fn leads_through(datagram: &[u8], interface: IfIndex) -> bool {
    let attributes = datagram.get(ROUTE_HEADERS..).unwrap_or_default();
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .any(|nla| nla.kind() == RTA_OIF && nla.value() == interface.get().to_ne_bytes())
}
