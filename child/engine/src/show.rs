//! How things stand, for the operator's tool and the log: the state as values.

use std::net::Ipv6Addr;

use isatapd_proto::control::{
    Address, Advertises, Count, Counts, DefaultRouter, Learnt, Name, Offer, Prefix, Role, Route,
    Router, Seconds, Show,
};
use isatapd_proto::isatap::{UBit, address};
use isatapd_proto::{Backend, Bounded, Link, OnLinkPrefix, State, Text, Tunnel, UnicastV4};

use crate::counters::{Counter, Counters};
use crate::lifetime::{Kept, Until};
use crate::{Engine, Instant, addrconf, prl};

/// What is only shown.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// As last told.
    pub(crate) link: Link,
}

impl Engine {
    /// How things stand. Without the data path's counters, which are not the engine's.
    pub fn show(&self, now: Instant) -> Show {
        let Facts { link } = &self.facts;
        let tunnel = self.tunnel;
        let told = self.wishes.trouble().is_none();
        let free = self.hindrance().is_none();
        let working = told && free && self.state() == Some(State::Working);
        let names: Bounded<Name, _> = Bounded::first_of(self.resolver.show(now, &self.prl));
        let why = if working { String::new() } else { self.why(&names) };
        let prefixes = self.prefixes.iter().map(|(net, p)| self.prefix(net, p, now));
        Show {
            version: Text::cut(env!("CARGO_PKG_VERSION")),
            name: link.name.clone(),
            role: if self.advertiser.is_on() { Role::Router } else { Role::Host },
            working,
            why: Text::cut(&why),
            backend: tunnel.map(|t| t.backend),
            reason: link.reason.clone(),
            locator: tunnel.map(|t| t.locator),
            mtu: tunnel.map(|t| t.mtu),
            forwarding: link.forwarding,
            names,
            routers: Bounded::first_of(self.prl.iter().map(|(slot, r)| router(slot, r, now))),
            prefixes: Bounded::first_of(prefixes),
            routes: Bounded::first_of(self.routes(now)),
            dns_servers: self.learnt(now, |router| &router.learnt.rdnss),
            dns_domains: self.learnt(now, |router| &router.learnt.dnssl),
            nat64_prefixes: self.learnt(now, |router| &router.learnt.pref64),
            advertises: self.advertises(),
            counters: self.cx.counters.show(false),
        }
    }

    /// All counters of the engine, also those that are zero.
    pub fn counters(&self) -> Counts {
        self.cx.counters.show(true)
    }

    /// Why IPv6 does not work.
    fn why(&self, names: &[Name]) -> String {
        let routers = || self.prl.iter().map(|(_, router)| router);
        let nothing = |name: &&Name| name.count == 0;
        if routers().next().is_none() && !self.advertiser.is_on() {
            return match names.iter().find(nothing) {
                None => "it has not been told yet of any router".to_owned(),
                Some(Name { name, error: Some(error), .. }) => {
                    format!("no router is known; {name}: {}", &**error)
                }
                Some(Name { name, .. }) => format!("{name} is being looked up"),
            };
        }
        if self.tunnel.is_none() {
            return match &*self.facts.link.reason {
                "" => "there is no tunnel, as no router can be reached by IPv4".to_owned(),
                reason => format!("there is no tunnel: {reason}"),
            };
        }
        if let Some(subject) = self.wishes.trouble() {
            return format!("the {subject} could not be set; see the log");
        }
        if let Some(hindrance) = self.hindrance() {
            return hindrance.to_owned();
        }
        if routers().all(|router| router.learnt.heard.is_none()) {
            let tried = routers().any(|router| router.schedule.unanswered() > 0);
            return if tried { "no router answers" } else { "no router was asked yet" }.to_owned();
        }
        "routers answer, but advertise neither prefix nor route".to_owned()
    }

    /// What is wrong here, whatever others do.
    fn hindrance(&self) -> Option<&'static str> {
        let by_path = self.tunnel.is_some_and(|tunnel| tunnel.backend == Backend::Tun);
        if by_path && !self.tables.is_open() {
            Some("the data path is not open yet")
        } else {
            let still = "hosts are told lifetime 0, as this host does not forward IPv6";
            self.advertiser.is_held_back().then_some(still)
        }
    }

    fn advertises(&self) -> Option<Advertises> {
        let advertise = self.advertiser.config()?;
        let (pending, clients) = self.advertiser.counts();
        let hosts = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let lifetime = self.advertiser.advertised_lifetime().as_secs();
        let prefixes = advertise.prefixes.iter().map(|offer| Offer {
            prefix: offer.prefix.net(),
            valid: Seconds::left(offer.valid),
            preferred: Seconds::left(offer.preferred),
        });
        Some(Advertises {
            lifetime: Seconds(lifetime.try_into().unwrap_or(u32::MAX)),
            preference: advertise.preference,
            prefixes: Bounded::first_of(prefixes),
            clients: hosts(clients),
            pending: hosts(pending),
        })
    }

    fn prefix(&self, net: OnLinkPrefix, state: &addrconf::Prefix, now: Instant) -> Prefix {
        let ip =
            |Tunnel { locator, .. }| address(Ipv6Addr::from(net), locator, UBit::of(locator.get()));
        let by = state.advertisers().filter_map(|slot| self.address_of(slot));
        Prefix {
            prefix: net.net(),
            address: state.address.map(|a| Address {
                ip: self.tunnel.map(ip),
                valid: left(a.valid, now),
                preferred: left(a.preferred, now),
            }),
            on_link: state.on_link.is_some_and(|until| !until.has_passed(now)),
            by: Bounded::first_of(by),
        }
    }

    fn routes(&self, now: Instant) -> impl Iterator<Item = Route> {
        let routes = self.tunnel.into_iter().flat_map(move |_| self.wishes.routes(now));
        routes.map(|wish| Route {
            destination: wish.destination.net(),
            by: wish.next_hop.and_then(|hop| self.address_of(hop.slot)).map(UnicastV4::get),
            preference: wish.preference,
            left: Seconds::left(wish.lifetime),
        })
    }

    fn address_of(&self, slot: isatapd_proto::Slot) -> Option<UnicastV4> {
        self.prl.iter().find(|(known, _)| *known == slot).map(|(_, router)| router.address)
    }

    fn learnt<T, V, const N: usize, const M: usize>(
        &self,
        now: Instant,
        list: impl Fn(&prl::Router) -> &Kept<T, V, N>,
    ) -> Bounded<Learnt<T>, M>
    where
        T: Clone + PartialEq,
    {
        let list = &list;
        Bounded::first_of(self.prl.iter().flat_map(move |(_, router)| {
            let live = list(router).iter().filter(move |entry| !entry.until.has_passed(now));
            live.map(move |entry| Learnt {
                value: entry.key.clone(),
                by: router.address,
                left: left(entry.until, now),
            })
        }))
    }
}

fn left(until: Until, now: Instant) -> Option<Seconds> {
    Seconds::left(until.left(now))
}

/// From `now` until `at`.
pub(crate) fn until(at: Instant, now: Instant) -> Seconds {
    Seconds(at.since(now).as_secs().try_into().unwrap_or(u32::MAX))
}

fn router(slot: isatapd_proto::Slot, router: &prl::Router, now: Instant) -> Router {
    let prl::Router { address, schedule, learnt, reach, .. } = router;
    Router {
        address: *address,
        slot,
        heard: learnt.heard.map(|(at, _)| until(now, at)),
        u_bit: schedule.answered(),
        default_router: learnt.default.filter(|d| !d.until.has_passed(now)).map(|default| {
            DefaultRouter { left: left(default.until, now), preference: default.preference }
        }),
        next: schedule.due().map(|due| until(due, now)),
        reachable: reach.is_reachable(),
        probe: reach.next_probe().map(|due| until(due, now)),
        unanswered: schedule.unanswered(),
        error: schedule.error().cloned(),
        mtu: learnt.mtu,
        hop_limit: learnt.hop_limit,
        managed: learnt.managed,
        other: learnt.other,
    }
}

impl Counters {
    fn show(&self, zeroes: bool) -> Counts {
        let counts = self.iter().filter(|(_, count)| zeroes || *count > 0);
        let count =
            |(counter, count): (Counter, u64)| Count { what: Text::cut(counter.text()), count };
        Bounded::first_of(counts.map(count))
    }
}
