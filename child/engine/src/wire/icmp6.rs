//! ICMPv6 in IPv6, without extension headers between them (RFC 8200 section 3, RFC 4443 section 2.1).

use std::net::Ipv6Addr;

use pnet_packet::ip::IpNextHeaderProtocols::Icmpv6;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet_packet::util::ipv6_checksum;
use thiserror::Error;

/// Octets of an IPv6 header.
pub(super) const HEADER: usize = 40;
/// The hop limit of Neighbor Discovery: no router has forwarded the packet (RFC 4861 section 3.1).
pub const ND_HOP_LIMIT: u8 = 255;
/// Where the checksum is, in words of 16 bits.
const CHECKSUM: usize = 1;
/// No word is the checksum: the sum is of all.
const NONE: usize = usize::MAX;

/// An ICMPv6 message and what its IPv6 header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The IPv6 source address.
    pub source: Ipv6Addr,
    /// The IPv6 destination address.
    pub destination: Ipv6Addr,
    /// The hop limit.
    pub hop_limit: u8,
    /// From the ICMPv6 type on; at least 4 octets.
    pub message: &'a [u8],
}

/// Why a packet is not used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Broken {
    /// It is shorter than an IPv6 header with four octets of ICMPv6, or than its header says.
    #[error("packet too short")]
    TooShort,
    /// Its version is not 6.
    #[error("not IPv6")]
    Version,
    /// ICMPv6 does not follow the IPv6 header at once: Neighbor Discovery is never fragmented
    /// (RFC 6980 section 5), and nobody has a use for other extension headers before it.
    #[error("next header not ICMPv6")]
    NextHeader,
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
}

/// An IPv6 packet with hop limit 255 that carries `message`, an ICMPv6 message of at least 4 octets;
/// the checksum is filled in.
pub fn packet(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    if let Some(mut header) = MutableIpv6Packet::new(&mut packet) {
        header.set_version(6);
        header.set_payload_length(u16::try_from(message.len()).unwrap_or(u16::MAX));
        header.set_next_header(Icmpv6);
        header.set_hop_limit(ND_HOP_LIMIT);
        header.set_source(source);
        header.set_destination(destination);
    }
    packet.extend_from_slice(message);
    let sum = ipv6_checksum(message, CHECKSUM, &[], &source, &destination, Icmpv6);
    if let Some(field) = packet.get_mut(HEADER..).and_then(|m| m.get_mut(2..4)) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Reads an IPv6 packet that came through the tunnel. What is behind the end that its header states
/// is padding (RFC 4213 section 3.6).
pub fn open(packet: &[u8]) -> Result<Opened<'_>, Broken> {
    let header = Ipv6Packet::new(packet).ok_or(Broken::TooShort)?;
    if header.get_version() != 6 {
        return Err(Broken::Version);
    }
    if header.get_next_header() != Icmpv6 {
        return Err(Broken::NextHeader);
    }
    let length = usize::from(header.get_payload_length());
    let rest = packet.get(HEADER..).ok_or(Broken::TooShort)?;
    let message = rest.get(..length).filter(|m| m.len() >= 4).ok_or(Broken::TooShort)?;
    let (source, destination) = (header.get_source(), header.get_destination());
    // The sum over all, checksum included, is zero, whichever of its two zeros was sent.
    if ipv6_checksum(message, NONE, &[], &source, &destination, Icmpv6) != 0 {
        return Err(Broken::Checksum);
    }
    Ok(Opened { source, destination, hop_limit: header.get_hop_limit(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Router Solicitation of the Linux kernel.
    fn solicitation() -> Vec<u8> {
        let source = "fe80::5efe:a00:105".parse().unwrap();
        packet(source, "ff02::2".parse().unwrap(), &[133, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn there_and_back() {
        let packet = solicitation();
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 8, 58, 255]);
        assert_eq!(packet[40..], [0x85, 0, 0x13, 0x34, 0, 0, 0, 0]);
        let opened = open(&packet).unwrap();
        assert_eq!(opened.source, "fe80::5efe:a00:105".parse::<Ipv6Addr>().unwrap());
        assert_eq!(opened.destination, "ff02::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!((opened.hop_limit, opened.message), (255, &packet[40..]));
        let padded = [&packet[..], &[1; 9]].concat();
        assert_eq!(open(&padded), open(&packet));
    }

    #[test]
    fn an_odd_message_has_a_checksum_too() {
        let (source, destination) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        assert!(open(&packet(source, destination, &[128, 0, 0, 0, 1])).is_ok());
    }

    #[test]
    fn broken_packets() {
        let good = solicitation();
        for length in 0..good.len() {
            assert_eq!(open(&good[..length]), Err(Broken::TooShort), "{length} octets");
        }
        let with = |at: usize, octet: u8| {
            let mut packet = good.clone();
            packet[at] = octet;
            packet
        };
        assert_eq!(open(&with(0, 0x40)), Err(Broken::Version));
        assert_eq!(open(&with(5, 3)), Err(Broken::TooShort));
        // Also with what the Fragment header is said to hide.
        for next in (0..=255).filter(|next| *next != 58) {
            assert_eq!(open(&with(6, next)), Err(Broken::NextHeader));
        }
        for at in (8..good.len()).filter(|at| *at != 7) {
            let flipped = with(at, good[at] ^ 0x10);
            assert_eq!(open(&flipped), Err(Broken::Checksum), "octet {at}");
        }
    }
}
