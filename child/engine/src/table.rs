//! What the data path goes by (TUN backend), told whenever it is news.

use std::cmp::Reverse;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{Role, Route, Source, Table};
use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{DataPath, ForeignRoute, Preference, Surroundings, Tunnel};

use crate::addrconf::{Address, Prefixes};
use crate::context::Context;
use crate::prl::Prl;
use crate::wish::{self, WantedAddress, WantedRoute};
use crate::{Action, Instant};

/// For how long packets wait for the first advertisement, at the most: a child that was replaced has
/// the routers' names and advertisements by then, and the kernel keeps what its programs send.
const HOLD: Duration = Duration::from_secs(5);

/// The data path and what it was told.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    path: Option<DataPath>,
    /// Until when it leaves the kernel's packets where they are, as there is no way for them yet.
    hold_until: Option<Instant>,
    pub(crate) surroundings: Surroundings,
    published: Arc<Table>,
}

/// All that a table is made of, but for what the parent says of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) tunnel: Tunnel,
    pub(crate) role: Role,
    pub(crate) prl: &'a Prl,
    pub(crate) prefixes: &'a Prefixes,
}

impl Tables {
    /// There is a data path.
    pub(crate) fn open(&mut self, now: Instant, path: DataPath) {
        if self.path.replace(path).is_none() {
            self.hold_until = Some(now.after(HOLD));
        }
    }

    /// There is none any more.
    pub(crate) const fn close(&mut self) {
        self.path = None;
        self.hold_until = None;
    }

    /// When [`Self::publish`] has news of itself.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.hold_until
    }

    /// Whether there is one.
    pub(crate) const fn is_open(&self) -> bool {
        self.path.is_some()
    }

    /// The addresses of the tunnel; none without a data path.
    pub(crate) fn own(&self) -> &[Ipv6Addr] {
        &self.published.own
    }

    /// Tells the data path what is known, if that is news; without `known` nothing passes any more.
    pub(crate) fn publish(&mut self, cx: &mut Context, known: Option<Known<'_>>) {
        let path = self.path.zip(known);
        let mut table = path.map_or_else(Table::default, |(path, known)| {
            table(cx.now, path, &self.surroundings, known)
        });
        let learnt = !table.on_link.is_empty() || table.routes.iter().any(|r| r.slot.is_some());
        let is_host = table.role == Role::Host;
        self.hold_until = self.hold_until.filter(|end| *end > cx.now && is_host && !learnt);
        table.hold = self.hold_until.is_some();
        if table != *self.published {
            self.published = Arc::new(table);
            cx.act(Action::Publish(Arc::clone(&self.published)));
        }
    }
}

fn table(now: Instant, path: DataPath, around: &Surroundings, known: Known<'_>) -> Table {
    let Known { tunnel, role, prl, prefixes } = known;
    let Tunnel { locator, mtu, backend: _ } = tunnel;
    let form = UBit::of(locator.get());
    let wanted = wish::addresses(now, prefixes, tunnel);
    let formed = wanted
        .iter()
        .map(|wanted| (isatap::address(wanted.prefix.into(), locator, form), wanted.address));
    let formed: Vec<_> = formed.collect();
    let link_local = UBit::BOTH.map(|form| isatap::link_local(locator, form));

    let mut own = link_local.to_vec();
    own.extend(formed.iter().map(|(address, _)| *address));
    own.extend(around.addresses.iter());
    let mut own_v4 = around.own.to_vec();
    if !own_v4.contains(&locator.get()) {
        own_v4.push(locator.get());
    }
    let mut routers: Vec<_> = prl.iter().map(|(slot, router)| (router.address, slot)).collect();
    routers.sort_unstable();
    Table {
        hold: false,
        locator: Some(locator),
        role,
        mtu: Some(mtu),
        mtu_method: Some(path.mtu_method),
        inherit_ttl: path.ttl.is_none(),
        own,
        own_v4,
        broadcasts: around.broadcasts.to_vec(),
        on_link: wish::on_link(now, prefixes, tunnel).map(|(prefix, _)| prefix).collect(),
        routes: routes(now, &around.routes, known),
        routers,
        sources: sources(prefixes, &wanted),
        error_source: Some(error_source(now, &formed, isatap::link_local(locator, form))),
    }
}

/// The longest prefixes first; of equal ones the administrator's first, then as the routers prefer. One
/// of the administrator's whose metric is above ours waits until there is none of ours.
fn routes(now: Instant, foreign: &[ForeignRoute], known: Known<'_>) -> Vec<Route> {
    let learnt = wish::routes(now, known.prl, known.tunnel);
    let learnt: Vec<_> = learnt.iter().filter_map(|route| learnt_route(known.prl, route)).collect();
    let is_ours = |to| learnt.iter().any(|route| route.destination == to);
    let used = foreign.iter().filter(|route| !(route.behind && is_ours(route.destination)));
    let foreign = used.map(|route| Route {
        destination: route.destination,
        next_hop: route.next_hop,
        slot: None,
        preference: Preference::High,
        reachable: true,
    });
    let mut routes: Vec<_> = foreign.chain(learnt.iter().copied()).collect();
    routes.sort_by_key(|route| Reverse(route.destination.prefix_len()));
    routes
}

fn learnt_route(prl: &Prl, route: &WantedRoute) -> Option<Route> {
    let slot = route.next_hop?.slot;
    let router = prl.get(slot)?;
    Some(Route {
        destination: route.destination.net(),
        next_hop: Some(router.address),
        slot: Some(slot),
        preference: route.preference,
        reachable: route.reachable,
    })
}

/// Who may be given packets with which source (RFC 8028 section 3).
fn sources(prefixes: &Prefixes, wanted: &[WantedAddress]) -> Vec<Source> {
    let has_address = |prefix| wanted.iter().any(|address| address.prefix == prefix);
    let sources = prefixes
        .iter()
        .filter(|(prefix, _)| has_address(*prefix))
        .map(|(prefix, state)| Source { prefix, advertisers: state.advertiser_bits() });
    sources.filter(|source| source.advertisers != 0).collect()
}

/// Preferred before deprecated, global before unique local; the link-local address if there is no
/// other (RFC 4443 section 2.2).
fn error_source(now: Instant, formed: &[(Ipv6Addr, Address)], link_local: Ipv6Addr) -> Ipv6Addr {
    let rank = |(address, times): &&(Ipv6Addr, Address)| {
        (times.preferred.has_passed(now), address.is_unique_local())
    };
    formed.iter().min_by_key(rank).map_or(link_local, |(address, _)| *address)
}
