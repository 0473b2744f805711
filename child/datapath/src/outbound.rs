//! From the TUN interface to IPv4.

use std::net::Ipv4Addr;

use isatapd_proto::{Slot, UnicastV4};

use crate::header::{Carried, Header, carried, icmp};
use crate::icmp6::Error;
use crate::next_hop::Refusal;
use crate::pmtu::fit;
use crate::{Counter, Instant, Outbound, Outer, Path};

impl Path {
    /// Judges a packet that the kernel wrote to the TUN interface. An error that is made of it is
    /// put into `answer`, which should have room for [`LONGEST_ERROR`](crate::LONGEST_ERROR).
    pub fn outbound(&mut self, now: Instant, packet: &[u8], answer: &mut [u8]) -> Outbound {
        let header = match self.check(packet) {
            Ok(header) => header,
            Err(counter) => return self.drop(counter),
        };
        match self.judge(now, &header) {
            Ok((outer, slot)) => {
                self.goes_by(slot);
                Outbound::Send(outer)
            }
            Err(Refusal::Silent(counter)) => self.drop(counter),
            Err(Refusal::Told(error)) => {
                self.counters.add(error.counter(), 1);
                self.tell(now, error, &header, packet, answer)
                    .map_or(Outbound::Drop(error.counter()), Outbound::Answer)
            }
        }
    }

    /// How to send a packet of the engine's own (a solicitation, an advertisement) to `to`.
    pub fn own(&self, to: Ipv4Addr, packet: &[u8]) -> Outbound {
        let Some(header) = whole(packet) else { return self.drop(Counter::NotIpv6) };
        if self.table.locator.is_none() {
            self.drop(Counter::NoLocator)
        } else if self.table.own_v4.contains(&to) {
            self.drop(Counter::ToOurselves)
        } else if UnicastV4::try_from(to).is_err() || self.table.broadcasts.contains(&to) {
            self.drop(Counter::NoNeighbour)
        } else {
            // There is nobody to tell that it is too long.
            Outbound::Send(self.outer(&header, to, true))
        }
    }

    /// What can be said of a packet by itself.
    fn check(&self, packet: &[u8]) -> Result<Header, Counter> {
        if self.table.locator.is_none() {
            return Err(Counter::NoLocator);
        }
        let header = whole(packet).ok_or(Counter::NotIpv6)?;
        match carried(packet, header.next) {
            _ if header.destination.is_multicast() => Err(Counter::Multicast),
            Carried::Icmp {
                kind:
                    icmp::LISTENER_QUERY..=icmp::LISTENER_DONE
                    | icmp::ROUTER_SOLICITATION
                    | icmp::ROUTER_ADVERTISEMENT
                    | icmp::REDIRECT
                    | icmp::LISTENER_REPORT_2,
                ..
            } => Err(Counter::KernelDiscovery),
            _ if self.table.loops_out(&header) => Err(Counter::LoopOut),
            _ => Ok(header),
        }
    }

    /// Where to send a packet, and how, if it fits; and the place of the router that it goes by.
    fn judge(&self, now: Instant, header: &Header) -> Result<(Outer, Option<Slot>), Refusal> {
        let (to, slot) = self.table.next_hop(header)?;
        let fit = fit(&self.table, &self.paths, now, to);
        if header.length > fit.limit.into() {
            return Err(Refusal::Told(Error::TooBig(fit.limit)));
        }
        Ok((self.outer(header, to, fit.fragment), slot))
    }

    fn outer(&self, header: &Header, to: Ipv4Addr, fragment: bool) -> Outer {
        // A socket takes no TTL of 0.
        let ttl = self.table.inherit_ttl.then_some(header.hop_limit.max(1));
        Outer { to, tos: header.ecn, ttl, fragment }
    }

    fn drop(&self, counter: Counter) -> Outbound {
        self.counters.add(counter, 1);
        Outbound::Drop(counter)
    }
}

/// The header of a packet that is as long as it says.
fn whole(packet: &[u8]) -> Option<Header> {
    Header::parse(packet).filter(|header| header.length == packet.len())
}
