//! Options of the child's sockets. Filters are set for good: the child cannot take them off.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, sock_filter, sock_fprog, socklen_t};
use nix::errno::Errno;

/// ND Router Advertisement (RFC 4861 section 4.2).
const ROUTER_ADVERT: u8 = 134;

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

/// A raw ICMPv6 socket receives Router Advertisements only (RFC 3542 section 3.2). The owner of the
/// socket can undo this; it saves the filter below work.
pub fn set_icmp6_filter_ra_only(socket: BorrowedFd<'_>) -> io::Result<()> {
    // One bit a type; a set bit blocks.
    let mut blocked = [u32::MAX; 8];
    if let Some(word) = blocked.get_mut(usize::from(ROUTER_ADVERT / 32)) {
        *word = !(1 << (ROUTER_ADVERT % 32));
    }
    set(socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
}

/// Attaches a classic BPF program (at most 65,535 instructions; the kernel checks it) that no one
/// can take off or exchange any more (SO_ATTACH_FILTER, SO_LOCK_FILTER: socket(7)).
pub fn attach_locked_filter(socket: BorrowedFd<'_>, program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    // The kernel copies the program; it does not write to it.
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    let locked: c_int = 1;
    set(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &locked)
}

/// For a raw ICMPv6 socket: a packet passes if it is a Router Advertisement with code 0 that was
/// not forwarded: hop limit 255 (RFC 4861 section 6.1.2).
pub fn router_advert_filter() -> [sock_filter; 8] {
    const HOP_LIMIT: u32 = 7;
    let network_header = u32::from_ne_bytes(libc::SKF_NET_OFF.to_ne_bytes());
    let load = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let unless = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // The program begins at the ICMPv6 header; what lies before is reached by SKF_NET_OFF.
    [
        instruction(load, 0, 0),
        instruction(unless, ROUTER_ADVERT.into(), 5),
        instruction(load, 1, 0),
        instruction(unless, 0, 3),
        instruction(load, network_header | HOP_LIMIT, 0),
        instruction(unless, 255, 1),
        instruction(answer, u32::MAX, 0),
        instruction(answer, 0, 0),
    ]
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
