//! The Potential Router List (RFC 5214 section 8.3.2): which router is in which slot.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::isatap::UBit;
use isatapd_proto::{
    Bounded, Level, MAX_ROUTERS, Outcome, Request, RouterWish, Seq, Slot, UnicastV4,
};

use crate::accept::ADVERTISEMENTS;
use crate::asked::Asked;
use crate::context::Context;
use crate::counters::Counter;
use crate::learnt::Learnt;
use crate::reach::Reachability;
use crate::solicit::{Schedule, Way};
use crate::text::Count;
use crate::tunnelled;
use crate::wire::router_solicit;
use crate::{Action, Instant};
use isatapd_datapath::Bucket;

/// Solicitations of all routers together: 3 at once, and no more than 10 in any second.
const SOLICITATIONS: Bucket = Bucket::new(3, Duration::from_millis(125));

/// MAX_RTR_SOLICITATION_DELAY (RFC 4861 section 10).
const MAX_RTR_SOLICITATION_DELAY: Duration = Duration::from_secs(1);
/// So long after its boot a machine may be one of many that have just got their power back.
const BOOTING: Duration = Duration::from_mins(1);

/// Changes of the network after which silent routers are solicited anew: in a burst, and one more each
/// ten seconds.
const HINTS: Bucket = Bucket::new(5, Duration::from_secs(10));
/// Doubts after which routers are asked: in a burst, and one more a minute.
const DOUBTS: Bucket = Bucket::new(5, Duration::from_mins(1));

/// One router of the list.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) address: UnicastV4,
    pub(crate) schedule: Schedule,
    pub(crate) learnt: Learnt,
    pub(crate) reach: Reachability,
    /// How many of its advertisements may still be read.
    pub(crate) advertisements: Bucket,
}

/// The list.
#[derive(Debug)]
pub(crate) struct Prl {
    routers: BTreeMap<Slot, Router>,
    solicitations: Bucket,
    /// No solicitation leaves before; drawn when the first one could.
    not_before: Option<Instant>,
    /// The request that tells the parent the list.
    asked: Asked,
    /// Whether the list is longer than is used.
    too_long: bool,
    /// The network has changed, and there was no time yet for what follows from it.
    hint: bool,
    hints: Bucket,
    doubts: Bucket,
    /// Of the tunnel, since there was one.
    locator: Option<UnicastV4>,
}

impl Default for Prl {
    fn default() -> Self {
        Self {
            routers: BTreeMap::new(),
            solicitations: SOLICITATIONS,
            not_before: None,
            asked: Asked::new("router list", "when the tunnel changes or at a reload"),
            too_long: false,
            hint: false,
            hints: HINTS,
            doubts: DOUBTS,
            locator: None,
        }
    }
}

impl Prl {
    /// Makes `wanted`, in the operator's order, the list: members that stay keep their slots, new
    /// ones take the first that are free. The slots of those that left; `None` if nothing changed.
    pub(crate) fn update(&mut self, cx: &mut Context, wanted: &[UnicastV4]) -> Option<Vec<Slot>> {
        let mut chosen = self.choose(cx, wanted);
        let gone: Vec<_> =
            self.iter().filter(|(_, r)| !chosen.contains(&r.address)).map(|(s, _)| s).collect();
        for slot in &gone {
            self.routers.remove(slot);
            cx.act(Action::CloseRouter(*slot));
        }
        chosen.retain(|address| self.slot_of(address.get()).is_none());
        let changed = !gone.is_empty() || !chosen.is_empty();
        let mut free = (0..=u8::MAX).map_while(|slot| Slot::try_from(slot).ok());
        for address in chosen {
            let schedule = Schedule::new(UBit::of(address.get()));
            let (learnt, advertisements) = (Learnt::default(), ADVERTISEMENTS);
            let reach = Reachability::default();
            let router = Router { address, schedule, learnt, reach, advertisements };
            if let Some(slot) = free.find(|slot| !self.routers.contains_key(slot)) {
                self.routers.insert(slot, router);
            }
        }
        changed.then_some(gone)
    }

    /// Each of `wanted` once, at most 64: present members first if there are more, so that a name
    /// whose answers change their order does not change the list.
    fn choose(&mut self, cx: &mut Context, wanted: &[UnicastV4]) -> Vec<UnicastV4> {
        let mut chosen = Vec::new();
        for address in wanted {
            if !chosen.contains(address) {
                chosen.push(*address);
            }
        }
        let excess = chosen.len().saturating_sub(MAX_ROUTERS);
        if excess > 0 {
            chosen.sort_by_key(|address| self.slot_of(address.get()).is_none());
            chosen.truncate(MAX_ROUTERS);
            if !self.too_long {
                cx.log(
                    Level::Warning,
                    format_args!("router list: {excess} more than {MAX_ROUTERS}, left out"),
                );
            }
        }
        self.too_long = excess > 0;
        chosen
    }

    /// Tells the parent the list; not before there is one.
    pub(crate) fn tell(&mut self, cx: &mut Context) {
        if self.routers.is_empty() && !self.asked.was_sent() {
            return;
        }
        let list = self.iter().map(|(slot, r)| RouterWish { slot, router: r.address });
        let list = Bounded::first_of(list);
        log_list(cx, &list);
        self.asked.sent(cx.send(Request::SetRouters(list)));
    }

    /// Tells it again if that went wrong.
    pub(crate) fn retry(&mut self, cx: &mut Context) {
        if self.asked.trouble() {
            self.tell(cx);
        }
    }

    /// The parent's answer.
    pub(crate) fn done(&mut self, cx: &mut Context, seq: Seq, outcome: Outcome) {
        let _ = self.asked.done(cx, seq, outcome);
    }

    /// All routers, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Router)> {
        self.routers.iter().map(|(slot, router)| (*slot, router))
    }

    /// All routers, by slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Router)> {
        self.routers.iter_mut().map(|(slot, router)| (*slot, router))
    }

    /// The router at `slot`.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Router> {
        self.routers.get(&slot)
    }

    /// The router at `slot`.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Router> {
        self.routers.get_mut(&slot)
    }

    /// Which slot has this address.
    pub(crate) fn slot_of(&self, address: Ipv4Addr) -> Option<Slot> {
        self.iter().find(|(_, router)| router.address.get() == address).map(|(slot, _)| slot)
    }

    /// Solicits those whose time has come, the longest due first, as many as may be: by the data
    /// path of the tunnel at `locator`, or by sockets without one.
    pub(crate) fn solicit(&mut self, cx: &mut Context, locator: Option<UnicastV4>) {
        let due = |(slot, router): (&Slot, &Router)| Some((router.schedule.due()?, *slot));
        let mut due: Vec<_> = self.routers.iter().filter_map(due).collect();
        due.retain(|(at, _)| *at <= cx.now);
        due.sort_unstable();
        for (_, slot) in due {
            let first = *self.not_before.get_or_insert_with(|| first_solicitation(cx));
            if first > cx.now || !self.solicitations.take(cx.now) {
                return;
            }
            let Some(router) = self.routers.get_mut(&slot) else { continue };
            if router.schedule.awaits() && router.learnt.leads() {
                // It has not answered the last one.
                router.reach.doubt(cx.now);
            }
            let way = router.schedule.sent(cx.now, &mut cx.rng);
            cx.counters.count(Counter::Solicitations);
            match (locator, way) {
                (Some(locator), _) => {
                    let packet = tunnelled::solicitation(locator, router.address, way);
                    cx.act(Action::Transmit { to: router.address.get(), packet });
                }
                (None, Way::Unicast(form)) => {
                    cx.act(Action::Solicit { slot, form, bytes: router_solicit::build() });
                }
                // No socket leads there.
                (None, Way::AllRouters) => {}
            }
        }
    }

    /// When the next solicitation may leave, or [`Prl::take_hint`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.routers.values().filter_map(|router| router.schedule.due()).min();
        let ready = self.solicitations.ready_at();
        let due = due.map(|due| due.max(ready).max(self.not_before.unwrap_or(due)));
        let hint = (self.hint && self.any_waits()).then(|| self.hints.ready_at());
        due.into_iter().chain(hint).min()
    }

    /// When the first of these routers is solicited next.
    pub(crate) fn next_solicitation(&self, of: &[UnicastV4]) -> Option<Instant> {
        let routers = self.routers.values().filter(|router| of.contains(&router.address));
        routers.filter_map(|router| router.schedule.due()).min()
    }

    /// Whether none of these routers is reachable.
    pub(crate) fn are_lost(&self, of: &[UnicastV4]) -> bool {
        let routers = self.routers.values().filter(|router| of.contains(&router.address));
        let mut routers = routers.peekable();
        routers.peek().is_some() && routers.all(|router| !router.reach.is_reachable())
    }

    /// The network has changed.
    pub(crate) const fn hurry(&mut self) {
        self.hint = true;
    }

    /// If the network has changed, routers that were silent may answer now. After many changes that is
    /// tried a little later, once for all of them.
    pub(crate) fn take_hint(&mut self, now: Instant) {
        self.hint = self.hint && self.any_waits();
        if self.hint && self.hints.take(now) {
            self.hint = false;
            self.solicit_silent(now);
            self.routers.values_mut().for_each(|router| router.reach.hurry(now));
        }
    }

    /// Whether a change of the network may help a router.
    fn any_waits(&self) -> bool {
        self.routers.values().any(|r| r.schedule.backs_off() || !r.reach.is_reachable())
    }

    /// Solicits routers that were silent anew.
    pub(crate) fn solicit_silent(&mut self, now: Instant) {
        let routers = self.routers.values_mut();
        let silent = routers.filter(|router| router.schedule.backs_off());
        silent.for_each(|router| router.schedule.restart(now));
    }

    /// The way to `router` may have failed: it is asked at once, if that is not being done.
    pub(crate) fn suspect(&mut self, now: Instant, router: Ipv4Addr) {
        let mut routers = self.routers.values_mut();
        let Some(router) = routers.find(|known| known.address.get() == router) else { return };
        if router.learnt.leads() {
            if !router.reach.is_probed() && self.doubts.take(now) {
                router.reach.doubt(now);
            }
        } else if !router.schedule.awaits() && self.doubts.take(now) {
            router.schedule.restart(now);
        }
    }

    /// There is a data path: each router can be solicited by it.
    pub(crate) fn open(&mut self, now: Instant) {
        self.routers.values_mut().for_each(|router| router.schedule.open(now));
    }

    /// The tunnel has this locator. What was sent from another is answered there, so routers are
    /// solicited from here without regard to it.
    pub(crate) fn follow(&mut self, locator: UnicastV4) {
        if self.locator.replace(locator).is_some_and(|before| before != locator) {
            self.routers.values_mut().for_each(|router| router.schedule.forget_sent());
        }
    }

    /// All router sockets, or the data path, are gone.
    pub(crate) fn close(&mut self) {
        self.hint = false;
        self.routers.values_mut().for_each(|router| router.schedule.close());
    }

    /// Solicits all anew.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.routers.values_mut().for_each(|router| router.schedule.restart(now));
    }
}

/// When the first solicitation leaves: at once, but after a random delay (RFC 4861 section 6.3.7) on a
/// machine that has just booted.
fn first_solicitation(cx: &mut Context) -> Instant {
    if cx.now.time_since_boot() >= BOOTING {
        return cx.now;
    }
    cx.now.after(cx.rng.spread(MAX_RTR_SOLICITATION_DELAY, 0, 100))
}

/// As many as fit a line; the dump has all.
fn log_list(cx: &mut Context, list: &[RouterWish]) {
    const SHOWN: usize = 16;
    let shown: Vec<_> = list.iter().take(SHOWN).map(|wish| wish.router.to_string()).collect();
    let (count, shown) = (Count(list.len(), "router", "s"), shown.join(" "));
    let more = if list.len() > SHOWN { " and more" } else { "" };
    cx.log(Level::Notice, format_args!("router list: {count}, {shown}{more}"));
}
