//! Solicitations and advertisements that travel by the data path (TUN backend), where no socket has
//! looked at them or filled them in.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_proto::UnicastV4;
use isatapd_proto::isatap::{self, UBit};

use crate::accept::{Packet, Reason};
use crate::prl::Prl;
use crate::solicit::Way;
use crate::wire::icmp6::{self, Opened};
use crate::wire::neighbour::NEIGHBOUR_ADVERTISEMENT;
use crate::wire::router_solicit;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A solicitation of `router` from `locator`: an IPv6 packet.
pub(crate) fn solicitation(locator: UnicastV4, router: UnicastV4, way: Way) -> Vec<u8> {
    let source = isatap::link_local(locator, UBit::of(locator.get()));
    let destination = match way {
        Way::Unicast(form) => isatap::link_local(router, form),
        Way::AllRouters => ALL_ROUTERS,
    };
    icmp6::packet(source, destination, &router_solicit::build())
}

/// What came from the IPv4 address `from`, as if by the socket of that router. `own` are the
/// tunnel's addresses, none without a data path.
pub(crate) fn advertisement<'a>(
    prl: &Prl,
    own: &[Ipv6Addr],
    from: Ipv4Addr,
    opened: &Opened<'a>,
) -> Result<Packet<'a>, Reason> {
    let Opened { source, destination, hop_limit, message } = *opened;
    let slot = prl.slot_of(from).ok_or(Reason::NoRouter)?;
    // To all: an advertisement (RFC 6964 section 2), no answer to a Neighbor Solicitation (RFC 4861
    // section 7.1.2).
    let answer = message.first() == Some(&NEIGHBOUR_ADVERTISEMENT);
    let to_all = destination == ALL_NODES && !own.is_empty() && !answer;
    let to_us = own.contains(&destination) || to_all;
    if !to_us {
        return Err(Reason::Destination);
    }
    // A source that embeds nothing is refused in either form.
    let form = isatap::embedded(source).map_or(UBit::Local, |(_, form)| form);
    Ok(Packet { slot, form, source, hop_limit: Some(hop_limit), bytes: message })
}
