//! What IPv4 says of packets that did not pass (RFC 5214 section 7.2, RFC 4213 section 3.4).

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::{MtuMethod, UnicastV4};

use crate::header::{Carried, Header, carried, icmp, is_never_source};
use crate::icmp6::{Error, Unreachable};
use crate::pmtu::fit;
use crate::{Bucket, Failure, Instant, Origin, Path, Role};

/// Destination Unreachable, Time Exceeded and Parameter Problem (RFC 792).
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// Code of type 3: longer than the next link's MTU, and DF is set.
const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of type 11: the TTL ran out on the way.
const IN_TRANSIT: u8 = 0;

/// All hints together: 10 at once and one a second.
pub(crate) const SUSPECTS: Bucket = Bucket::new(10, Duration::from_secs(1));

/// What follows of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// Octets of an ICMPv6 error in the buffer, to be written to the TUN interface.
    pub answer: Option<usize>,
    /// The way to this router of the PRL may have failed: a hint for the engine (RFC 5214 section
    /// 7.2), not often, which anybody on the way can forge.
    pub suspect: Option<Ipv4Addr>,
}

/// What is meant.
enum Meaning {
    /// The packet was longer than this.
    TooLong { mtu: u32, by_us: bool },
    /// It did not get there.
    Unreachable,
    /// Something is wrong on the way.
    Doubt,
}

impl Meaning {
    const fn of(origin: Origin) -> Option<Self> {
        Some(match origin {
            Origin::TooLong { mtu } => Self::TooLong { mtu, by_us: true },
            Origin::Icmp { kind: UNREACHABLE, code: FRAGMENTATION_NEEDED, mtu } => {
                Self::TooLong { mtu, by_us: false }
            }
            // ICMPv6 Time Exceeded would say that the IPv6 hops ran out.
            Origin::Icmp { kind: UNREACHABLE, .. }
            | Origin::Icmp { kind: TIME_EXCEEDED, code: IN_TRANSIT, .. }
            | Origin::Local => Self::Unreachable,
            Origin::Icmp { kind: TIME_EXCEEDED | PARAMETER_PROBLEM, .. } => Self::Doubt,
            Origin::Icmp { .. } => return None,
        })
    }
}

impl Path {
    /// Takes in what became of a packet that was sent. An error about it, if its sender is told, is
    /// put into `answer`.
    pub fn failed(
        &mut self,
        now: Instant,
        failure: &Failure<'_>,
        answer: &mut [u8],
    ) -> Consequence {
        let &Failure { to, origin, quoted } = failure;
        let header = Header::parse(quoted);
        let Some(meaning) = Meaning::of(origin) else { return Consequence::default() };
        if UnicastV4::try_from(to).is_err() || header.is_some_and(|h| !self.may_have_sent(&h, to)) {
            return Consequence::default();
        }
        let (error, suspect) = match meaning {
            Meaning::TooLong { mtu, by_us } => {
                let dynamic = self.table.mtu_method == Some(MtuMethod::Dynamic);
                if !dynamic || !self.paths.learn(now, to, mtu, by_us) {
                    return Consequence::default();
                }
                let limit = fit(&self.table, &self.paths, now, to).limit;
                // What is not longer goes through when it is sent again, in fragments.
                let longer = header.is_some_and(|header| header.length > limit.into());
                (longer.then_some(Error::TooBig(limit)), None)
            }
            Meaning::Unreachable => (Some(Error::Unreachable(Unreachable::Address)), Some(to)),
            Meaning::Doubt => (None, Some(to)),
        };
        let about = error.zip(header).filter(|(_, header)| !self.is_discovery(header, quoted));
        let answer = about.and_then(|(error, h)| self.tell(now, error, &h, quoted, answer));
        let suspect = suspect.filter(|to| self.table.is_router(*to) && self.suspects.take(now));
        Consequence { answer, suspect }
    }

    /// Whether it is a Neighbour Discovery message of our own: the engine sends these, and the kernel,
    /// which would be told, knows nothing of them.
    fn is_discovery(&self, header: &Header, quoted: &[u8]) -> bool {
        let carried = carried(quoted, header.next);
        self.table.own.contains(&header.source)
            && matches!(
                carried,
                Carried::Icmp { kind: icmp::ROUTER_SOLICITATION..=icmp::REDIRECT, .. }
            )
    }

    /// Whether the packet with this header can be one that we sent to `to`.
    fn may_have_sent(&self, header: &Header, to: Ipv4Addr) -> bool {
        let &Header { source, destination, .. } = header;
        let forwarded = self.table.role == Role::Router
            && !is_never_source(source)
            && !source.is_unicast_link_local();
        let by_us = self.table.own.contains(&source);
        // The engine solicits all routers of the link, each by itself.
        let solicitation = destination.is_multicast() && by_us;
        solicitation || (by_us || forwarded) && self.table.may_go_by(destination, to)
    }
}
