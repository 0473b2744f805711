//! One configured name: what is known of it and when it is looked up again.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::{DnsId, HostName, Level, UnicastV4};

use super::lookup::{Finding, Lookup, Trouble};
use crate::Instant;
use crate::context::Context;
use crate::counters::Counter;
use crate::prl::Prl;
use crate::solicit::MIN_ROUTER_SOLICIT_INTERVAL;
use crate::text::Count;

/// Between lookups that fail: the first time, doubled each time up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// After a lookup that failed while the network changed.
const SOON: Duration = Duration::from_millis(10);
/// A name is not looked up more often than that because of its TTL, but for a TTL of zero.
const LEAST_TTL: Duration = Duration::from_secs(30);
/// How long beyond their TTL addresses are believed against the answer that there are none.
const GRACE: Duration = Duration::from_hours(24);

/// A name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) host: HostName,
    pub(super) known: Option<Known>,
    pub(super) phase: Phase,
    /// What the last lookup came to.
    pub(super) trouble: Option<Trouble>,
    /// Lookups since the last that found something.
    failures: u32,
    /// The network has changed since the lookup under way began: if it fails, that says nothing.
    pub(super) again: bool,
    /// Whether a lookup has ended.
    pub(super) asked: bool,
    /// The first address that was left out, as it can be no router's.
    refused: Option<Ipv4Addr>,
}

/// The addresses of a name.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) addresses: Vec<UnicastV4>,
    /// The full name; `None`: from the hosts file.
    pub(super) full: Option<HostName>,
    /// When their TTL ends.
    pub(super) fresh: Instant,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Phase {
    /// A lookup, then.
    Waiting(Next),
    /// It goes on.
    Asking(Box<Lookup>),
}

/// The next lookup.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// When the files change or the operator wants it.
    OnChange,
    /// At that time.
    At(Instant),
    /// Before one of its routers is solicited, as the TTL is zero (RFC 5214 section 8.3.2), in
    /// these bounds.
    WithSolicitation(Instant, Instant),
}

impl Name {
    pub(super) fn new(name: HostName) -> Self {
        Self {
            host: name,
            known: None,
            phase: Phase::Waiting(Next::OnChange),
            trouble: None,
            failures: 0,
            again: false,
            asked: false,
            refused: None,
        }
    }

    /// Its routers.
    pub(super) fn addresses(&self) -> &[UnicastV4] {
        self.known.as_ref().map_or(&[], |known| &known.addresses)
    }

    /// How many they are, in words.
    pub(super) fn count(&self) -> Count {
        Count(self.addresses().len(), "address", "es")
    }

    /// Whether its lookup uses this socket.
    pub(super) fn uses(&self, id: DnsId) -> bool {
        matches!(&self.phase, Phase::Asking(lookup) if lookup.socket() == Some(id))
    }

    /// The lookup under way that uses this socket.
    pub(super) fn lookup_of(&mut self, id: DnsId) -> Option<&mut Lookup> {
        match &mut self.phase {
            Phase::Asking(lookup) if lookup.socket() == Some(id) => Some(lookup),
            _ => None,
        }
    }

    /// When a lookup or a query is due.
    pub(super) fn due(&self, prl: &Prl) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(Next::OnChange) => None,
            Phase::Waiting(Next::At(at)) => Some(*at),
            Phase::Waiting(Next::WithSolicitation(first, last)) => {
                let wanted = prl.next_solicitation(self.addresses()).unwrap_or(*first);
                Some(wanted.min(*last).max(*first))
            }
            Phase::Asking(lookup) => lookup.deadline(),
        }
    }

    /// Whether name servers left it without an answer the last time, or have this time so far.
    pub(super) fn failing(&self) -> bool {
        matches!(self.trouble, Some(Trouble::ServersFail | Trouble::NoAnswer))
            || matches!(&self.phase, Phase::Asking(lookup) if lookup.waits())
    }

    /// Whether a lookup is under way that began less than `time` ago.
    pub(super) fn began_after(&self, now: Instant, time: Duration) -> bool {
        matches!(&self.phase, Phase::Asking(lookup) if lookup.since().after(time) > now)
    }

    /// The next failure is the first one.
    pub(super) const fn reset_backoff(&mut self) {
        self.failures = 0;
    }

    /// The hosts file has it; whether its routers are others now.
    pub(super) fn found_in_hosts(&mut self, cx: &mut Context, addresses: &[Ipv4Addr]) -> bool {
        let addresses = self.usable(cx, addresses);
        if addresses.is_empty() {
            return false;
        }
        // A change of the file is told: there is nothing to look up before.
        let changed = self.learn(cx, Known { addresses, full: None, fresh: cx.now });
        self.phase = Phase::Waiting(Next::OnChange);
        if changed {
            let count = self.count();
            cx.log(Level::Notice, format_args!("{}: {count} of the hosts file", self.host));
        }
        changed
    }

    /// A lookup has ended; whether its routers are others now.
    pub(super) fn found(
        &mut self,
        cx: &mut Context,
        finding: Finding,
        refresh: Option<Duration>,
        search: &[HostName],
    ) -> bool {
        match finding {
            Finding::Addresses { name, addresses, ttl } => {
                let addresses = self.usable(cx, &addresses);
                if addresses.is_empty() {
                    return self.failed(cx, Trouble::NoAddress, search);
                }
                let fresh = cx.now.after(ttl);
                let changed = self.learn(cx, Known { addresses, full: Some(name), fresh });
                self.phase = Phase::Waiting(next(cx, ttl, refresh));
                if changed {
                    self.log_found(cx, ttl);
                }
                changed
            }
            Finding::Trouble(trouble) => self.failed(cx, trouble, search),
        }
    }

    fn learn(&mut self, cx: &mut Context, mut known: Known) -> bool {
        let sorted = |addresses: &[UnicastV4]| {
            let mut sorted = addresses.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let changed = sorted(self.addresses()) != sorted(&known.addresses);
        if !changed {
            // Only their order may have: servers rotate it.
            known.addresses = self.addresses().to_vec();
        }
        self.known = Some(known);
        self.asked = true;
        self.failures = 0;
        if self.trouble.take().is_some() && !changed {
            cx.log(Level::Notice, format_args!("{}: answered again", self.host));
        }
        changed
    }

    fn log_found(&self, cx: &mut Context, ttl: Duration) {
        let Some(Known { full: Some(full), .. }) = &self.known else { return };
        let (name, count, ttl) = (&self.host, self.count(), ttl.as_secs());
        cx.log(Level::Notice, format_args!("{name}: {count} as {full}, time to live {ttl} s"));
    }

    /// Of `addresses`, those that a router can have.
    fn usable(&mut self, cx: &mut Context, addresses: &[Ipv4Addr]) -> Vec<UnicastV4> {
        let mut refused = addresses.iter().filter(|a| UnicastV4::try_from(**a).is_err());
        let first = refused.next().copied();
        if let Some(address) = first {
            cx.counters.add(Counter::NotARouter, refused.count().saturating_add(1));
            if self.refused.is_none() {
                cx.log(
                    Level::Warning,
                    format_args!("{}: {address} can be no router, left out", self.host),
                );
            }
        }
        self.refused = self.refused.or(first);
        addresses.iter().filter_map(|a| UnicastV4::try_from(*a).ok()).collect()
    }

    /// Nothing was found: the old addresses stay, unless an answer says otherwise and they are too
    /// old or were of the hosts file; asks again later. Whether its routers are others now.
    fn failed(&mut self, cx: &mut Context, trouble: Trouble, search: &[HostName]) -> bool {
        self.asked = true;
        if std::mem::take(&mut self.again)
            && matches!(trouble, Trouble::ServersFail | Trouble::NoAnswer)
        {
            self.phase = Phase::Waiting(Next::At(cx.now.after(SOON)));
            return false;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let delay = RETRY.0.saturating_mul(factor).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        let next = match trouble {
            Trouble::NoServers => Next::OnChange,
            _ => Next::At(cx.now.after(cx.rng.spread(delay, 90, 110))),
        };
        self.phase = Phase::Waiting(next);
        let answered = matches!(trouble, Trouble::NoSuchName | Trouble::NoAddress);
        let stale = self.known.as_ref().is_some_and(|known| match known.full {
            // The hosts file has it no more, and nobody else has.
            None => answered || trouble == Trouble::NoServers,
            Some(_) => answered && known.fresh.after(GRACE) <= cx.now,
        });
        if stale {
            self.known = None;
        }
        if self.trouble != Some(trouble) || stale {
            self.log_trouble(cx, trouble, delay, search);
        }
        self.trouble = Some(trouble);
        stale
    }

    fn log_trouble(
        &self,
        cx: &mut Context,
        trouble: Trouble,
        delay: Duration,
        search: &[HostName],
    ) {
        let name = &self.host;
        let kept = match self.known {
            None => String::new(),
            Some(_) => format!(", keeps {}", self.count()),
        };
        let searched = Searched(if name.as_str().ends_with('.') { &[] } else { search });
        let delay = delay.as_secs();
        match trouble {
            Trouble::NoServers => cx.log(
                Level::Warning,
                format_args!("{name}: no name server{kept}; waits for resolv.conf to change"),
            ),
            Trouble::NoSuchName | Trouble::NoAddress => cx.log(
                Level::Warning,
                format_args!("{name}: {trouble}{searched}{kept}; asks again in {delay} s"),
            ),
            Trouble::ServersFail | Trouble::NoAnswer => cx.log(
                Level::Warning,
                format_args!("{name}: {trouble}{kept}; asks again in {delay} s"),
            ),
        }
    }
}

/// The next lookup after one that found addresses (RFC 5214 sections 8.3.1 and 8.3.2).
fn next(cx: &Context, ttl: Duration, refresh: Option<Duration>) -> Next {
    let Some(refresh) = refresh else { return Next::OnChange };
    if ttl.is_zero() {
        let first = cx.now.after(MIN_ROUTER_SOLICIT_INTERVAL);
        return Next::WithSolicitation(first, first.max(cx.now.after(refresh)));
    }
    Next::At(cx.now.after(refresh.min(ttl).max(LEAST_TTL)))
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "no such name",
            Self::NoAddress => "no usable address",
            Self::ServersFail => "name servers fail",
            Self::NoAnswer => "name servers do not answer",
            Self::NoServers => "no name server",
        })
    }
}

/// " in" and the domains searched.
struct Searched<'a>(&'a [HostName]);

impl fmt::Display for Searched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, domain) in self.0.iter().enumerate() {
            write!(f, "{} {domain}", if place == 0 { " in" } else { "," })?;
        }
        Ok(())
    }
}
