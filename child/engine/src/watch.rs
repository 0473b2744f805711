//! Which routers are watched and asked whether they are there (RFC 4861 section 7.3): those that lead
//! somewhere. On the TUN backend the data path tells what comes and goes; on the kernel's the parent
//! tells that something goes, once, and only an answer is a sign of life.

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{Level, Request, RouterTimeout, Slot, UnicastV4};

use crate::context::Context;
use crate::counters::Counter;
use crate::prl::{Prl, Router};
use crate::reach::{Step, Timing};
use crate::wire::{icmp6, neighbour};
use crate::{Action, Instant};

/// What the data path or the parent was asked to tell.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    timing: Timing,
    /// A bit for each slot that is to be told of. The parent knows no routers: all or none.
    armed: u64,
}

impl Watch {
    /// How quick to be from now on.
    pub(crate) fn configure(&mut self, timeout: RouterTimeout) {
        self.timing = Timing::of(timeout);
    }

    /// There is no way to the routers any more, or another.
    pub(crate) fn close(&mut self, now: Instant, prl: &mut Prl) {
        self.armed = 0;
        prl.iter_mut().for_each(|(_, router)| router.reach.close(now));
    }

    /// Packets go by these routers, a bit each; of the kernel, by some of those in use.
    pub(crate) fn traffic(&mut self, now: Instant, prl: &mut Prl, by_path: bool, slots: u64) {
        self.armed &= !slots;
        let in_use = if by_path { slots } else { slots & in_use(prl) };
        for (slot, router) in prl.iter_mut() {
            router.reach.any_traffic();
            if in_use & slot.bit() != 0 {
                router.reach.traffic(now, self.timing);
            }
        }
    }

    /// When [`Watch::tick`] is due.
    pub(crate) fn deadline(prl: &Prl) -> Option<Instant> {
        let routers = prl.iter().filter(|(_, router)| is_minded(router));
        routers.filter_map(|(_, router)| router.reach.deadline()).min()
    }

    /// Asks those that are to be asked: by the data path of the tunnel at `locator`, or by sockets
    /// without one. Whether a router was lost.
    pub(crate) fn tick(
        &mut self,
        cx: &mut Context,
        prl: &mut Prl,
        locator: Option<UnicastV4>,
    ) -> bool {
        let mut lost = false;
        for (slot, router) in prl.iter_mut().filter(|(_, router)| is_minded(router)) {
            let Some(step) = router.reach.step(cx.now, self.timing) else { continue };
            match step {
                Step::Probe { first: true } => {
                    // It may not know what else it is asked.
                    if !router.reach.answers() && !router.schedule.awaits() {
                        router.schedule.restart(cx.now);
                    }
                }
                Step::Probe { first: false } => {
                    // Only an advertisement will tell that it is back.
                    if !router.reach.answers() && !router.reach.is_reachable() {
                        router.schedule.remind(cx.now);
                    }
                }
                Step::Lost => {
                    lost = true;
                    let router = router.address;
                    cx.log(Level::Notice, format_args!("router {router}: unreachable"));
                }
            }
            ask(cx, slot, router, locator);
        }
        if lost {
            // Others may be there now; no router is lost often.
            prl.solicit_silent(cx.now);
        }
        self.arm(cx, prl, locator.is_some());
        lost
    }

    /// Has those told of that nothing is known to go to; if one is lost, any.
    fn arm(&mut self, cx: &mut Context, prl: &Prl, by_path: bool) {
        let minded = || prl.iter().filter(|(_, router)| is_minded(router));
        let any = minded().any(|(_, router)| router.reach.rests());
        let wanted = minded().filter(|(_, router)| any || router.reach.is_quiet());
        let wanted = wanted.fold(0, |bits, (slot, _)| bits | slot.bit());
        if by_path {
            if wanted & !self.armed != 0 {
                cx.act(Action::Watch(wanted));
                self.armed = wanted;
            }
        } else if (any || wanted & in_use(prl) != 0) && self.armed == 0 {
            cx.send(Request::WatchTraffic);
            self.armed = u64::MAX;
        }
    }
}

/// Sends a Neighbor Solicitation.
pub(crate) fn ask(cx: &mut Context, slot: Slot, router: &Router, locator: Option<UnicastV4>) {
    let form = form(router);
    let target = isatap::link_local(router.address, form);
    let bytes = neighbour::solicitation(target);
    cx.counters.count(Counter::Probes);
    cx.act(match locator {
        Some(locator) => {
            let source = isatap::link_local(locator, UBit::of(locator.get()));
            let packet = icmp6::packet(source, target, &bytes);
            Action::Transmit { to: router.address.get(), packet }
        }
        None => Action::Solicit { slot, form, bytes },
    });
}

/// The form of its address that it advertised from.
fn form(router: &Router) -> UBit {
    router.learnt.heard.map_or(UBit::of(router.address.get()), |(_, form)| form)
}

/// Whether it leads somewhere, and can be asked.
fn is_minded(router: &Router) -> bool {
    router.learnt.leads() && router.schedule.has(form(router))
}

/// The routers that the kernel's packets go by, a bit each: the best default router, and those of more
/// specific routes; none that is lost.
fn in_use(prl: &Prl) -> u64 {
    let there = || prl.iter().filter(|(_, router)| router.reach.is_reachable());
    let default = there()
        .filter_map(|(slot, router)| Some((router.learnt.default?.preference, slot)))
        .min_by_key(|(preference, slot)| (std::cmp::Reverse(*preference), *slot));
    let specific = there().filter(|(_, router)| router.learnt.routes.iter().next().is_some());
    let slots = default.into_iter().map(|(_, slot)| slot).chain(specific.map(|(slot, _)| slot));
    slots.fold(0, |bits, slot| bits | slot.bit())
}
