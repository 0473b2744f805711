//! Prefixes of all routers: addresses and what is on-link (RFC 4861 section 6.3.4, RFC 4862
//! section 5.5.3).

use std::collections::BTreeMap;
use std::time::Duration;

use isatapd_proto::{Advertise, Level, Lifetime, MAX_ADDRESSES, OnLinkPrefix, Slot, UnicastV4};

use crate::Instant;
use crate::context::Context;
use crate::counters::Counter;
use crate::lifetime::Until;
use crate::text::Left;
use crate::wire::nd_option::PrefixInformation;

/// Prefixes kept, with address or only on-link.
pub(crate) const MAX_PREFIXES: usize = 32;
/// RFC 4862 section 5.5.3 (e).
const TWO_HOURS: Lifetime = Lifetime::from_secs(7200);

/// One prefix: at least one of `address` and `on_link` is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix {
    pub(crate) address: Option<Address>,
    /// How long neighbours with this prefix are on the link (flag L).
    pub(crate) on_link: Option<Until>,
    /// Whose share it counts to: the first of those that advertise it.
    owner: Option<Slot>,
    /// All of those (RFC 8028), a bit for each slot.
    advertisers: u64,
}

/// The lifetimes of the address of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) valid: Until,
    pub(crate) preferred: Until,
}

impl Prefix {
    /// Those that advertise it.
    pub(crate) fn advertisers(&self) -> impl Iterator<Item = Slot> + use<> {
        let bits = self.advertisers;
        (0..=u8::MAX)
            .map_while(|slot| Slot::try_from(slot).ok())
            .filter(move |slot| bits & slot.bit() != 0)
    }

    /// The same, a bit for each slot.
    pub(crate) const fn advertiser_bits(&self) -> u64 {
        self.advertisers
    }

    /// The router at `slot` advertises it no more: it counts to the share of another, or of none.
    fn withdrawn_by(&mut self, slot: Slot) {
        self.advertisers &= !slot.bit();
        if self.owner == Some(slot) {
            self.owner = self.advertisers().next();
        }
    }

    fn ends(&self) -> Option<Until> {
        self.address.map(|a| a.valid).into_iter().chain(self.on_link).max()
    }
}

/// All prefixes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes(BTreeMap<OnLinkPrefix, Prefix>);

impl Prefixes {
    /// Those of a router, which are what it is configured to advertise: its own addresses do not
    /// end. All are on the link for it, also if it does not tell hosts so (RFC 6964 section 3.5).
    pub(crate) fn advertised(config: &Advertise) -> Self {
        const PAST: Until = Until::At(Instant::since_boot(Duration::ZERO));
        let valid = config.prefixes.iter().filter(|advertised| !advertised.valid.is_zero());
        let prefixes = valid.map(|advertised| {
            let preferred = if advertised.preferred.is_zero() { PAST } else { Until::Forever };
            let address = Some(Address { valid: Until::Forever, preferred });
            let on_link = Some(Until::Forever);
            (advertised.prefix, Prefix { address, on_link, ..Prefix::default() })
        });
        Self(prefixes.collect())
    }

    /// Takes over the Prefix Information option of the router at `slot`.
    pub(crate) fn apply(
        &mut self,
        cx: &mut Context,
        (slot, router): (Slot, UnicastV4),
        option: &PrefixInformation,
    ) {
        // The address is of an ISATAP interface identifier, which is 64 bits long (RFC 5214
        // section 6.1), and only such an address can be on the link.
        let valid = option.prefix.prefix_len() == 64;
        let Some(net) = OnLinkPrefix::try_from(option.prefix.addr()).ok().filter(|_| valid) else {
            cx.counters.count(Counter::PrefixRefused);
            return;
        };
        let mut prefix = self.0.get(&net).cloned().unwrap_or_default();
        if option.on_link {
            prefix.on_link = (!option.valid.is_zero()).then_some(Until::of(cx.now, option.valid));
        }
        let had_address = prefix.address.is_some();
        if option.autonomous && option.preferred > option.valid {
            cx.counters.count(Counter::PrefixRefused);
        } else if option.autonomous {
            prefix.address = address_after(cx.now, prefix.address, option);
        }
        if !had_address && prefix.address.is_some() && !self.has_room(slot, true) {
            prefix.address = None;
            cx.counters.count(Counter::NoRoom);
        }
        if option.valid.is_zero() {
            prefix.withdrawn_by(slot);
        } else {
            prefix.advertisers |= slot.bit();
            prefix.owner = prefix.owner.or(Some(slot));
        }
        if prefix.ends().is_none() {
            self.0.remove(&net);
        } else if !self.0.contains_key(&net) && !self.has_room(slot, false) {
            cx.counters.count(Counter::NoRoom);
        } else {
            if !had_address && let Some(address) = prefix.address {
                let left = Left(address.valid.left(cx.now));
                cx.log(
                    Level::Notice,
                    format_args!("prefix {net}: address, by router {router}, valid {left}"),
                );
            }
            self.0.insert(net, prefix);
        }
    }

    /// Makes room for one more of `newcomer`, so that no router can take all: what no router
    /// advertises any more goes first, then what a router holds beyond the newcomer's share.
    fn has_room(&mut self, newcomer: Slot, address: bool) -> bool {
        let counted = |prefix: &&Prefix| !address || prefix.address.is_some();
        let most = if address { MAX_ADDRESSES } else { MAX_PREFIXES };
        if self.0.values().filter(counted).count() < most {
            return true;
        }
        let share = |owner: Option<Slot>| {
            owner.map_or(usize::MAX, |_| {
                self.0.values().filter(counted).filter(|p| p.owner == owner).count()
            })
        };
        let victim = self
            .0
            .iter()
            .filter(|(_, prefix)| counted(prefix))
            .max_by_key(|(_, prefix)| (share(prefix.owner), std::cmp::Reverse(prefix.ends())))
            .map(|(net, prefix)| (*net, share(prefix.owner)));
        let Some((net, held)) = victim else { return false };
        let fair = held > share(Some(newcomer)).saturating_add(1);
        if fair {
            self.0.remove(&net);
        }
        fair
    }

    /// The router at `slot` is gone. Addresses of prefixes that only it advertised are for
    /// connections that have them, and as long as if it had withdrawn them; so are neighbours.
    pub(crate) fn forget(&mut self, now: Instant, slot: Slot) {
        for prefix in self.0.values_mut() {
            let was_its = prefix.advertisers & slot.bit() != 0;
            prefix.withdrawn_by(slot);
            if was_its && prefix.advertisers == 0 {
                let most = Until::of(now, TWO_HOURS);
                prefix.address = prefix
                    .address
                    .map(|a| Address { valid: a.valid.min(most), preferred: Until::At(now) });
                prefix.on_link = prefix.on_link.map(|until| until.min(most));
            }
        }
    }

    /// Removes what has ended; whether there was any.
    pub(crate) fn expire(&mut self, cx: &mut Context) -> bool {
        let mut any = false;
        for (net, prefix) in &mut self.0 {
            if prefix.address.is_some_and(|a| a.valid.has_passed(cx.now)) {
                prefix.address = None;
                any = true;
                cx.log(Level::Notice, format_args!("prefix {net}: no address, lifetime ended"));
            }
            if prefix.on_link.is_some_and(|until| until.has_passed(cx.now)) {
                prefix.on_link = None;
                any = true;
            }
        }
        self.0.retain(|_, prefix| prefix.ends().is_some());
        any
    }

    /// When the first of them ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ends = |p: &Prefix| [p.address.map(|a| a.valid), p.on_link].into_iter().flatten();
        self.0.values().flat_map(ends).filter_map(Until::instant).min()
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (OnLinkPrefix, &Prefix)> {
        self.0.iter().map(|(net, prefix)| (*net, prefix))
    }
}

/// RFC 4862 section 5.5.3 (d) and (e), of an option with flag A.
fn address_after(
    now: Instant,
    known: Option<Address>,
    option: &PrefixInformation,
) -> Option<Address> {
    let preferred = Until::of(now, option.preferred);
    let Some(known) = known else {
        let valid = Until::of(now, option.valid);
        return (!option.valid.is_zero()).then_some(Address { valid, preferred });
    };
    let valid = match valid_after(known.valid.left(now), option.valid) {
        Some(lifetime) => Until::of(now, lifetime),
        None => known.valid,
    };
    Some(Address { valid, preferred })
}

/// The two-hour rule: one forged advertisement must not end an address. `None` leaves it alone.
fn valid_after(remaining: Lifetime, advertised: Lifetime) -> Option<Lifetime> {
    if advertised > TWO_HOURS || advertised > remaining {
        Some(advertised)
    } else if remaining <= TWO_HOURS {
        None
    } else {
        Some(TWO_HOURS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// F15: all three branches, and a second on each side of two hours.
    #[test]
    fn two_hour_rule() {
        for (remaining, advertised, expected) in [
            (10_000, 5000, 7200),
            (10_000, 7201, 7201),
            (10_000, 7200, 7200),
            (10_000, 7199, 7200),
            (10_000, 0, 7200),
            (7201, 60, 7200),
            (7200, 60, 7200),
            (7199, 60, 7199),
            (7199, 7199, 7199),
            (7199, 7200, 7200),
            (7000, 60, 7000),
            (7000, 0, 7000),
            (3600, 7200, 7200),
            (3600, 3601, 3601),
            (u32::MAX, 1, 7200),
            (u32::MAX, u32::MAX, u32::MAX),
            (60, u32::MAX, u32::MAX),
        ] {
            let (left, sent) = (Lifetime::from_secs(remaining), Lifetime::from_secs(advertised));
            let after = valid_after(left, sent).unwrap_or(left).secs();
            assert_eq!(after, expected, "{remaining} s left, {advertised} s advertised");
        }
    }

    /// An address valid for two hours and a bit is not shortened by rounding its lifetime.
    #[test]
    fn fractions_of_a_second_stay() {
        let now = Instant::since_boot(Duration::from_millis(500));
        let end = Until::At(Instant::since_boot(Duration::from_millis(7_201_400)));
        let known = Some(Address { valid: end, preferred: end });
        let option = PrefixInformation {
            prefix: "2001:db8::/64".parse().unwrap(),
            on_link: false,
            autonomous: true,
            valid: Lifetime::from_secs(60),
            preferred: Lifetime::ZERO,
        };
        let after = address_after(now, known, &option).unwrap();
        assert_eq!((after.valid, after.preferred), (end, Until::At(now)));
    }
}
