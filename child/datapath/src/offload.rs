//! Packets that a kernel left unfinished. Receive offload merges TCP packets inside protocol 41 before
//! a raw socket sees them (Linux net/ipv6/ip6_offload.c), and a sender on the same machine leaves both
//! cutting and summing to hardware that is not there. The checksum of such a packet is the sum of its
//! pseudo-header only. The TUN interface takes it for finished, so it is finished here.
//!
//! How long the packets were before is not known. UDP datagrams that were merged cannot be told from
//! one that is long, and stay whole.

use std::ops::Range;

use crate::IPV4_HEADER;
use crate::header::{IPV6_HEADER, protocol};

/// Octets of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Octets of an IPv6 header and the longest TCP header.
const LONGEST_HEAD: usize = IPV6_HEADER + 60;
/// Where in an IPv6 packet these are; TCP's as RFC 9293 section 3.1 has them.
const PAYLOAD_LENGTH: usize = 4;
const ADDRESSES: Range<usize> = 8..IPV6_HEADER;
const SEQUENCE: usize = IPV6_HEADER + 4;
const OFFSET: usize = IPV6_HEADER + 12;
const FLAGS: usize = IPV6_HEADER + 13;
const TCP_SUM: usize = IPV6_HEADER + 16;
const UDP_SUM: usize = IPV6_HEADER + 6;

/// TCP flags.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// Where the checksum of an unfinished packet is, if this is one whose header is followed by `next`. A
/// whole checksum may happen to look like that: finished again, it stays as it is.
pub(crate) fn unfinished(packet: &[u8], next: u8) -> Option<usize> {
    let place = match next {
        protocol::TCP => TCP_SUM,
        protocol::UDP => UDP_SUM,
        _ => return None,
    };
    let found = packet.get(place..)?.first_chunk()?;
    let upper = packet.len().checked_sub(IPV6_HEADER)?;
    let pseudo = pseudo(packet.get(ADDRESSES)?, upper, next);
    (fold(pseudo) == u16::from_ne_bytes(*found)).then_some(place)
}

/// Puts the whole checksum at `place`, which has the pseudo-header's sum.
pub(crate) fn finish(packet: &mut [u8], place: usize) {
    let sum = !fold(sum(packet.get(IPV6_HEADER..).unwrap_or_default()));
    // RFC 8200 section 8.1: in UDP zero says that there is none. Both are zero to TCP.
    let sum = if sum == 0 && place == UDP_SUM { u16::MAX } else { sum };
    put(packet, place, sum.to_ne_bytes());
}

/// A TCP packet that is cut, as the kernel would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The headers of the next segment, so many octets.
    head: [u8; LONGEST_HEAD],
    length: usize,
    /// What is left of the data, where it is in the datagram.
    left: Range<usize>,
    /// How much of it goes into a segment.
    each: usize,
    /// FIN and PSH, if the last has them.
    last: u8,
}

impl Segments {
    /// Of an unfinished TCP packet, each of at most `limit` octets. `None` if it cannot be cut.
    pub(crate) fn of(packet: &[u8], limit: usize) -> Option<Self> {
        let offset = usize::from(packet.get(OFFSET)? >> 4).saturating_mul(4);
        let length = IPV6_HEADER.saturating_add(offset);
        let flags = *packet.get(FLAGS)?;
        if offset < TCP_HEADER || flags & (SYN | RST | URG) != 0 {
            return None;
        }
        let mut head = [0; LONGEST_HEAD];
        head.get_mut(..length)?.copy_from_slice(packet.get(..length)?);
        head[FLAGS] = flags & !(FIN | PSH);
        let place = |at: usize| IPV4_HEADER.saturating_add(at);
        let left = place(length)..place(packet.len());
        let each = limit.checked_sub(length)?;
        Some(Self { head, length, left, each, last: flags & (FIN | PSH) })
    }

    /// Makes the next segment within the datagram, over what was sent before; where it is.
    pub fn next(&mut self, datagram: &mut [u8]) -> Option<Range<usize>> {
        let size = self.left.len().min(self.each);
        if size == 0 {
            return None;
        }
        let end = self.left.start.saturating_add(size);
        let range = self.left.start.checked_sub(self.length)?..end;
        self.left.start = end;
        if self.left.is_empty() {
            self.head[FLAGS] |= self.last;
        }
        let upper = range.len().checked_sub(IPV6_HEADER)?;
        put(&mut self.head, PAYLOAD_LENGTH, u16::try_from(upper).ok()?.to_be_bytes());
        let pseudo = fold(pseudo(self.head.get(ADDRESSES)?, upper, protocol::TCP));
        put(&mut self.head, TCP_SUM, pseudo.to_ne_bytes());

        let segment = datagram.get_mut(range.clone())?;
        segment.get_mut(..self.length)?.copy_from_slice(self.head.get(..self.length)?);
        finish(segment, TCP_SUM);

        let sequence = u32::from_be_bytes(*self.head.get(SEQUENCE..)?.first_chunk()?);
        let sequence = sequence.wrapping_add(u32::try_from(size).ok()?);
        put(&mut self.head, SEQUENCE, sequence.to_be_bytes());
        self.head[FLAGS] &= !CWR;
        Some(range)
    }
}

fn put<const N: usize>(packet: &mut [u8], at: usize, octets: [u8; N]) {
    if let Some(place) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = octets;
    }
}

/// The sum of the pseudo-header (RFC 8200 section 8.1).
fn pseudo(addresses: &[u8], upper: usize, next: u8) -> u64 {
    let [high, low] = u16::try_from(upper).unwrap_or_default().to_be_bytes();
    sum(addresses).wrapping_add(sum(&[high, low, 0, next]))
}

/// The sum of words in the order that this machine reads them, which RFC 1071 section 2 (B) allows.
/// No packet is so long that it overflows.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks();
    let mut last = [0; 4];
    for (place, octet) in last.iter_mut().zip(rest) {
        *place = *octet;
    }
    let add = |sum: u64, word: &[u8; 4]| sum.wrapping_add(u32::from_ne_bytes(*word).into());
    words.iter().fold(add(0, &last), add)
}

/// The ones' complement sum of 16 bits.
const fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    u16::from_be_bytes([high, low])
}
