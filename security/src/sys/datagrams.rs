//! Datagrams of a raw IPv4 socket, many in one call, each with its own TOS and TTL: sendmmsg(2) and
//! recvmmsg(2). Nothing is allocated, nothing waits.

use std::ffi::c_uint;
use std::mem::{self, size_of};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, cmsghdr, iovec, mmsghdr};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, SockaddrLike};

/// The most datagrams in one call.
pub const BATCH: usize = 32;

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Destination.
    pub to: Ipv4Addr,
    /// TOS octet; 0: that of the socket.
    pub tos: u8,
    /// TTL; `None`: that of the socket.
    pub ttl: Option<u8>,
    /// What follows the IPv4 header.
    pub octets: &'a [u8],
}

impl Datagram<'_> {
    /// Fills what is not used.
    pub const NONE: Self = Self { to: Ipv4Addr::UNSPECIFIED, tos: 0, ttl: None, octets: &[] };
}

/// A control message with an int; as long as CMSG_SPACE says, as its alignment is the header's.
#[repr(C)]
#[derive(Clone, Copy)]
struct Setting {
    header: cmsghdr,
    value: c_int,
}

impl Setting {
    fn new(option: c_int, value: u8) -> Self {
        // SAFETY: all zeroes is a valid cmsghdr: numbers only.
        let mut header: cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = (size_of::<cmsghdr>() + size_of::<c_int>()) as _;
        header.cmsg_level = libc::IPPROTO_IP;
        header.cmsg_type = option;
        Self { header, value: value.into() }
    }
}

/// Sends as many of `datagrams` as the socket takes at once, at most [`BATCH`]; result: how many,
/// from the first on. Error: the first was not sent, or the socket tells of an earlier one.
pub fn send_datagrams(socket: BorrowedFd<'_>, datagrams: &[Datagram<'_>]) -> nix::Result<usize> {
    // SAFETY: all zeroes is valid for each: numbers, and pointers that are null.
    let mut headers: [mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut parts: [iovec; BATCH] = unsafe { mem::zeroed() };
    let mut names = [SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH];
    // SAFETY: as above.
    let mut settings: [[Setting; 2]; BATCH] = unsafe { mem::zeroed() };
    let mut count: c_uint = 0;
    let places = headers.iter_mut().zip(&mut parts).zip(&mut names).zip(&mut settings);
    for ((((message, part), name), settings), datagram) in places.zip(datagrams) {
        *name = SocketAddrV4::new(datagram.to, 0).into();
        // The kernel only reads both.
        part.iov_base = datagram.octets.as_ptr().cast_mut().cast();
        part.iov_len = datagram.octets.len();
        let tos = (datagram.tos != 0).then(|| Setting::new(libc::IP_TOS, datagram.tos));
        let ttl = datagram.ttl.map(|ttl| Setting::new(libc::IP_TTL, ttl));
        let mut used = 0;
        for (place, setting) in settings.iter_mut().zip(tos.into_iter().chain(ttl)) {
            *place = setting;
            used += size_of::<Setting>();
        }
        let header = &mut message.msg_hdr;
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = part;
        header.msg_iovlen = 1;
        if used > 0 {
            header.msg_control = settings.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let (socket, headers) = (socket.as_raw_fd(), headers.as_mut_ptr());
    // SAFETY: `count` headers are filled in, and what they point to outlives the call.
    let sent = Errno::result(unsafe { libc::sendmmsg(socket, headers, count, flags as _) })?;
    Ok(usize::try_from(sent).unwrap_or_default())
}

/// Receives datagrams, IPv4 header first, each into the next `each` octets of `room`, at most
/// [`BATCH`]. Puts their lengths into `lengths`; result: how many. Error: there is none (EAGAIN), or
/// the socket tells of one that was sent.
pub fn receive_datagrams(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    each: usize,
    lengths: &mut [usize; BATCH],
) -> nix::Result<usize> {
    // SAFETY: all zeroes is valid for both: numbers, and pointers that are null.
    let mut headers: [mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut parts: [iovec; BATCH] = unsafe { mem::zeroed() };
    let mut count: c_uint = 0;
    let places = headers.iter_mut().zip(&mut parts).zip(room.chunks_exact_mut(each));
    for ((message, part), buffer) in places {
        part.iov_base = buffer.as_mut_ptr().cast();
        part.iov_len = buffer.len();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    let (socket, list) = (socket.as_raw_fd(), headers.as_mut_ptr());
    let flags = libc::MSG_DONTWAIT as _;
    let never = std::ptr::null_mut();
    // SAFETY: `count` headers are filled in; they point to parts of `room` that do not overlap, and
    // all of it is borrowed for the call.
    let got = Errno::result(unsafe { libc::recvmmsg(socket, list, count, flags, never) })?;
    let got = usize::try_from(got).unwrap_or_default();
    for (length, message) in lengths.iter_mut().zip(&headers).take(got) {
        *length = usize::try_from(message.msg_len).unwrap_or_default();
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
    };
    use nix::sys::time::TimeVal;

    use super::*;

    /// What is sent is there at once: the loopback may keep datagrams for a moment.
    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
    }

    fn say(sender: &OwnedFd, octets: &[u8]) {
        send(sender.as_raw_fd(), octets, MsgFlags::empty()).unwrap();
    }

    #[test]
    fn receives_as_many_as_are_there() {
        let (sender, receiver) = pair();
        let mut lengths = [0; BATCH];
        let mut room = vec![0; 16 * BATCH];
        let none = receive_datagrams(receiver.as_fd(), &mut room, 16, &mut lengths);
        assert_eq!(none, Err(Errno::EAGAIN));
        for length in 1..=40_u8 {
            say(&sender, &vec![length; length.min(16).into()]);
        }
        let got = receive_datagrams(receiver.as_fd(), &mut room, 16, &mut lengths);
        assert_eq!(got, Ok(BATCH));
        for (index, (length, buffer)) in lengths.iter().zip(room.chunks(16)).enumerate() {
            assert_eq!(*length, (index + 1).min(16));
            assert!(buffer[..*length].iter().all(|octet| usize::from(*octet) == index + 1));
        }
        assert_eq!(receive_datagrams(receiver.as_fd(), &mut room, 16, &mut lengths), Ok(8));
        // Less room, fewer datagrams.
        say(&sender, b"1");
        say(&sender, b"2");
        assert_eq!(receive_datagrams(receiver.as_fd(), &mut room[..31], 16, &mut lengths), Ok(1));
    }

    /// A raw socket of a protocol for experiments (RFC 3692); needs root.
    fn raw() -> OwnedFd {
        // SAFETY: no memory is involved.
        let number =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 253) };
        assert!(number >= 0, "these tests run as root");
        // SAFETY: just opened, and nobody else's.
        unsafe { OwnedFd::from_raw_fd(number) }
    }

    #[test]
    fn sends_each_as_it_says() {
        let (sender, receiver) = (raw(), raw());
        // Nobody else's: others may run these tests, too.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let to = Ipv4Addr::new(127, a | 0x80, b, c);
        let datagrams = [
            Datagram { to, tos: 0, ttl: None, octets: b"plain" },
            Datagram { to, tos: 2, ttl: None, octets: b"tos" },
            Datagram { to, tos: 0, ttl: Some(9), octets: b"ttl" },
            Datagram { to, tos: 1, ttl: Some(255), octets: b"both" },
        ];
        assert_eq!(send_datagrams(sender.as_fd(), &datagrams), Ok(4));
        assert_eq!(send_datagrams(sender.as_fd(), &[]), Ok(0));
        let (mut room, mut lengths) = (vec![0; 64 * BATCH], [0; BATCH]);
        let mut seen = Vec::new();
        setsockopt(&receiver, sockopt::ReceiveTimeout, &TimeVal::new(30, 0)).unwrap();
        // Other packets may come, and ours not all at once.
        while seen.len() < datagrams.len() {
            recv(receiver.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK).expect("packets");
            let got = receive_datagrams(receiver.as_fd(), &mut room, 64, &mut lengths).unwrap();
            let packets = room.chunks(64).zip(lengths).take(got);
            let packets = packets.map(|(buffer, len)| &buffer[..len]);
            let ours = packets.filter(|packet| packet[16..20] == to.octets());
            seen.extend(ours.map(|packet| (packet[1], packet[8], packet[20..].to_vec())));
        }
        let want: [(u8, u8, &[u8]); 4] =
            [(0, 64, b"plain"), (2, 64, b"tos"), (0, 9, b"ttl"), (1, 255, b"both")];
        let want = want.map(|(tos, ttl, octets)| (tos, ttl, octets.to_vec()));
        assert_eq!(seen, want);
    }
}
