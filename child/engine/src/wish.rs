//! State into wishes: all addresses and all routes, told to the parent when they change.

use std::time::Duration;

use isatapd_proto::isatap::{UBit, own_6to4};
use isatapd_proto::{
    AddressWish, Backend, Bounded, MAX_DEFAULT_ROUTERS, MAX_INFORMATION_ROUTES, Mtu, NextHop,
    OnLinkPrefix, Outcome, Preference, Request, RouteDestination, RouteWish, Seq, Slot, Tunnel,
};

use crate::Instant;
use crate::addrconf::{Address, Prefixes};
use crate::asked::Asked;
use crate::context::Context;
use crate::lifetime::Until;
use crate::prl::{Prl, Router};
use isatapd_datapath::Bucket;

/// Wishes in a burst, and one more each fifth of a second: an advertisement may change both.
const WISHES: Bucket = Bucket::new(20, Duration::from_millis(200));

/// From a wish that failed to the next try: as while the parent changes the tunnel. Doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest of these times.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// An address, with ends instead of time left: equal as long as nothing but time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedAddress {
    pub(crate) prefix: OnLinkPrefix,
    on_link: bool,
    pub(crate) address: Address,
}

/// A route, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedRoute {
    pub(crate) destination: RouteDestination,
    pub(crate) next_hop: Option<NextHop>,
    pub(crate) preference: Preference,
    pub(crate) reachable: bool,
    until: Until,
    mtu: Option<Mtu>,
    hop_limit: Option<u8>,
}

/// One kind of wish and what became of it.
#[derive(Debug)]
struct Told<T> {
    asked: Asked,
    last: Vec<T>,
    /// Told again even if nothing has changed.
    stale: bool,
    /// It failed: when it is told again.
    again: Option<Instant>,
    /// How often it has failed since it last did not.
    failures: u32,
}

/// What the parent was told.
#[derive(Debug)]
pub(crate) struct Wishes {
    addresses: Told<WantedAddress>,
    routes: Told<WantedRoute>,
    bucket: Bucket,
    /// There may be something to tell.
    dirty: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            addresses: Told::new("addresses"),
            routes: Told::new("routes"),
            bucket: WISHES,
            dirty: false,
        }
    }
}

impl<T: PartialEq> Told<T> {
    const fn new(subject: &'static str) -> Self {
        let asked = Asked::new(subject, "at the next advertisement at the latest");
        Self { asked, last: Vec::new(), stale: false, again: None, failures: 0 }
    }

    /// Whether `wanted` is news to the parent; it is told now.
    fn differs(&mut self, wanted: Vec<T>) -> bool {
        let stale = std::mem::take(&mut self.stale);
        let told = !wanted.is_empty() || self.asked.trouble();
        let news = wanted != self.last || (stale && told);
        self.last = wanted;
        if news {
            self.again = None;
        }
        news
    }

    fn done(&mut self, cx: &mut Context, seq: Seq, outcome: Outcome) {
        if !self.asked.done(cx, seq, outcome) {
            return;
        }
        if matches!(outcome, Outcome::Failed(_)) {
            let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
            self.again = Some(cx.now.after(FIRST_RETRY.saturating_mul(doubled).min(LAST_RETRY)));
            self.failures = self.failures.saturating_add(1);
        } else {
            self.failures = 0;
        }
    }

    /// Whether it is time to tell it again after it failed.
    fn take_again(&mut self, now: Instant) -> bool {
        let due = self.again.take_if(|at| *at <= now).is_some();
        self.stale |= due;
        due
    }
}

impl Wishes {
    /// Something may have changed.
    pub(crate) const fn touch(&mut self) {
        self.dirty = true;
    }

    /// An advertisement came: what went wrong before is tried again.
    pub(crate) const fn retry(&mut self) {
        self.addresses.stale |= self.addresses.asked.trouble();
        self.routes.stale |= self.routes.asked.trouble();
        self.dirty = true;
    }

    /// There is another tunnel: all is told anew.
    pub(crate) const fn renew(&mut self) {
        (self.addresses.stale, self.addresses.failures) = (true, 0);
        (self.routes.stale, self.routes.failures) = (true, 0);
        self.dirty = true;
    }

    /// The parent's answer.
    pub(crate) fn done(&mut self, cx: &mut Context, seq: Seq, outcome: Outcome) {
        self.addresses.done(cx, seq, outcome);
        self.routes.done(cx, seq, outcome);
    }

    /// Tells the parent what has changed, `urgent` at once, else as often as may be.
    pub(crate) fn tell(
        &mut self,
        cx: &mut Context,
        prl: &Prl,
        prefixes: &Prefixes,
        tunnel: Tunnel,
        urgent: bool,
    ) {
        self.dirty |= self.addresses.take_again(cx.now);
        self.dirty |= self.routes.take_again(cx.now);
        if !self.dirty || !(self.bucket.take(cx.now) || urgent) {
            return;
        }
        self.dirty = false;
        let now = cx.now;
        let addresses = addresses(now, prefixes, tunnel);
        if self.addresses.differs(addresses) {
            let list = Bounded::first_of(self.addresses.last.iter().map(|a| a.wish(now)));
            self.addresses.asked.sent(cx.send(Request::SetAddresses(list)));
        }
        let mut routes = routes(now, prl, tunnel);
        if tunnel.backend == Backend::Tun {
            routes.extend(on_link(now, prefixes, tunnel).filter_map(WantedRoute::on_link));
        }
        if self.routes.differs(routes) {
            let list = Bounded::first_of(self.routes.last.iter().map(|r| r.wish(now)));
            self.routes.asked.sent(cx.send(Request::SetRoutes(list)));
        }
    }

    /// When what is still to be told, or told again, may be told.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dirty = self.dirty.then_some(self.bucket.ready_at());
        [dirty, self.addresses.again, self.routes.again].into_iter().flatten().min()
    }

    /// What the parent did not do.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let troubled = |asked: &Asked| asked.trouble().then_some(asked.subject());
        troubled(&self.addresses.asked).or_else(|| troubled(&self.routes.asked))
    }

    /// All routes, as the parent knows them.
    pub(crate) fn routes(&self, now: Instant) -> impl Iterator<Item = RouteWish> {
        self.routes.last.iter().map(move |route| route.wish(now))
    }

    /// Whether the parent knows of a way: an address or a route.
    pub(crate) fn works(&self) -> bool {
        !self.addresses.last.is_empty() || !self.routes.last.is_empty()
    }
}

impl WantedAddress {
    fn wish(&self, now: Instant) -> AddressWish {
        let Self { prefix, on_link, address } = *self;
        let valid = address.valid.left(now);
        let preferred = address.preferred.left(now).min(valid);
        AddressWish { prefix, on_link, valid, preferred }
    }
}

impl WantedRoute {
    fn of(
        (slot, router): (Slot, &Router),
        tunnel: Tunnel,
        destination: RouteDestination,
        (preference, until): (Preference, Until),
    ) -> Self {
        let learnt = &router.learnt;
        let form = learnt.heard.map_or(UBit::of(router.address.get()), |(_, form)| form);
        Self {
            destination,
            next_hop: Some(NextHop { slot, form }),
            preference,
            reachable: router.reach.is_reachable(),
            until,
            // The tunnel's may have changed since (RFC 4861 section 6.3.4).
            mtu: learnt.mtu.filter(|mtu| *mtu <= tunnel.mtu),
            hop_limit: learnt.hop_limit.filter(|limit| *limit > 0),
        }
    }

    /// The route to the neighbours of a prefix.
    fn on_link((prefix, until): (OnLinkPrefix, Until)) -> Option<Self> {
        Some(Self {
            destination: prefix.net().try_into().ok()?,
            next_hop: None,
            preference: Preference::Medium,
            reachable: true,
            until,
            mtu: None,
            hop_limit: None,
        })
    }

    fn wish(&self, now: Instant) -> RouteWish {
        RouteWish {
            destination: self.destination,
            next_hop: self.next_hop,
            preference: self.preference,
            lifetime: self.until.left(now),
            mtu: self.mtu,
            hop_limit: self.hop_limit,
            reachable: self.reachable,
        }
    }
}

/// All addresses.
pub(crate) fn addresses(now: Instant, prefixes: &Prefixes, tunnel: Tunnel) -> Vec<WantedAddress> {
    let wanted = prefixes.iter().filter_map(|(prefix, state)| {
        let address = state.address.filter(|a| !a.valid.left(now).is_zero())?;
        let on_link = state.on_link.is_some_and(|until| !until.has_passed(now));
        Some(WantedAddress { prefix, on_link, address })
    });
    // The parent would refuse the whole list for one of these.
    let own = own_6to4(tunnel.locator);
    wanted.filter(|wanted| !own.contains(&wanted.prefix.net())).collect()
}

/// The prefixes whose addresses are neighbours.
pub(crate) fn on_link(
    now: Instant,
    prefixes: &Prefixes,
    tunnel: Tunnel,
) -> impl Iterator<Item = (OnLinkPrefix, Until)> {
    let own = own_6to4(tunnel.locator);
    prefixes.iter().filter_map(move |(prefix, state)| {
        let usable = |until: &Until| !until.left(now).is_zero() && !own.contains(&prefix.net());
        Some((prefix, state.on_link.filter(usable)?))
    })
}

/// The best default routes, then more specific routes, one of each router in turn, so that none
/// takes all the room. Of a router that is lost, more specific routes go where another leads there
/// too: the kernel would prefer the longer prefix to the router that is there (RFC 4191 section 3.2).
pub(crate) fn routes(now: Instant, prl: &Prl, tunnel: Tunnel) -> Vec<WantedRoute> {
    let mut defaults: Vec<_> = prl
        .iter()
        .filter_map(|(slot, router)| {
            let default = router.learnt.default?;
            let how = (default.preference, default.until);
            Some(WantedRoute::of((slot, router), tunnel, RouteDestination::DEFAULT, how))
        })
        .filter(|route| !route.until.left(now).is_zero())
        .collect();
    defaults.sort_by_key(|route| std::cmp::Reverse((route.reachable, route.preference)));
    defaults.truncate(MAX_DEFAULT_ROUTERS);

    let own = own_6to4(tunnel.locator);
    let mut specific: Vec<_> = prl
        .iter()
        .flat_map(|(slot, router)| {
            let routes = router.learnt.routes.iter().map(move |entry| {
                WantedRoute::of((slot, router), tunnel, entry.key, (entry.value, entry.until))
            });
            let usable = move |route: &WantedRoute| {
                !route.until.left(now).is_zero() && !own.contains(&route.destination.net())
            };
            routes.filter(usable).enumerate()
        })
        .collect();
    specific.sort_by_key(|(turn, _)| *turn);
    let there = |to: &RouteDestination| {
        let specific = specific.iter().map(|(_, route)| route);
        let mut others = defaults.iter().chain(specific).filter(|route| route.reachable);
        others.any(|route| route.destination.net().contains(&to.net()))
    };
    let covered: Vec<_> = specific
        .iter()
        .filter(|(_, route)| !route.reachable && there(&route.destination))
        .map(|(_, route)| *route)
        .collect();
    specific.retain(|(_, route)| !covered.contains(route));
    defaults.extend(specific.into_iter().map(|(_, route)| route).take(MAX_INFORMATION_ROUTES));
    defaults
}
