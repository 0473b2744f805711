//! From IPv4 to the TUN interface.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use isatapd_proto::{UnicastV4, isatap};

use crate::header::{
    Carried, Header, IPV6_HEADER, carried, icmp, is_never_destination, is_never_source, protocol,
};
use crate::offload::{self, Segments};
use crate::{Bucket, Counter, IPV4_HEADER, Inbound, Instant, Path, Role, Table};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// What the engine hears: 256 messages at once, and 2000 a second.
pub(crate) const HEARD: Bucket = Bucket::new(256, Duration::from_micros(500));
/// Each IPv6 link takes packets of so many octets (RFC 8200 section 5).
const MINIMUM_MTU: usize = 1280;

impl Path {
    /// Judges an IPv4 packet as a raw socket of protocol 41 gives it: header first, reassembled.
    pub fn inbound(&mut self, now: Instant, datagram: &mut [u8]) -> Inbound {
        let verdict = judge(&self.table, datagram).and_then(|(from, verdict)| {
            if let Some(slot) = self.table.slot_of(from) {
                self.traffic.heard(now, slot);
            }
            match verdict {
                Inbound::Engine { .. } if !self.heard.take(now) => Err(Counter::NotHeard),
                verdict => Ok(verdict),
            }
        });
        verdict.unwrap_or_else(|counter| {
            self.counters.add(counter, 1);
            Inbound::Drop(counter)
        })
    }
}

/// What of the outer header counts further on.
struct Outside {
    source: Ipv4Addr,
    ecn: u8,
    /// The end of the IPv4 packet.
    end: usize,
}

/// All checks, in an order that says most about what is wrong. The outer source of what passes, too.
fn judge(table: &Table, datagram: &mut [u8]) -> Result<(Ipv4Addr, Inbound), Counter> {
    let outside = check_outside(table, datagram)?;
    let arrived = datagram.get(IPV4_HEADER..outside.end).ok_or(Counter::OuterMalformed)?;
    let header = Header::parse(arrived).ok_or(Counter::InnerVersion)?;
    if header.is_jumbo() {
        return Err(Counter::InnerJumbo);
    }
    let packet = arrived.get(..header.length).ok_or(Counter::InnerLength)?;
    let carried = carried(packet, header.next);
    check_source(table, outside.source, header.source)?;
    check_destination(table, &header, carried)?;
    if table.loops_in(outside.source, header.destination) {
        return Err(Counter::LoopIn);
    }
    let ecn = combine(header.ecn, outside.ecn).ok_or(Counter::Congestion)?;
    let engine = check_discovery(table, outside.source, carried)?;

    let range = IPV4_HEADER..IPV4_HEADER.saturating_add(header.length);
    if engine {
        return Ok((outside.source, Inbound::Engine { from: outside.source, packet: range }));
    }
    if ecn != header.ecn
        && let Some(octet) = datagram.get_mut(IPV4_HEADER.saturating_add(1))
    {
        *octet = *octet & !0x30 | ecn << 4;
    }
    Ok((outside.source, finished(table, &header, datagram, range)))
}

/// A packet that passes, after what a kernel left undone. What somebody else gets is cut so that it
/// fits every link: its sender may not be able to make it shorter than it was.
fn finished(table: &Table, header: &Header, datagram: &mut [u8], range: Range<usize>) -> Inbound {
    if let Some(packet) = datagram.get_mut(range.clone())
        && let Some(checksum) = offload::unfinished(packet, header.next)
    {
        let ours = table.mtu.filter(|_| table.own.contains(&header.destination));
        let limit = ours.map_or(MINIMUM_MTU, |mtu| mtu.get().into());
        let cut = (header.next == protocol::TCP && packet.len() > limit)
            .then(|| Segments::of(packet, limit));
        if let Some(segments) = cut.flatten() {
            return Inbound::Cut(segments);
        }
        offload::finish(packet, checksum);
    }
    Inbound::Deliver(range)
}

/// RFC 4213 section 3.6 and RFC 5214 section 7.3: lengths, then addresses.
fn check_outside(table: &Table, datagram: &[u8]) -> Result<Outside, Counter> {
    let locator = table.locator.ok_or(Counter::NoLocator)?.get();
    let Some((&[first, tos, a, b, _, _, c, d, _, next, _, _, ref ends @ ..], _)) =
        datagram.split_first_chunk::<IPV4_HEADER>()
    else {
        return Err(Counter::OuterMalformed);
    };
    let &[w, x, y, z, ref to @ ..] = ends;
    let (source, destination) = (Ipv4Addr::new(w, x, y, z), Ipv4Addr::from(*to));
    let end = usize::from(u16::from_be_bytes([a, b]));
    let least = IPV4_HEADER.saturating_add(IPV6_HEADER);
    if !(0x45..0x50).contains(&first)
        || next != protocol::IPV6
        || !(least..=datagram.len()).contains(&end)
    {
        return Err(Counter::OuterMalformed);
    }
    if first != 0x45 {
        return Err(Counter::OuterOptions);
    }
    // More fragments, or an offset.
    if u16::from_be_bytes([c, d]) & 0x3fff != 0 {
        return Err(Counter::OuterFragment);
    }
    if destination != locator {
        return Err(Counter::OuterDestination);
    }
    if UnicastV4::try_from(source).is_err() {
        return Err(Counter::OuterSource);
    }
    if table.own_v4.contains(&source) || source == locator {
        return Err(Counter::OuterOwn);
    }
    if table.broadcasts.contains(&source) {
        return Err(Counter::OuterBroadcast);
    }
    Ok(Outside { source, ecn: tos & 3, end })
}

/// RFC 5214 section 7.3: the source is a neighbour's ISATAP address and embeds the outer source, or
/// the outer source is a router. Also a router's link-local address embeds its IPv4 address.
fn check_source(table: &Table, outer: Ipv4Addr, source: Ipv6Addr) -> Result<(), Counter> {
    if is_never_source(source) {
        return Err(Counter::InnerSource);
    }
    if table.own.contains(&source) {
        return Err(Counter::InnerOwn);
    }
    let neighbour = isatap::embedded(source).filter(|_| table.is_on_link(source));
    match neighbour {
        Some((v4, _)) if v4 == outer => Ok(()),
        _ if !source.is_unicast_link_local() && table.is_router(outer) => Ok(()),
        Some(_) => Err(Counter::SourceMismatch),
        None => Err(Counter::SourceForeign),
    }
}

/// A host takes what is for itself; a router forwards, but nothing of the link (RFC 4291 section
/// 2.5.6).
fn check_destination(table: &Table, header: &Header, carried: Carried) -> Result<(), Counter> {
    let &Header { source, destination, .. } = header;
    let solicitation =
        matches!(carried, Carried::Icmp { kind: icmp::ROUTER_SOLICITATION, direct: true });
    if table.own.contains(&destination) || destination == ALL_NODES {
        return Ok(());
    }
    let router = table.role == Role::Router;
    if destination.is_multicast() {
        let for_us = is_solicited_node(table, destination)
            || router && destination == ALL_ROUTERS && solicitation;
        return if for_us { Ok(()) } else { Err(Counter::InnerDestination) };
    }
    if !router || is_never_destination(destination) {
        return Err(Counter::InnerDestination);
    }
    if source.is_unicast_link_local() || destination.is_unicast_link_local() {
        return Err(Counter::LinkLocalTransit);
    }
    Ok(())
}

/// Whether `group` is the solicited-node group of an address of ours (RFC 4291 section 2.7.1).
fn is_solicited_node(table: &Table, group: Ipv6Addr) -> bool {
    let [0xff02, 0, 0, 0, 0, 1, high @ 0xff00..=0xffff, low] = group.segments() else {
        return false;
    };
    table.own.iter().any(|own| {
        let [.., upper, lower] = own.segments();
        upper & 0xff == high & 0xff && lower == low
    })
}

/// The ECN field of a packet, by the inner and the outer one (RFC 6040 section 4.2, figure 4); `None`
/// if it must be dropped.
const fn combine(inner: u8, outer: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (ECT_0, ECT_1) => Some(ECT_1),
        (ECT_0 | ECT_1, CE) => Some(CE),
        _ => Some(inner),
    }
}

/// Which Neighbour Discovery messages pass; whether it is one for the engine. The kernel would act on
/// those of routers whatever we think of them.
fn check_discovery(table: &Table, outer: Ipv4Addr, carried: Carried) -> Result<bool, Counter> {
    match carried {
        Carried::Unclear => Err(Counter::Extensions),
        Carried::Icmp { kind: icmp::ROUTER_SOLICITATION..=icmp::REDIRECT, direct: false } => {
            Err(Counter::HiddenDiscovery)
        }
        Carried::Icmp { kind: icmp::REDIRECT, .. } => Err(Counter::Redirect),
        Carried::Icmp { kind: icmp::ROUTER_SOLICITATION, .. } => match table.role {
            Role::Host => Err(Counter::Solicitation),
            Role::Router => Ok(true),
        },
        // A router looks at what the others say (RFC 4861 section 6.2.7).
        Carried::Icmp { kind: icmp::ROUTER_ADVERTISEMENT, .. } => {
            let listened = table.role == Role::Router || table.is_router(outer);
            if listened { Ok(true) } else { Err(Counter::Advertisement) }
        }
        // Only the engine asks routers whether they are there: the kernel's own solicitations are for
        // links with link-layer addresses.
        Carried::Icmp { kind: icmp::NEIGHBOUR_ADVERTISEMENT, .. } => {
            Ok(table.role == Role::Host && table.is_router(outer))
        }
        Carried::Icmp { .. } | Carried::Fragment | Carried::Other => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4: for each inner field Not-ECT, ECT(1), ECT(0), CE the outer ones in the
    /// same order.
    #[test]
    fn congestion_marks() {
        let expected = [
            [Some(0), Some(0), Some(0), None],
            [Some(1), Some(1), Some(1), Some(3)],
            [Some(2), Some(1), Some(2), Some(3)],
            [Some(3), Some(3), Some(3), Some(3)],
        ];
        for (inner, row) in (0..).zip(expected) {
            for (outer, expected) in (0..).zip(row) {
                assert_eq!(combine(inner, outer), expected, "{inner} {outer}");
            }
        }
    }
}
