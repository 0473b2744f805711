//! Which solicitations are answered (RFC 4861 section 6.1.1, RFC 5214 sections 7.3 and 8.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{Advertise, UnicastV4};

use super::clients::Client;
use crate::counters::Counter;
use crate::wire::icmp6::{ND_HOP_LIMIT, Opened};
use crate::wire::router_solicit;

/// All-routers, link-local scope: what KAME and Windows XP solicit.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// Who sent this packet, which came from `from` to `locator`; or why it is dropped.
pub(crate) fn check(
    config: &Advertise,
    locator: UnicastV4,
    from: Ipv4Addr,
    opened: &Opened<'_>,
) -> Result<(UnicastV4, Client), Counter> {
    if opened.hop_limit != ND_HOP_LIMIT {
        return Err(Counter::SolicitHopLimit);
    }
    router_solicit::check(opened.message).map_err(|_| Counter::SolicitMalformed)?;
    let address = opened.source;
    let host = host(config, locator, from, address).ok_or(Counter::SolicitSource)?;
    let addressed = |form: &UBit| isatap::link_local(locator, *form) == opened.destination;
    let form = match UBit::BOTH.into_iter().find(addressed) {
        Some(form) => form,
        None if opened.destination == ALL_ROUTERS => UBit::of(locator.get()),
        None => return Err(Counter::SolicitDestination),
    };
    Ok((host, Client { address, form }))
}

/// The outer source, if the inner one is an address of it on the link: link-local, or of a prefix
/// that we advertise, on-link for hosts or not (RFC 6964 section 3.5).
fn host(
    config: &Advertise,
    locator: UnicastV4,
    from: Ipv4Addr,
    source: Ipv6Addr,
) -> Option<UnicastV4> {
    let host = UnicastV4::try_from(from).ok().filter(|host| *host != locator)?;
    let (embedded, form) = isatap::embedded(source)?;
    let ours = config.prefixes.iter().map(|prefix| Ipv6Addr::from(prefix.prefix));
    let mut prefixes = ours.chain([LINK_LOCAL]);
    let known = prefixes.any(|prefix| isatap::address(prefix, host, form) == source);
    (embedded == from && known).then_some(host)
}
