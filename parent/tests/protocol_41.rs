//! The sockets of the TUN backend, in a network namespace for each test. Needs root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

mod host;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod namespace;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use host::host;
use isatapd::sockets::Protocol41;
use isatapd_proto::{MtuMethod, UnicastV4};
use isatapd_security::sys;
use namespace::{index_of, ip, ip_batch};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrIn, getsockopt, recv, sendto, sockopt};

fn v4(last: u8) -> UnicastV4 {
    Ipv4Addr::new(10, 0, 0, last).try_into().unwrap()
}

/// Sends these octets as protocol 41.
fn send(from: &OwnedFd, to: [u8; 4], octets: &[u8]) -> Result<usize, Errno> {
    let to = SockaddrIn::from(SocketAddrV4::new(to.into(), 0));
    sendto(from.as_raw_fd(), octets, &to, MsgFlags::empty())
}

/// What comes, if the loopback keeps it for a moment.
fn arrived(socket: &OwnedFd) -> Vec<u8> {
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ready, PollTimeout::from(30_000_u16)), Ok(1), "nothing arrives");
    received(socket).unwrap()
}

fn received(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(len) => Some(buffer[..len].to_vec()),
        Err(errno) => {
            assert_eq!(errno, Errno::EAGAIN);
            None
        }
    }
}

#[test]
fn the_sockets_pass_what_they_should() {
    host();
    let [whole, fragmenting] = pointed(2, MtuMethod::Dynamic);
    let [other, other_fragmenting] = pointed(3, MtuMethod::Dynamic);
    for octets in [&b""[..], b"\x45", b"\x50xx", b"\x70xx", b"\0xx"] {
        send(&other, [10, 0, 0, 2], octets).unwrap();
        assert_eq!(received(&whole), None, "{octets:?}");
    }
    // To the other address: not ours.
    send(&other, [10, 0, 0, 3], b"\x60other").unwrap();
    assert_eq!(received(&whole), None);
    send(&other, [10, 0, 0, 2], b"\x60ours").unwrap();
    let packet = arrived(&whole);
    assert_eq!((packet[0], packet[8], packet[9], &packet[20..]), (0x45, 64, 41, &b"\x60ours"[..]));
    assert_eq!(packet[12..20], [10, 0, 0, 3, 10, 0, 0, 2]);
    assert_eq!(packet[6] & 0x40, 0x40, "DF");
    send(&other_fragmenting, [10, 0, 0, 2], b"\x60ours").unwrap();
    assert_eq!(arrived(&whole)[6] & 0x40, 0, "DF");
    assert_eq!(received(&fragmenting), None);
    assert_eq!(received(&other_fragmenting), None);

    // Longer than the link: refused by the one, cut by the other.
    let long = [0x60; 1600];
    assert_eq!(send(&whole, [10, 0, 0, 9], &long), Err(Errno::EMSGSIZE));
    assert_eq!(send(&fragmenting, [10, 0, 0, 9], &long), Ok(1600));
    let [fixed, _] = pointed(2, MtuMethod::Static);
    assert_eq!(send(&fixed, [10, 0, 0, 9], &long), Ok(1600));

    // One hears for both.
    for (socket, hears) in [(&whole, true), (&fragmenting, false), (&fixed, true)] {
        assert_eq!(getsockopt(socket, sockopt::Ipv4RecvErr), Ok(hears));
    }

    // Nobody takes the filters off.
    for socket in [&whole, &fragmenting] {
        let error = sys::attach_filter(socket.as_fd(), &sys::ipv6_inside_filter()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32));
    }
}

#[test]
fn the_sockets_keep_to_the_link() {
    host();
    ip_batch(
        "link set vb up
        address add 10.0.1.2/24 dev vb",
    );
    let ours = sockets(MtuMethod::Dynamic);
    ours.point(v4(2), Some(index_of("vb"))).unwrap();
    let [whole, _] = ours.copies().unwrap();
    let [other, _] = pointed(3, MtuMethod::Dynamic);
    // By lo, as it is the same host.
    send(&other, [10, 0, 0, 2], b"\x60others").unwrap();
    assert_eq!(received(&whole), None);
    ours.point(v4(2), None).unwrap();
    send(&other, [10, 0, 0, 2], b"\x60ours").unwrap();
    // Nor was the first only late.
    assert_eq!(&arrived(&whole)[20..], b"\x60ours");
}

/// What a child has follows the locator, without a word to it.
#[test]
fn the_sockets_follow_the_locator() {
    host();
    // IPv6 would say things of its own accord.
    fs::write("/proc/sys/net/ipv6/conf/va/disable_ipv6", "1").unwrap();
    ip("neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 nud permanent dev va");
    let ours = sockets(MtuMethod::Dynamic);
    let [whole, fragmenting] = ours.copies().unwrap();
    let [other, _] = pointed(3, MtuMethod::Dynamic);
    for _ in 0..2 {
        // Parked they reach no other host.
        let before = transmitted("va");
        for socket in [&whole, &fragmenting] {
            let _ = send(socket, [10, 0, 0, 9], b"\x60away");
        }
        assert_eq!(transmitted("va"), before);
        ours.point(v4(2), None).unwrap();
        for socket in [&whole, &fragmenting] {
            send(socket, [10, 0, 0, 9], b"\x60away").unwrap();
        }
        assert_eq!(transmitted("va"), before + 2);
        assert_eq!(source_of(&fragmenting, &other), [10, 0, 0, 2]);
        assert_eq!(source_of(&whole, &other), [10, 0, 0, 2]);
        ours.point(v4(3), None).unwrap();
        assert_eq!(source_of(&fragmenting, &other), [10, 0, 0, 3]);
        while received(&whole).is_some() {}
        // Not an address of ours: all stays as it was.
        let error = ours.point(v4(9), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "locator 10.0.0.9: cannot bind a socket: Cannot assign requested address"
        );
        send(&other, [10, 0, 0, 3], b"\x60ours").unwrap();
        arrived(&whole);
        arrived(&other);
        ours.park().unwrap();
    }
}

/// A host may have no address at all when it starts, not even 127.0.0.1.
#[test]
fn the_sockets_need_no_address() {
    host();
    ip("link set lo down");
    sockets(MtuMethod::Static).park().unwrap();
}

fn sockets(method: MtuMethod) -> Protocol41 {
    Protocol41::open(NonZeroU8::new(64), method).unwrap()
}

fn pointed(last: u8, method: MtuMethod) -> [OwnedFd; 2] {
    let sockets = sockets(method);
    sockets.point(v4(last), None).unwrap();
    sockets.copies().unwrap()
}

/// How many packets have left by an interface.
fn transmitted(interface: &str) -> u32 {
    let shown = ip(&format!("-s link show {interface}"));
    let counts = shown.lines().skip_while(|line| !line.trim().starts_with("TX:")).nth(1).unwrap();
    counts.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The outer source of what `from` sends to 10.0.0.3.
fn source_of(from: &OwnedFd, at: &OwnedFd) -> [u8; 4] {
    send(from, [10, 0, 0, 3], b"\x60ours").unwrap();
    arrived(at)[12..16].try_into().unwrap()
}
