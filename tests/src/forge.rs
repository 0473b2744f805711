//! Forged Router Advertisements in IPv4 protocol 41, good in every respect but what a test changes.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use isatapd_proto::{MAX_ADDRESSES, OnLinkPrefix};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendmsg, socket,
};

use crate::netns::within;

/// One Router Advertisement (RFC 4861 section 4.2), by default as router1 would send it to host.
#[derive(Clone, Debug)]
pub struct Advert {
    /// Outer source.
    pub from4: Ipv4Addr,
    /// Inner source.
    pub from6: Ipv6Addr,
    /// Hop limit; good is 255.
    pub hops: u8,
    /// ICMPv6 code; good is 0.
    pub code: u8,
    /// Router lifetime in seconds.
    pub lifetime: u16,
    /// Option bytes.
    pub options: Vec<u8>,
    /// Cut the ICMPv6 message to so many bytes.
    pub cut: usize,
    /// Whether the ICMPv6 checksum is right.
    pub good_sum: bool,
}

impl Default for Advert {
    fn default() -> Self {
        Self {
            from4: Ipv4Addr::new(10, 0, 0, 101),
            from6: isatap(Ipv4Addr::new(10, 0, 0, 101)),
            hops: 255,
            code: 0,
            lifetime: 1800,
            options: Vec::new(),
            cut: usize::MAX,
            good_sum: true,
        }
    }
}

/// The link-local address of a private IPv4 address (RFC 5214 section 6.1).
pub fn isatap(v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets().map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5efe, a << 8 | b, c << 8 | d)
}

/// The other form of it: the universal bit is set, as for a public IPv4 address.
pub fn universal(private: Ipv6Addr) -> Ipv6Addr {
    let mut octets = private.octets();
    octets[8] |= 2;
    octets.into()
}

/// A Prefix Information option (RFC 4861 section 4.6.2) with flags L and A; lifetimes in seconds.
pub fn prefix_option(prefix: OnLinkPrefix, valid: u32, preferred: u32) -> Vec<u8> {
    let mut option = vec![3, 4, 64, 0xc0];
    option.extend(valid.to_be_bytes());
    option.extend(preferred.to_be_bytes());
    option.extend([0; 4]);
    option.extend(prefix.net().addr().octets());
    option
}

/// An MTU option (RFC 4861 section 4.6.4).
pub fn mtu_option(mtu: u32) -> Vec<u8> {
    let mut option = vec![5, 1, 0, 0];
    option.extend(mtu.to_be_bytes());
    option
}

impl Advert {
    /// Adds option bytes.
    #[must_use]
    pub fn with(mut self, option: &[u8]) -> Self {
        self.options.extend(option);
        self
    }

    /// Sends it from that namespace to `to4`, in IPv4 and IPv6.
    pub fn send(&self, namespace: &str, to4: Ipv4Addr) {
        let packet = self.packet(to4, isatap(to4));
        within(namespace, || send(&packet, to4)).expect("send a forged advertisement");
    }

    fn packet(&self, to4: Ipv4Addr, to6: Ipv6Addr) -> Vec<u8> {
        packet((self.from4, to4), (self.from6, to6), self.hops, &self.message(to6))
    }

    fn message(&self, to6: Ipv6Addr) -> Vec<u8> {
        let mut message = vec![134, self.code, 0, 0, 64, 0];
        message.extend(self.lifetime.to_be_bytes());
        message.extend([0; 8]); // reachable time, retransmission timer
        message.extend(&self.options);
        message.truncate(self.cut);
        let sum = checksum(self.from6, to6, &message) ^ u16::from(!self.good_sum);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }
}

/// A Router Solicitation (RFC 4861 section 4.1) in IPv4 and IPv6.
pub fn solicitation(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let (from6, to6) = (isatap(from), isatap(to));
    let mut message = [133, 0, 0, 0, 0, 0, 0, 0];
    let sum = checksum(from6, to6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet((from, to), (from6, to6), 255, &message)
}

/// Sends a solicited Neighbor Advertisement (RFC 4861 section 4.4) of `router` to a host, from
/// another IPv4 address.
pub fn neighbour_advert(namespace: &str, from: Ipv4Addr, router: Ipv4Addr, to: Ipv4Addr) {
    let (from6, to6) = (isatap(router), isatap(to));
    let mut message = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    message.extend(from6.octets());
    let sum = checksum(from6, to6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = packet((from, to), (from6, to6), 255, &message);
    within(namespace, || send(&packet, to)).expect("send a forged advertisement");
}

/// Both headers, from the first to the second of each pair, and an ICMPv6 message.
fn packet(
    outer: (Ipv4Addr, Ipv4Addr),
    inner: (Ipv6Addr, Ipv6Addr),
    hops: u8,
    message: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(length(20 + 40 + message.len()));
    packet.extend([0, 0, 0, 0, 64, 41, 0, 0]); // the kernel fills in identification and sum
    packet.extend(outer.0.octets());
    packet.extend(outer.1.octets());
    packet.extend([0x60, 0, 0, 0]);
    packet.extend(length(message.len()));
    packet.extend([58, hops]);
    packet.extend(inner.0.octets());
    packet.extend(inner.1.octets());
    packet.extend(message);
    packet
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).expect("a packet of less than 64 KiB").to_be_bytes()
}

/// The checksum of an ICMPv6 message (RFC 4443 section 2.3); over one with its checksum in it, 0.
pub fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let mut all = [from.octets(), to.octets()].concat();
    all.extend([0, 0, length(message.len())[0], length(message.len())[1], 0, 0, 0, 58]);
    all.extend(message);
    let words = all.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

fn send(packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
    let socket =
        socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(packet)], &[], MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// One prefix option more than there may be addresses, each of another prefix.
pub fn too_many_prefixes() -> Vec<u8> {
    let net = |n: usize| {
        let n = u16::try_from(n).expect("a small number");
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, n, 0, 0, 0, 0);
        OnLinkPrefix::try_from(address).expect("a documentation prefix")
    };
    (0..=MAX_ADDRESSES).flat_map(|n| prefix_option(net(n), 86_400, 14_400)).collect()
}
