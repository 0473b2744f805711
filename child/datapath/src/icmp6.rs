//! ICMPv6 errors that we make (RFC 4443).

use std::net::Ipv6Addr;
use std::time::Duration;

use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Type, MutableIcmpv6Packet, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

use crate::header::{Carried, Header, IPV6_HEADER, carried, icmp, is_never_source};
use crate::{Bucket, Counter, Instant, LONGEST_ERROR, Path};

/// All errors of one budget: 20 at once and 10 a second (RFC 4443 section 2.4 (f)).
pub(crate) const ERRORS: Bucket = Bucket::new(20, Duration::from_millis(100));
/// Octets before what is quoted: IPv6 header, type, code, checksum, a word.
const BEFORE_QUOTE: usize = IPV6_HEADER + 8;

/// An error about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Type 1.
    Unreachable(Unreachable),
    /// Type 2: the MTU.
    TooBig(u16),
}

/// The codes of Destination Unreachable (RFC 4443 section 3.1) that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    NoRoute = 0,
    BeyondScope = 2,
    Address = 3,
}

impl Error {
    /// Type, code and word.
    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::Unreachable(code) => (1, code as u8, 0),
            Self::TooBig(mtu) => (2, 0, mtu as u32),
        }
    }

    /// What counts the packets that it is about.
    pub(crate) const fn counter(self) -> Counter {
        match self {
            Self::Unreachable(Unreachable::NoRoute) => Counter::NoRoute,
            Self::Unreachable(Unreachable::BeyondScope) => Counter::Scope,
            Self::Unreachable(Unreachable::Address) => Counter::NoNeighbour,
            Self::TooBig(_) => Counter::TooBig,
        }
    }

    /// Writes the error about `packet` to its `source`; its length. `None` if `into` is too short.
    fn write(
        self,
        from: Ipv6Addr,
        source: Ipv6Addr,
        packet: &[u8],
        into: &mut [u8],
    ) -> Option<usize> {
        let room = into.len().min(LONGEST_ERROR).checked_sub(BEFORE_QUOTE)?;
        let quoted = packet.get(..room).unwrap_or(packet);
        let length = BEFORE_QUOTE.checked_add(quoted.len())?;
        let (header, message) = into.get_mut(..length)?.split_at_mut_checked(IPV6_HEADER)?;

        header.fill(0);
        let mut view = MutableIpv6Packet::new(header)?;
        view.set_version(6);
        view.set_payload_length(message.len().try_into().ok()?);
        view.set_next_header(IpNextHeaderProtocols::Icmpv6);
        view.set_hop_limit(64);
        view.set_source(from);
        view.set_destination(source);

        let (kind, code, word) = self.fields();
        message.get_mut(4..8)?.copy_from_slice(&word.to_be_bytes());
        message.get_mut(8..)?.copy_from_slice(quoted);
        let mut view = MutableIcmpv6Packet::new(message)?;
        view.set_icmpv6_type(Icmpv6Type(kind));
        view.set_icmpv6_code(Icmpv6Code(code));
        view.set_checksum(0);
        let sum = checksum(&Icmpv6Packet::new(message)?, &from, &source);
        MutableIcmpv6Packet::new(message)?.set_checksum(sum);
        Some(length)
    }
}

impl Path {
    /// Puts `error` about `packet` into `answer`; its length. `None` if the packet must not be
    /// answered (RFC 4443 section 2.4 (e)), if we have no address, or if the budget is spent.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        error: Error,
        header: &Header,
        packet: &[u8],
        answer: &mut [u8],
    ) -> Option<usize> {
        let from = self.table.error_source?;
        if !may_be_answered(header, packet) {
            return None;
        }
        // Without Packet Too Big no path MTU is found; anybody can cause the others.
        let budget = match error {
            Error::TooBig(_) => &mut self.too_big,
            Error::Unreachable(_) => &mut self.errors,
        };
        if !budget.take(now) {
            self.counters.add(Counter::ErrorsRefused, 1);
            return None;
        }
        let length = error.write(from, header.source, packet, answer)?;
        self.counters.add(Counter::Told, 1);
        Some(length)
    }
}

/// Not an error or a redirect, nor what may be one, nor from or to more than one node.
fn may_be_answered(header: &Header, packet: &[u8]) -> bool {
    let answerable = match carried(packet, header.next) {
        Carried::Icmp { kind, .. } => kind >= 128 && kind != icmp::REDIRECT,
        Carried::Fragment | Carried::Unclear => false,
        Carried::Other => true,
    };
    answerable && !is_never_source(header.source) && !header.destination.is_multicast()
}
