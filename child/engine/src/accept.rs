//! Which advertisements are used (RFC 5214 section 8.3.3, RFC 4861 section 6.1.2).

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::time::Duration;

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{Level, Slot};

use crate::Instant;
use crate::context::Context;
use crate::counters::Counter;
use crate::prl::Prl;
use crate::wire::icmp6::Broken;
use crate::wire::neighbour;
use crate::wire::router_advert::{self, Malformed, RouterAdvert};
use isatapd_datapath::Bucket;

/// Advertisements of one router that are read: 50 at once and 50 a second. A flood costs no more,
/// and not the other routers.
pub(crate) const ADVERTISEMENTS: Bucket = Bucket::new(50, Duration::from_millis(20));
/// Between two lines about the same reason.
const QUIET: Duration = Duration::from_secs(1);

/// An ICMPv6 message as it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) slot: Slot,
    pub(crate) form: UBit,
    pub(crate) source: Ipv6Addr,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) bytes: &'a [u8],
}

/// Why a packet is not used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    Broken(Broken),
    NoRouter,
    Destination,
    HopLimit(Option<u8>),
    Source,
    Excess,
    Malformed(Malformed),
}

impl Reason {
    const fn counter(self) -> Counter {
        match self {
            Self::Broken(Broken::Checksum) => Counter::Checksum,
            Self::Broken(_) => Counter::Header,
            Self::Destination => Counter::Destination,
            Self::NoRouter => Counter::NoRouter,
            Self::HopLimit(_) => Counter::HopLimit,
            Self::Source => Counter::Source,
            Self::Excess => Counter::Excess,
            Self::Malformed(_) => Counter::Malformed,
        }
    }
}

/// The gate that they pass.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// When a line of each reason may be written again.
    quiet: Vec<(Counter, Instant)>,
}

impl Gate {
    /// The advertisement that `packet` is, if it is to be used.
    pub(crate) fn pass(
        &mut self,
        cx: &mut Context,
        prl: &mut Prl,
        packet: &Packet<'_>,
    ) -> Option<RouterAdvert> {
        match check(cx, prl, packet) {
            Ok(advert) => {
                cx.counters.count(Counter::Accepted);
                cx.counters.add(Counter::OptionMalformed, advert.skipped.malformed.into());
                cx.counters.add(Counter::OptionExcess, advert.skipped.excess.into());
                Some(advert)
            }
            Err(reason) => {
                self.refuse(cx, packet.source, reason);
                None
            }
        }
    }

    /// Whether `packet` is the answer of its router to a Neighbor Solicitation (RFC 4861 section 7.1.2).
    pub(crate) fn pass_answer(
        &mut self,
        cx: &mut Context,
        prl: &mut Prl,
        packet: &Packet<'_>,
    ) -> bool {
        let checked = check_sender(cx, prl, packet)
            .and_then(|()| neighbour::parse(packet.bytes).map_err(Reason::Malformed));
        match checked {
            // Of another address of its, or not asked for, it says nothing about the way there.
            Ok(advert) => advert.solicited && advert.target == packet.source,
            Err(reason) => {
                self.refuse(cx, packet.source, reason);
                false
            }
        }
    }

    /// Counts and logs a packet of `source` that is not used.
    pub(crate) fn refuse(&mut self, cx: &mut Context, source: impl Display, reason: Reason) {
        let counter = reason.counter();
        cx.counters.count(counter);
        if cx.level < Level::Debug {
            return;
        }
        if self.quiet.iter().any(|(c, until)| *c == counter && *until > cx.now) {
            return;
        }
        self.quiet.retain(|(c, _)| *c != counter);
        self.quiet.push((counter, cx.now.after(QUIET)));
        match reason {
            Reason::HopLimit(Some(limit)) => {
                cx.log(Level::Debug, format_args!("{source}: {}, {limit}", counter.text()));
            }
            Reason::Broken(why) => {
                cx.log(Level::Debug, format_args!("{source}: {}, {why}", counter.text()));
            }
            Reason::Malformed(why) => {
                cx.log(Level::Debug, format_args!("{source}: {}, {why}", counter.text()));
            }
            _ => cx.log(Level::Debug, format_args!("{source}: {}", counter.text())),
        }
    }
}

/// The cheap checks first: only a router of the list reaches the parser.
fn check(cx: &Context, prl: &mut Prl, packet: &Packet<'_>) -> Result<RouterAdvert, Reason> {
    check_sender(cx, prl, packet)?;
    router_advert::parse(packet.bytes).map_err(Reason::Malformed)
}

fn check_sender(cx: &Context, prl: &mut Prl, packet: &Packet<'_>) -> Result<(), Reason> {
    let router = prl.get_mut(packet.slot).ok_or(Reason::NoRouter)?;
    if packet.hop_limit != Some(255) {
        return Err(Reason::HopLimit(packet.hop_limit));
    }
    if packet.source != isatap::link_local(router.address, packet.form) {
        return Err(Reason::Source);
    }
    if router.advertisements.take(cx.now) { Ok(()) } else { Err(Reason::Excess) }
}
