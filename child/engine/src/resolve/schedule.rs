//! When a name is looked up again.

use std::time::Duration;

use super::lookup::Trouble;
use crate::Instant;
use crate::context::Context;

/// Between lookups that fail while older addresses hold: the first time, doubled each time up to the
/// longest.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time between lookups that fail.
pub(super) const LONGEST: Duration = Duration::from_mins(1);
/// For each query of a lookup of a name that never had addresses: five queries a second at most.
const QUICK: Duration = Duration::from_millis(200);
/// Of the time that such a name has had none: a name that comes at last has kept nobody waiting for
/// longer than this part more.
const SHARE: u32 = 32;
/// Name servers remember for so long that they have failed (RFC 9520 section 3.2).
const FAILURE: Duration = Duration::from_secs(1);
/// A name is not looked up more often than that because of its TTL.
pub(super) const LEAST_TTL: Duration = Duration::from_secs(10);
/// Of a TTL of zero: a lookup is so long before a solicitation, to end before it.
const LEAD: Duration = Duration::from_secs(1);

/// The next lookup.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// When the files change or the operator wants it.
    OnChange,
    /// At that time.
    At(Instant),
    /// Before one of its routers is solicited, as the TTL is zero (RFC 5214 section 8.3.2), in
    /// these bounds.
    BeforeSolicitation(Instant, Instant),
}

impl Next {
    /// After a lookup that found addresses (RFC 5214 sections 8.3.1 and 8.3.2).
    pub(super) fn fresh(now: Instant, ttl: Duration, refresh: Option<Duration>) -> Self {
        let Some(refresh) = refresh else { return Self::OnChange };
        let first = now.after(LEAST_TTL);
        if ttl.is_zero() {
            return Self::BeforeSolicitation(first, first.max(now.after(refresh)));
        }
        Self::At(now.after(refresh.min(ttl)).max(first))
    }

    /// When that is, with the next solicitation of one of its routers at `solicitation`.
    pub(super) fn at(self, solicitation: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        match self {
            Self::OnChange => None,
            Self::At(at) => Some(at),
            Self::BeforeSolicitation(first, last) => {
                let before = |at: Instant| at.time_since_boot().saturating_sub(LEAD);
                let wanted = solicitation().map_or(first, |at| Instant::since_boot(before(at)));
                Some(wanted.min(last).max(first))
            }
        }
    }
}

/// Lookups that found nothing, since the last that found something or the last sign of change.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    since: Option<Instant>,
}

impl Failures {
    /// One more; the next lookup. `queries`: how many it took, and such a one of each other name.
    /// `holds`: whether older addresses hold.
    pub(super) fn next(
        &mut self,
        cx: &mut Context,
        trouble: Trouble,
        queries: u32,
        holds: bool,
    ) -> Next {
        let since = *self.since.get_or_insert(cx.now);
        let wait = match trouble {
            Trouble::NoServers | Trouble::NoDomain => return Next::OnChange,
            _ if holds => RETRY.saturating_mul(1_u32.checked_shl(self.count).unwrap_or(u32::MAX)),
            _ => {
                let least = QUICK.saturating_mul(queries.max(1));
                let failure = if trouble == Trouble::ServersFail { FAILURE } else { QUICK };
                let part = cx.now.since(since).checked_div(SHARE).unwrap_or_default();
                least.max(failure).max(part)
            }
        };
        self.count = self.count.saturating_add(1);
        Next::At(cx.now.after(cx.rng.spread(wait.min(LONGEST), 90, 110)))
    }
}
