//! What the two threads say to each other: an octet that tells what it is, then perhaps an IPv4
//! address, then perhaps a packet; or slots.

use std::net::Ipv4Addr;

use isatapd_datapath::LONGEST;

/// Octets before a packet.
pub(super) const BEFORE_PACKET: usize = 1 + 4;
/// Octets of room for one message.
pub(crate) const LONGEST_MESSAGE: usize = BEFORE_PACKET + LONGEST;

const WAKE: u8 = 0;
const PACKET: u8 = 1;
const SUSPECT: u8 = 2;
const BARRIER: u8 = 3;
const TRAFFIC: u8 = 4;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// There is something in the mailbox.
    Wake,
    /// An IPv6 packet, and the outer address: where it came from, or where it is to go.
    Packet(Ipv4Addr, &'a [u8]),
    /// The way to this router may have failed.
    Suspect(Ipv4Addr),
    /// Packets went to these routers, a bit for each slot.
    Traffic(u64),
    /// To the loop: say this again when all that came before is done. From there: it is, up to the
    /// barrier of this number.
    Barrier(u64),
}

impl<'a> Message<'a> {
    /// `None` if it is of no kind; only we ourselves write them.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        Some(match (*kind, rest.split_first_chunk::<4>()) {
            (WAKE, _) => Self::Wake,
            (PACKET, Some((address, packet))) => Self::Packet(Ipv4Addr::from(*address), packet),
            (SUSPECT, Some((address, _))) => Self::Suspect(Ipv4Addr::from(*address)),
            (BARRIER, _) => Self::Barrier(u64::from_ne_bytes(*rest.first_chunk()?)),
            (TRAFFIC, _) => Self::Traffic(u64::from_ne_bytes(*rest.first_chunk()?)),
            _ => return None,
        })
    }

    /// What stands before a packet.
    pub(super) fn before_packet(address: Ipv4Addr) -> [u8; BEFORE_PACKET] {
        let [a, b, c, d] = address.octets();
        [PACKET, a, b, c, d]
    }

    pub(super) fn octets(self) -> Vec<u8> {
        match self {
            Self::Wake => vec![WAKE],
            Self::Packet(address, packet) => [&Self::before_packet(address), packet].concat(),
            Self::Suspect(address) => [&[SUSPECT][..], &address.octets()].concat(),
            Self::Barrier(number) => [&[BARRIER][..], &number.to_ne_bytes()].concat(),
            Self::Traffic(slots) => [&[TRAFFIC][..], &slots.to_ne_bytes()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_read_as_written() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        for message in [
            Message::Wake,
            Message::Packet(address, b"packet"),
            Message::Suspect(address),
            Message::Barrier(7),
            Message::Traffic(1 << 63 | 2),
        ] {
            assert_eq!(Message::parse(&message.octets()), Some(message));
        }
        for broken in
            [&[][..], &[5], &[PACKET, 10, 0, 0], &[SUSPECT], &[BARRIER, 0, 0, 0], &[TRAFFIC, 1]]
        {
            assert_eq!(Message::parse(broken), None);
        }
    }
}
