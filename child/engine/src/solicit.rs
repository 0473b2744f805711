//! When to solicit one router, and by which way (RFC 5214 section 8.3.4, RFC 7559).

use std::time::Duration;

use isatapd_proto::isatap::UBit;
use isatapd_proto::{Lifetime, Text};

use crate::wire::router_advert::RouterAdvert;
use crate::{Instant, rng::Rng};

/// MinRouterSolicitInterval (RFC 5214 section 8.3.1).
pub(crate) const MIN_ROUTER_SOLICIT_INTERVAL: Duration = Duration::from_mins(2);
/// IRT (RFC 7559 section 2).
const IRT: Duration = Duration::from_secs(4);
/// MRT (RFC 7559 section 2).
const MRT: Duration = Duration::from_hours(1);
/// The longest time between solicitations of a router that answers.
const MAX_INTERVAL: Duration = Duration::from_hours(1);
/// No router is solicited more often, whatever happens.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// How long a socket of the other form waits for that of the preferred one.
const FORM_DELAY: Duration = Duration::from_secs(1);
/// Solicitations without answer after which all ways are tried again.
const MISSES: u32 = 2;

/// The IPv6 destination of a solicitation, inside the tunnel to one router (RFC 6964 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The router's link-local address in this form.
    Unicast(UBit),
    /// ff02::2
    AllRouters,
}

/// The solicitations of one router.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The form that the router's address suggests.
    preferred: UBit,
    /// By which it can be solicited, in the order in which they are tried.
    ways: Vec<Way>,
    /// The next one; `None` without a way.
    due: Option<Instant>,
    /// RT of RFC 8415 section 15, while backing off.
    timeout: Option<Duration>,
    /// The last one.
    sent: Option<Instant>,
    /// The way of the last one.
    last: Option<Way>,
    /// The way that works.
    works: Option<Way>,
    /// Solicitations since the last answer.
    misses: u32,
    /// None was sent since there are ways.
    fresh: bool,
    /// What the system last said to a solicitation.
    error: Option<Text<64>>,
}

impl Schedule {
    pub(crate) fn new(preferred: UBit) -> Self {
        Self {
            preferred,
            ways: Vec::new(),
            due: None,
            timeout: None,
            sent: None,
            last: None,
            works: None,
            misses: 0,
            fresh: true,
            error: None,
        }
    }

    /// There is a socket of this form: the first solicitation leaves at once by the preferred form.
    pub(crate) fn socket(&mut self, now: Instant, form: UBit) {
        let first = Way::Unicast(self.answered().unwrap_or(self.preferred));
        let way = Way::Unicast(form);
        if !self.ways.contains(&way) {
            let place = if form == self.preferred { 0 } else { self.ways.len() };
            self.ways.insert(place, way);
        } else if way == first {
            // The parent has replaced it: what was sent by the old one may be lost.
            self.fresh = true;
            self.timeout = None;
        }
        if self.fresh {
            self.advance(if way == first { now } else { now.after(FORM_DELAY) });
        }
    }

    /// There is a data path, if it is news: all ways are there, and the first solicitation leaves at
    /// once.
    pub(crate) fn open(&mut self, now: Instant) {
        if self.ways.is_empty() {
            let unicast = [self.preferred, self.preferred.other()].map(Way::Unicast);
            self.ways = [&unicast[..], &[Way::AllRouters]].concat();
            self.advance(now);
        }
    }

    /// All ways are gone.
    pub(crate) fn close(&mut self) {
        let Self { preferred, sent, works, .. } = *self;
        *self = Self { sent, works, ..Self::new(preferred) };
    }

    /// The last one was sent from elsewhere.
    pub(crate) fn forget_sent(&mut self) {
        self.sent = None;
    }

    /// Whether there is a way to this form of its address.
    pub(crate) fn has(&self, form: UBit) -> bool {
        self.ways.contains(&Way::Unicast(form))
    }

    /// Whether it backs off.
    pub(crate) const fn backs_off(&self) -> bool {
        self.timeout.is_some()
    }

    /// Solicit anew, at once.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.timeout = None;
        if self.due.is_some() {
            self.advance(now);
        }
    }

    /// It is wanted and does not answer: solicited as soon as RFC 5214 section 8.3.4 allows; the back-off
    /// goes on.
    pub(crate) fn remind(&mut self, now: Instant) {
        if self.due.is_some() {
            let sent = self.sent.map_or(now, |sent| sent.after(MIN_ROUTER_SOLICIT_INTERVAL));
            self.advance(sent.max(now));
        }
    }

    /// Due at `at` or before, but not within a second of the last one.
    fn advance(&mut self, at: Instant) {
        let at = self.sent.map_or(at, |sent| at.max(sent.after(LEAST_GAP)));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When the next one is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The form that has answered, if it is known to take solicitations.
    pub(crate) const fn answered(&self) -> Option<UBit> {
        match self.works {
            Some(Way::Unicast(form)) => Some(form),
            Some(Way::AllRouters) | None => None,
        }
    }

    /// Solicitations since the last answer.
    pub(crate) const fn unanswered(&self) -> u32 {
        self.misses
    }

    /// What the system said to the last solicitation, if it failed.
    pub(crate) const fn error(&self) -> Option<&Text<64>> {
        self.error.as_ref()
    }

    /// Whether an advertisement is expected.
    pub(crate) const fn awaits(&self) -> bool {
        self.misses > 0
    }

    /// A solicitation leaves now: by which way.
    pub(crate) fn sent(&mut self, now: Instant, rng: &mut Rng) -> Way {
        let way = self.next_way();
        self.last = Some(way);
        self.misses = self.misses.saturating_add(1);
        self.sent = Some(now);
        self.fresh = false;
        let timeout = match self.timeout {
            None => rng.spread(IRT, 90, 110),
            Some(last) => rng.spread(last, 190, 210),
        };
        let timeout = if timeout > MRT { rng.spread(MRT, 90, 110) } else { timeout };
        self.timeout = Some(timeout);
        self.due = Some(now.after(timeout));
        way
    }

    /// The way that works, else one after the other.
    fn next_way(&mut self) -> Way {
        if self.misses >= MISSES {
            self.works = None;
        }
        let known = self.works.filter(|way| self.ways.contains(way));
        let turn = self.misses.checked_rem(u32::try_from(self.ways.len()).unwrap_or(1));
        let turn = turn.and_then(|turn| usize::try_from(turn).ok()).unwrap_or_default();
        let next = || self.ways.get(turn).copied();
        known.or_else(next).unwrap_or(Way::Unicast(self.preferred))
    }

    /// The router has answered from this form of its address, so that this form works, unless
    /// it was asked by ff02::2: then it may want that. A Router Lifetime of zero does not end the back-off
    /// (RFC 7559 section 2.1) but begins it, as only a solicitation tells when the router is back.
    /// What was not asked for does not put off the refresh of what was learnt before.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        form: UBit,
        advert: &RouterAdvert,
        fixed: Option<Duration>,
        rng: &mut Rng,
    ) {
        let pending = self.awaits() || self.backs_off();
        let by_group = self.awaits() && self.last == Some(Way::AllRouters);
        // An answer may have several messages: the first one ends the waiting.
        if self.awaits() || self.works.is_none() {
            self.works = Some(if by_group { Way::AllRouters } else { Way::Unicast(form) });
        }
        self.misses = 0;
        self.error = None;
        let next = now.after(interval(advert, fixed, rng));
        let least = self.sent.map_or(now, |sent| sent.after(MIN_ROUTER_SOLICIT_INTERVAL));
        let next = next.max(least);
        if !advert.router_lifetime.is_zero() {
            self.timeout = None;
            self.due = self.due.map(|due| if pending { next } else { due.min(next) });
        } else if self.due.is_some() {
            self.advance(next);
            if self.timeout.is_none() {
                let timeout = rng.spread(IRT, 90, 110);
                self.timeout = Some(timeout);
                self.advance(now.after(timeout));
            }
        }
    }

    /// What was sent there was answered.
    pub(crate) fn works_again(&mut self) {
        self.error = None;
    }

    /// A solicitation could not be sent; whether that is another reason than the last time.
    pub(crate) fn failed(&mut self, error: &str) -> bool {
        let error = Some(Text::cut(error));
        let news = self.error != error;
        self.error = error;
        news
    }
}

/// The time to the next solicitation of a router that has sent `advert`: such that everything in it
/// is refreshed before it ends (RFC 5214 section 8.3.4).
fn interval(advert: &RouterAdvert, fixed: Option<Duration>, rng: &mut Rng) -> Duration {
    fixed.unwrap_or_else(|| {
        // 0.8 of the shortest lifetime, times 0.9 to 1.0.
        shortest(advert).map_or(MAX_INTERVAL, |t| rng.spread(t, 72, 80).min(MAX_INTERVAL))
    })
}

/// The shortest lifetime in `advert` that is neither zero nor infinite.
fn shortest(advert: &RouterAdvert) -> Option<Duration> {
    let prefixes = advert.prefixes.iter().flat_map(|p| [p.valid, p.preferred]);
    let routes = advert.routes.iter().map(|r| r.lifetime);
    let rdnss = advert.rdnss.iter().map(|o| o.lifetime);
    let dnssl = advert.dnssl.iter().map(|o| o.lifetime);
    let pref64 = advert.pref64.iter().map(|o| o.lifetime);
    prefixes
        .chain(routes)
        .chain(rdnss)
        .chain(dnssl)
        .chain(pref64)
        .filter_map(Lifetime::duration)
        .chain([advert.router_lifetime])
        .filter(|time| !time.is_zero())
        .min()
}
