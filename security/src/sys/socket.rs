//! Options of the child's sockets. Filters are set for good: the child cannot take them off.

use std::io;
use std::mem::size_of_val;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, sock_filter, sock_fprog, socklen_t};
use nix::errno::Errno;

/// ND Router Advertisement (RFC 4861 section 4.2).
const ROUTER_ADVERT: u8 = 134;
/// ND Neighbor Advertisement (RFC 4861 section 4.4).
const NEIGHBOUR_ADVERT: u8 = 136;

/// ICMP6_FILTER of netinet/icmp6.h (RFC 3542 section 3.2).
const ICMP6_FILTER: c_int = 1;

fn set<T>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of_val(value)).map_err(io::Error::other)?;
    let value: *const T = value;
    // SAFETY: the kernel reads `length` octets of the value, which is borrowed for the call. What
    // the value points to, if anything, is the caller's to keep alive: see `attach_locked_filter`.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), length) };
    Errno::result(answer)?;
    Ok(())
}

/// A raw ICMPv6 socket receives Router and Neighbor Advertisements only (RFC 3542 section 3.2). The
/// owner of the socket can undo this; it saves the filter below work.
pub fn set_icmp6_filter_adverts(socket: BorrowedFd<'_>) -> io::Result<()> {
    // One bit a type; a set bit blocks.
    let mut blocked = [u32::MAX; 8];
    for kind in [ROUTER_ADVERT, NEIGHBOUR_ADVERT] {
        if let Some(word) = blocked.get_mut(usize::from(kind / 32)) {
            *word &= !(1 << (kind % 32));
        }
    }
    set(socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
}

/// Attaches a classic BPF program (at most 65,535 instructions; the kernel checks it) that no one
/// can take off or exchange any more (SO_ATTACH_FILTER, SO_LOCK_FILTER: socket(7)).
pub fn attach_locked_filter(socket: BorrowedFd<'_>, program: &[sock_filter]) -> io::Result<()> {
    attach_filter(socket, program)?;
    let locked: c_int = 1;
    set(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &locked)
}

/// The same, but another can take its place.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    // The kernel copies the program; it does not write to it.
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Nothing passes.
pub fn nothing_filter() -> [sock_filter; 1] {
    [instruction(libc::BPF_RET | libc::BPF_K, 0, 0)]
}

/// For a raw IPv4 socket: a packet passes if what follows its IPv4 header says that it is IPv6.
pub fn ipv6_inside_filter() -> [sock_filter; 6] {
    let answer = libc::BPF_RET | libc::BPF_K;
    // The program begins at the IPv4 header. What is read beyond the end drops the packet.
    [
        instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0),
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0, 0),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xf0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0x60, 1),
        instruction(answer, u32::MAX, 0),
        instruction(answer, 0, 0),
    ]
}

/// A raw IPv4 socket of protocol 41 (RFC 4213), close-on-exec and non-blocking: nix has no name for
/// this protocol. Needs CAP_NET_RAW.
pub fn raw_protocol_41() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: three numbers go in, none is a pointer.
    let answer = unsafe { libc::socket(libc::AF_INET, kind, libc::IPPROTO_IPV6) };
    let number = Errno::result(answer)?;
    // SAFETY: the kernel has just opened it for this process: nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether IPv4 packets may become fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    /// DF is set on each; one that is longer than the path MTU is refused with `EMSGSIZE`.
    Never,
    /// DF is set on none.
    Allowed,
}

/// IP_MTU_DISCOVER (ip(7)).
pub fn set_fragments(socket: BorrowedFd<'_>, fragments: Fragments) -> io::Result<()> {
    let value: c_int = match fragments {
        Fragments::Never => libc::IP_PMTUDISC_DO,
        Fragments::Allowed => libc::IP_PMTUDISC_DONT,
    };
    set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &value)
}

/// Sends and receives by this interface only; `None`: by any (SO_BINDTOIFINDEX, Linux 5.0).
pub fn bind_to_interface(socket: BorrowedFd<'_>, index: Option<NonZeroU32>) -> io::Result<()> {
    let index = index.map_or(0, NonZeroU32::get);
    let index = c_int::try_from(index).map_err(|_| Errno::EINVAL)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)
}

/// For a raw ICMPv6 socket: a packet passes if it is a Router or Neighbor Advertisement with code 0
/// that was not forwarded: hop limit 255 (RFC 4861 sections 6.1.2 and 7.1.2).
pub fn advert_filter() -> [sock_filter; 9] {
    const HOP_LIMIT: u32 = 7;
    // The program begins at the ICMPv6 header; what lies before is reached by SKF_NET_OFF.
    [
        instruction(LOAD, 0, 0),
        jump_if(ROUTER_ADVERT.into(), 1, 0),
        instruction(UNLESS, NEIGHBOUR_ADVERT.into(), 5),
        instruction(LOAD, 1, 0),
        instruction(UNLESS, 0, 3),
        instruction(LOAD, offset(libc::SKF_NET_OFF) | HOP_LIMIT, 0),
        instruction(UNLESS, 255, 1),
        instruction(ANSWER, u32::MAX, 0),
        instruction(ANSWER, 0, 0),
    ]
}

/// For a packet socket: one octet passes of an IPv6 packet that this host sends to an address that
/// is neither link-local nor of a group, so that a router is to forward it.
pub fn routed_out_filter() -> [sock_filter; 7] {
    const DESTINATION: u32 = 24;
    [
        instruction(LOAD, offset(libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE), 0),
        instruction(UNLESS, libc::PACKET_OUTGOING.into(), 4),
        instruction(LOAD, offset(libc::SKF_NET_OFF) | DESTINATION, 0),
        jump_if(0xfe, 2, 0),
        jump_if(0xff, 1, 0),
        instruction(ANSWER, 1, 0),
        instruction(ANSWER, 0, 0),
    ]
}

/// Load one octet.
const LOAD: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
/// Skip so many instructions unless it has this value.
const UNLESS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// So many octets of the packet pass.
const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;

/// A place that is not counted from where the program begins.
fn offset(base: c_int) -> u32 {
    u32::from_ne_bytes(base.to_ne_bytes())
}

/// Skips so many instructions if the octet has this value, else so many.
fn jump_if(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { jt: then, ..instruction(UNLESS, value, otherwise) }
}

/// A packet socket that a program judges all packets of one interface for, from its making on. Needs
/// CAP_NET_RAW.
pub fn packet_socket(interface: NonZeroU32, program: &[sock_filter]) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Of no protocol it receives nothing.
    // SAFETY: three numbers go in, none is a pointer.
    let number = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the kernel has just opened it for this process: nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    attach_locked_filter(socket.as_fd(), program)?;
    // What is sent is shown to sockets of all protocols only.
    let all = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    // SAFETY: all that a sockaddr_ll consists of may be zero.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = all;
    address.sll_ifindex = c_int::try_from(interface.get()).map_err(|_| Errno::EINVAL)?;
    let length = socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` octets of the address, which is borrowed for the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound)?;
    Ok(socket)
}

/// `skip`: how many instructions to leave out if a comparison fails.
fn instruction(code: u32, operand: u32, skip: u8) -> sock_filter {
    let code = u16::try_from(code).unwrap_or_default();
    sock_filter { code, jt: 0, jf: skip, k: operand }
}

/// Sets the receive buffer, in octets, beyond the system's limit (SO_RCVBUFFORCE: socket(7); needs
/// CAP_NET_ADMIN).
pub fn set_receive_buffer_force(socket: BorrowedFd<'_>, octets: u32) -> io::Result<()> {
    let octets = c_int::try_from(octets).map_err(|_| Errno::EINVAL)?;
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &octets)
}
