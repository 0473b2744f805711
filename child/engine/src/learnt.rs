//! What one router advertises: the default route, more specific routes (RFC 4191, as a type C
//! host), and what is only shown.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use isatapd_proto::isatap::UBit;
use isatapd_proto::{HostName, Level, Lifetime, Mtu, Preference, RouteDestination, UnicastV4};

use crate::Instant;
use crate::context::Context;
use crate::counters::Counter;
use crate::lifetime::{Kept, Until, Update};
use crate::text::{self, Left};
use crate::wire::router_advert::RouterAdvert;

/// Routes of one router that are kept (Route Information options).
pub(crate) const MAX_ROUTES_PER_ROUTER: usize = 16;
/// DNS servers, search domains and NAT64 prefixes of one router that are kept, of each.
pub(crate) const MAX_SHOWN: usize = 8;
/// The least Cur Hop Limit taken: a lower one cuts the site off (CVE-2015-2922).
const MIN_HOP_LIMIT: u8 = 32;

/// What one router advertises. Of several behind an anycast address the last one counts
/// (RFC 6964 section 3.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct Learnt {
    /// The last advertisement: when, and from which form of its address.
    pub(crate) heard: Option<(Instant, UBit)>,
    pub(crate) default: Option<DefaultRoute>,
    pub(crate) routes: Kept<RouteDestination, Preference, MAX_ROUTES_PER_ROUTER>,
    pub(crate) mtu: Option<Mtu>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) managed: bool,
    pub(crate) other: bool,
    pub(crate) rdnss: Kept<Ipv6Addr, (), MAX_SHOWN>,
    pub(crate) dnssl: Kept<HostName, (), MAX_SHOWN>,
    pub(crate) pref64: Kept<Ipv6Net, (), MAX_SHOWN>,
}

/// The router is a default router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    pub(crate) preference: Preference,
    pub(crate) until: Until,
}

impl Learnt {
    /// Takes over an advertisement of `router` through a tunnel of `tunnel_mtu`. What it does not
    /// say stays (RFC 4861 section 6.3.4).
    pub(crate) fn apply(
        &mut self,
        cx: &mut Context,
        router: UnicastV4,
        form: UBit,
        advert: &RouterAdvert,
        tunnel_mtu: Option<Mtu>,
    ) {
        self.heard = Some((cx.now, form));
        self.managed = advert.managed;
        self.other = advert.other;
        if let Some(sent) = advert.mtu {
            let mtu = u16::try_from(sent).ok().and_then(|mtu| Mtu::try_from(mtu).ok());
            match mtu.filter(|mtu| tunnel_mtu.is_none_or(|most| *mtu <= most)) {
                None => cx.counters.count(Counter::MtuRefused),
                good => self.mtu = good,
            }
        }
        match advert.hop_limit {
            Some(low) if low < MIN_HOP_LIMIT => cx.counters.count(Counter::HopLimitRefused),
            limit => self.hop_limit = limit.or(self.hop_limit),
        }
        self.apply_routes(cx, router, advert);
        self.apply_shown(cx, advert);
    }

    /// First the header, then the options in order: ::/0 overrides the header (RFC 4191 section
    /// 3.1).
    fn apply_routes(&mut self, cx: &mut Context, router: UnicastV4, advert: &RouterAdvert) {
        let before = self.default;
        let preference = advert.preference.unwrap_or(Preference::Medium);
        let lifetime = Lifetime::of(Some(advert.router_lifetime));
        self.set_default(cx.now, preference, lifetime);
        for route in &advert.routes {
            match RouteDestination::try_from(route.prefix) {
                Ok(RouteDestination::DEFAULT) => {
                    self.set_default(cx.now, route.preference, route.lifetime);
                }
                Ok(destination) => {
                    let (preference, lifetime) = (route.preference, route.lifetime);
                    let update = self.routes.set(cx.now, destination, preference, lifetime);
                    log_route(cx, router, destination, update, lifetime);
                }
                Err(_) => cx.counters.count(Counter::RouteRefused),
            }
        }
        self.log_default(cx, router, before);
    }

    fn set_default(&mut self, now: Instant, preference: Preference, lifetime: Lifetime) {
        let until = Until::of(now, lifetime);
        self.default = (!lifetime.is_zero()).then_some(DefaultRoute { preference, until });
    }

    fn log_default(&self, cx: &mut Context, router: UnicastV4, before: Option<DefaultRoute>) {
        match (before, self.default) {
            (None, Some(DefaultRoute { preference, until })) => {
                let left = Left(until.left(cx.now));
                let preference = text::preference(preference);
                cx.log(
                    Level::Notice,
                    format_args!(
                        "router {router}: default router, preference {preference}, {left}"
                    ),
                );
            }
            (Some(_), None) => cx.log(
                Level::Notice,
                format_args!("router {router}: no longer a default router, withdrawn"),
            ),
            _ => {}
        }
    }

    /// What is kept for the operator's eyes.
    fn apply_shown(&mut self, cx: &mut Context, advert: &RouterAdvert) {
        let mut full = 0_usize;
        let mut note = |update| full = full.saturating_add(usize::from(update == Update::Full));
        for option in &advert.rdnss {
            for server in &option.servers {
                note(self.rdnss.set(cx.now, *server, (), option.lifetime));
            }
        }
        for option in &advert.dnssl {
            for name in &option.names {
                note(self.dnssl.set(cx.now, name.clone(), (), option.lifetime));
            }
        }
        for option in &advert.pref64 {
            note(self.pref64.set(cx.now, option.prefix, (), option.lifetime));
        }
        cx.counters.add(Counter::NoRoom, full);
    }

    /// Removes the routes that have ended; whether there was any.
    pub(crate) fn expire(&mut self, cx: &mut Context, router: UnicastV4) -> bool {
        let ended = self.default.is_some_and(|d| d.until.has_passed(cx.now));
        if ended {
            self.default = None;
            cx.log(
                Level::Notice,
                format_args!("router {router}: no longer a default router, lifetime ended"),
            );
        }
        self.routes.expire(cx.now) || ended
    }

    /// Whether it is a router by which anything is reached.
    pub(crate) fn leads(&self) -> bool {
        self.default.is_some() || self.routes.iter().next().is_some()
    }

    /// When the first route ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let default = self.default.and_then(|d| d.until.instant());
        default.into_iter().chain(self.routes.deadline()).min()
    }
}

fn log_route(
    cx: &mut Context,
    router: UnicastV4,
    destination: RouteDestination,
    update: Update,
    lifetime: Lifetime,
) {
    match update {
        Update::Added => {
            let lifetime = Left(lifetime);
            cx.log(
                Level::Info,
                format_args!("route {destination}: by router {router}, {lifetime}"),
            );
        }
        Update::Removed => {
            cx.log(Level::Info, format_args!("route {destination}: withdrawn by router {router}"));
        }
        Update::Full => cx.counters.count(Counter::NoRoom),
        Update::Refreshed | Update::Nothing => {}
    }
}
