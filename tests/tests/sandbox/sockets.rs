//! The filters on the child's raw sockets, in a network namespace.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;

use isatapd_security::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, connect, getsockopt,
    recv, send, setsockopt, socket, sockopt,
};

/// Marks the last packet.
const LAST: u8 = 255;

/// A namespace of this thread's own, with a loopback.
fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
}

fn raw_socket() -> OwnedFd {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6);
    socket.expect("a raw socket")
}

/// An advertisement of 16 octets; `mark` tells one from another.
fn packet(kind: u8, code: u8, mark: u8) -> [u8; 16] {
    let mut packet = [0; 16];
    (packet[0], packet[1], packet[4]) = (kind, code, mark);
    packet
}

/// Sends each (type, code, hop limit), and then what passes all filters; result: which were received
/// before that.
fn received(prepare: impl Fn(&OwnedFd), sent: &[(u8, u8, i32)]) -> Vec<u8> {
    let (receiver, sender) = (raw_socket(), raw_socket());
    prepare(&receiver);
    let loopback = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0));
    connect(sender.as_raw_fd(), &loopback).expect("a way");
    let last = ((134, 0, 255), LAST);
    for ((kind, code, hops), mark) in sent.iter().copied().zip(0..).chain([last]) {
        setsockopt(&sender, sockopt::Ipv6Ttl, &hops).expect("a hop limit");
        send(sender.as_raw_fd(), &packet(kind, code, mark), MsgFlags::empty()).expect("sent");
    }
    let mut marks = Vec::new();
    let mut buffer = [0; 64];
    loop {
        let mut ready = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ready, PollTimeout::from(30_000_u16)), Ok(1), "after {marks:?}");
        recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("a packet");
        if buffer[4] == LAST {
            return marks;
        }
        marks.push(buffer[4]);
    }
}

#[test]
fn only_advertisements_from_the_link_pass() {
    enter_namespace();
    let sent = [
        (134, 0, 255),
        (136, 0, 255),
        (134, 0, 254),
        (134, 0, 64),
        (136, 0, 254),
        (134, 1, 255),
        (136, 1, 255),
        (133, 0, 255),
        (135, 0, 255),
        (137, 0, 255),
        (128, 0, 255),
    ];
    let locked = |socket: &OwnedFd| {
        sys::attach_locked_filter(socket.as_fd(), &sys::advert_filter()).expect("a filter");
    };
    assert!(received(|_| (), &sent).iter().filter(|mark| **mark < 11).count() >= 11);
    assert_eq!(received(locked, &sent), [0, 1]);
    let by_type = |socket: &OwnedFd| {
        sys::set_icmp6_filter_adverts(socket.as_fd()).expect("a filter");
    };
    assert_eq!(received(by_type, &sent), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_locked_filter_stays() {
    enter_namespace();
    let socket = raw_socket();
    let open = sys::attach_locked_filter(socket.as_fd(), &sys::advert_filter()[8..]);
    open.expect("a filter");
    let again = sys::attach_locked_filter(socket.as_fd(), &sys::advert_filter());
    assert_eq!(again.map_err(|error| error.raw_os_error()), Err(Some(libc::EPERM)));
    for option in [libc::SO_DETACH_FILTER, libc::SO_LOCK_FILTER] {
        let zero: libc::c_int = 0;
        let (level, size) = (libc::SOL_SOCKET, 4);
        // SAFETY: the option is an int, which lives here.
        let answer = unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const zero).cast(), size)
        };
        assert_eq!(Errno::result(answer), Err(Errno::EPERM));
    }
}

#[test]
fn the_receive_buffer_is_as_asked() {
    let socket = raw_socket();
    let above = 64 << 20;
    sys::set_receive_buffer_force(socket.as_fd(), above).expect("CAP_NET_ADMIN");
    // The kernel doubles it for its own book-keeping (socket(7)).
    let have = getsockopt(&socket, sockopt::RcvBuf).expect("a size");
    assert_eq!(have, 2 * above as usize);
}
