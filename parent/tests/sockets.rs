//! The child's sockets, in a network namespace for each test. Needs root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

mod namespace;

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use isatapd::sockets::{dns_socket, router_socket, traffic_socket};
use isatapd_proto::Transport;
use namespace::{await_up, index_of, ip_batch, namespace};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6,
    bind, recv, recvmsg, send, sendto, setsockopt, socket, sockopt,
};

const RA: [u8; 16] = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
/// Of fe80::a.
const NA: [u8; 24] =
    [136, 0, 0, 0, 0x40, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a];
const RS: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

fn is_close_on_exec_and_non_blocking(fd: &OwnedFd) -> bool {
    let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
    let status = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
    flags.contains(FdFlag::FD_CLOEXEC) && status.contains(OFlag::O_NONBLOCK)
}

/// One packet and its hop limit.
fn receive(fd: &OwnedFd) -> Result<(Vec<u8>, i32), Errno> {
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let got = recvmsg::<SockaddrIn6>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let hop_limit = got.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::Ipv6HopLimit(limit) => Some(limit),
        _ => None,
    });
    let bytes = got.bytes;
    Ok((buffer[..bytes].to_vec(), hop_limit.unwrap_or(-1)))
}

/// Within a time that is enough on a busy machine.
fn becomes_readable(fd: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::from(30_000_u16)) == Ok(1)
}

/// A raw ICMPv6 socket at an address of the interface.
fn peer(address: &str, interface: &str, hop_limit: i32) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6).unwrap();
    setsockopt(&fd, sockopt::Ipv6Ttl, &hop_limit).unwrap();
    setsockopt(&fd, sockopt::Ipv6RecvHopLimit, &true).unwrap();
    bind(fd.as_raw_fd(), &scoped(address, interface)).unwrap();
    fd
}

fn scoped(address: &str, interface: &str) -> SockaddrIn6 {
    let address: Ipv6Addr = address.parse().unwrap();
    SocketAddrV6::new(address, 0, 0, index_of(interface).get()).into()
}

#[test]
fn a_router_socket_hears_its_router_and_nobody_else() {
    namespace();
    ip_batch(
        "link add tun0 type veth peer name far0
        link add tun1 type veth peer name far1
        link set tun0 addrgenmode none
        link set far0 addrgenmode none
        link set tun1 addrgenmode none
        link set far1 addrgenmode none
        link set tun0 up
        link set far0 up
        link set tun1 up
        link set far1 up
        address add fe80::1/64 dev tun0 nodad
        address add fe80::1/64 dev tun1 nodad
        address add fe80::a/64 dev far0 nodad
        address add fe80::b/64 dev far0 nodad
        address add fe80::a/64 dev far1 nodad",
    );
    await_up(&["tun0", "far0", "tun1", "far1"]);
    let router: Ipv6Addr = "fe80::a".parse().unwrap();
    let ours = router_socket(index_of("tun0"), router).unwrap();
    assert!(is_close_on_exec_and_non_blocking(&ours));
    let advertise = |from: &str, far: &str, near: &str, hop_limit, packet: &[u8]| {
        let to = scoped("fe80::1", far);
        let peer = peer(from, far, hop_limit);
        // What reaches this one has reached ours, if it ever does.
        let witness = self::peer("fe80::1", near, 255);
        sendto(peer.as_raw_fd(), packet, &to, MsgFlags::empty()).unwrap();
        let arrived = loop {
            assert!(becomes_readable(&witness), "nothing arrives");
            // Neighbour solicitations come too.
            let (arrived, _) = receive(&witness).unwrap();
            if matches!(arrived[0], 133 | 134) || arrived[0] == packet[0] {
                break arrived;
            }
        };
        assert_eq!(arrived[0], packet[0]);
    };
    advertise("fe80::a", "far0", "tun0", 255, &RA);
    let (packet, hop_limit) = receive(&ours).unwrap();
    assert_eq!((packet.len(), packet[0], hop_limit), (RA.len(), 134, 255));

    let mut coded = RA;
    coded[1] = 1;
    for (from, far, near, hop_limit, packet) in [
        ("fe80::b", "far0", "tun0", 255, &RA[..]),
        ("fe80::a", "far1", "tun1", 255, &RA),
        ("fe80::a", "far0", "tun0", 64, &RA),
        ("fe80::a", "far0", "tun0", 255, &RS),
        ("fe80::a", "far0", "tun0", 255, &coded),
        ("fe80::b", "far0", "tun0", 255, &NA),
        ("fe80::a", "far0", "tun0", 64, &NA),
    ] {
        advertise(from, far, near, hop_limit, packet);
        let got = receive(&ours);
        assert_eq!(got, Err(Errno::EAGAIN), "{from} {far} {hop_limit} {packet:?}");
    }

    advertise("fe80::a", "far0", "tun0", 255, &NA);
    assert_eq!(receive(&ours).unwrap().0[0], 136);

    // And what is sent goes there, as RFC 4861 wants it.
    let peer = peer("fe80::a", "far0", 255);
    send(ours.as_raw_fd(), &RS, MsgFlags::empty()).unwrap();
    assert!(becomes_readable(&peer));
    let (packet, hop_limit) = receive(&peer).unwrap();
    assert_eq!((packet[0], hop_limit), (133, 255));
    assert_ne!(packet[2..4], [0, 0], "checksum");
}

#[test]
fn a_router_socket_needs_the_tunnel() {
    namespace();
    let lo = index_of("lo");
    for router in ["2001:db8::1", "::", "ff02::2"] {
        let error = router_socket(lo, router.parse().unwrap()).unwrap_err();
        assert_eq!(error.errno, Errno::EINVAL, "{router}");
    }
    // No address there, so no source.
    let error = router_socket(lo, "fe80::1".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "router fe80::1: cannot open a socket: Network is unreachable");
}

#[test]
fn a_traffic_socket_tells_of_what_a_router_is_to_forward() {
    namespace();
    ip_batch(
        "link add tun0 type veth peer name far0
        link set tun0 addrgenmode none
        link set far0 addrgenmode none
        link set far0 address 02:00:00:00:00:0a
        link set tun0 address 02:00:00:00:00:01
        link set tun0 up
        link set far0 up
        address add fe80::1/64 dev tun0 nodad
        address add 2001:db8::1/64 dev tun0 nodad
        address add fe80::a/64 dev far0 nodad
        address add 2001:db8:1::a/64 dev far0 nodad
        route add 2001:db8::1 dev far0
        neighbour add fe80::a dev tun0 lladdr 02:00:00:00:00:0a
        neighbour add 2001:db8::a dev tun0 lladdr 02:00:00:00:00:0a
        neighbour add 2001:db8::1 dev far0 lladdr 02:00:00:00:00:01",
    );
    await_up(&["tun0", "far0"]);
    let ours = traffic_socket(index_of("tun0")).unwrap();
    assert!(is_close_on_exec_and_non_blocking(&ours));
    let is_readable = |soon| {
        let mut ready = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        if soon { becomes_readable(&ours) } else { poll(&mut ready, PollTimeout::ZERO) == Ok(1) }
    };
    // What is sent is shown before send(2) returns, and with a veth received too.
    for (from, interface, to, readable) in [
        ("fe80::1", "tun0", "fe80::a", false),
        ("fe80::1", "tun0", "ff02::2", false),
        ("2001:db8:1::a", "far0", "2001:db8::1", false),
        ("2001:db8::1", "tun0", "2001:db8::a", true),
    ] {
        let peer = peer(from, interface, 255);
        sendto(peer.as_raw_fd(), &RS, &scoped(to, interface), MsgFlags::empty()).unwrap();
        assert_eq!(is_readable(readable), readable, "{from} {to}");
    }
    // One only: none of the others was but late.
    recv(ours.as_raw_fd(), &mut [0; 2], MsgFlags::MSG_DONTWAIT).unwrap();
    assert!(!is_readable(false));
}

#[test]
fn a_datagram_socket_hears_its_server_only() {
    namespace();
    let server = UdpSocket::bind("127.0.0.1:53").unwrap();
    let other = UdpSocket::bind("127.0.0.2:53").unwrap();
    let ours = dns_socket(server.local_addr().unwrap(), Transport::Udp).unwrap();
    assert!(is_close_on_exec_and_non_blocking(&ours));
    let ours = UdpSocket::from(ours);
    ours.send(b"query").unwrap();
    let mut buffer = [0; 16];
    let (len, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"query");
    other.send_to(b"forged", from).unwrap();
    server.send_to(b"answer", from).unwrap();
    ours.set_nonblocking(false).unwrap();
    let len = ours.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"answer");
}

#[test]
fn a_stream_socket_connects_in_its_own_time() {
    namespace();
    let listener = TcpListener::bind("[::1]:53").unwrap();
    let ours = dns_socket(listener.local_addr().unwrap(), Transport::Tcp).unwrap();
    assert!(is_close_on_exec_and_non_blocking(&ours));
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"hello").unwrap();
    let mut ours = TcpStream::from(ours);
    ours.set_nonblocking(false).unwrap();
    let mut buffer = [0; 5];
    ours.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");

    // Nobody answers there: it returns at once all the same.
    ip_batch(
        "link add va type veth peer name vb
        link set va up
        link set vb up
        address add 10.0.0.1/24 dev va",
    );
    let silent = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 53));
    assert!(dns_socket(silent, Transport::Tcp).is_ok());
    let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 53));
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(dns_socket(nowhere, transport).unwrap_err(), Errno::ENETUNREACH);
    }
}
