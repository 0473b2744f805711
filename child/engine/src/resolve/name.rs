//! One configured name: what is known of it and when it is looked up again.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::{DnsId, HostName, Level, UnicastV4};

use super::lookup::{Finding, Lookup, Trouble};
use super::schedule::{Failures, LONGEST, Next};
use crate::Instant;
use crate::context::Context;
use crate::counters::Counter;
use crate::prl::Prl;
use crate::text::Count;
use isatapd_datapath::Bucket;

/// After a lookup that failed while the network changed.
const SOON: Duration = Duration::from_millis(10);
/// How long beyond their TTL addresses are believed against the answer that there are none.
const GRACE: Duration = Duration::from_hours(24);
/// Lines about what is wrong: a few, then one a minute, whatever a name server makes up.
const COMPLAINTS: Bucket = Bucket::new(3, Duration::from_mins(1));

/// A name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) host: HostName,
    pub(super) known: Option<Known>,
    pub(super) phase: Phase,
    /// What the last lookup came to.
    pub(super) trouble: Option<Trouble>,
    failures: Failures,
    /// The trouble that was last logged, if it lasts.
    said: Option<Trouble>,
    complaints: Bucket,
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
    /// Since when they are known.
    at: Instant,
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

/// What a lookup is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// PrlRefreshInterval.
    pub(super) refresh: Option<Duration>,
    /// The search domains, for the log.
    pub(super) search: &'a [HostName],
    /// How many names there are.
    pub(super) names: usize,
}

impl Name {
    pub(super) fn new(name: HostName) -> Self {
        Self {
            host: name,
            known: None,
            phase: Phase::Waiting(Next::OnChange),
            trouble: None,
            failures: Failures::default(),
            said: None,
            complaints: COMPLAINTS,
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
            Phase::Waiting(next) => {
                let due = next.at(|| prl.next_solicitation(self.addresses()))?;
                // There may be another by now. A lookup that failed has its own time.
                let lost = self.trouble.is_none() && prl.are_lost(self.addresses());
                let known = self.known.as_ref().filter(|_| lost);
                Some(known.map_or(due, |known| due.min(known.at.after(LONGEST))))
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
    pub(super) fn reset_backoff(&mut self) {
        self.failures = Failures::default();
    }

    /// The hosts file has it; whether its routers are others now.
    pub(super) fn found_in_hosts(&mut self, cx: &mut Context, addresses: &[Ipv4Addr]) -> bool {
        let addresses = self.usable(cx, addresses);
        if addresses.is_empty() {
            return false;
        }
        // A change of the file is told: there is nothing to look up before.
        let changed = self.learn(cx, Known { addresses, full: None, at: cx.now, fresh: cx.now });
        self.phase = Phase::Waiting(Next::OnChange);
        if changed {
            let count = self.count();
            cx.log(Level::Notice, format_args!("{}: {count} of the hosts file", self.host));
        }
        changed
    }

    /// A lookup has ended; whether its routers are others now.
    pub(super) fn found(&mut self, cx: &mut Context, finding: Finding, rules: Rules<'_>) -> bool {
        match finding {
            Finding::Addresses { name, addresses, ttl } => {
                let addresses = self.usable(cx, &addresses);
                if addresses.is_empty() {
                    return self.failed(cx, Trouble::NoAddress, rules);
                }
                let fresh = cx.now.after(ttl);
                let changed =
                    self.learn(cx, Known { addresses, full: Some(name), at: cx.now, fresh });
                self.phase = Phase::Waiting(Next::fresh(cx.now, ttl, rules.refresh));
                if changed {
                    self.log_found(cx, ttl);
                }
                changed
            }
            Finding::Trouble(trouble) => self.failed(cx, trouble, rules),
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
        self.reset_backoff();
        self.trouble = None;
        if self.said.take().is_some() && !changed {
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
    fn failed(&mut self, cx: &mut Context, trouble: Trouble, rules: Rules<'_>) -> bool {
        self.asked = true;
        let queries = match &self.phase {
            Phase::Asking(lookup) => lookup.queries(),
            Phase::Waiting(_) => 1,
        };
        if std::mem::take(&mut self.again)
            && matches!(trouble, Trouble::ServersFail | Trouble::NoAnswer)
        {
            self.phase = Phase::Waiting(Next::At(cx.now.after(SOON)));
            return false;
        }
        let answered = matches!(trouble, Trouble::NoSuchName | Trouble::NoAddress);
        let stale = self.known.as_ref().is_some_and(|known| match known.full {
            // The hosts file has it no more, and nobody else has.
            None => answered || trouble.lasts(),
            Some(_) => answered && known.fresh.after(GRACE) <= cx.now,
        });
        if stale {
            self.known = None;
        }
        let load = queries.saturating_mul(u32::try_from(rules.names).unwrap_or(u32::MAX));
        let next = self.failures.next(cx, trouble, load, self.known.is_some());
        self.phase = Phase::Waiting(next);
        if (self.said != Some(trouble) && self.complaints.take(cx.now)) || stale {
            self.log_trouble(cx, trouble, rules.search);
            self.said = Some(trouble);
        }
        self.trouble = Some(trouble);
        stale
    }

    fn log_trouble(&self, cx: &mut Context, trouble: Trouble, search: &[HostName]) {
        let name = &self.host;
        let kept = match self.known {
            None => String::new(),
            Some(_) => format!(", keeps {}", self.count()),
        };
        let searched = Searched(if name.as_str().ends_with('.') { &[] } else { search });
        let longest = LONGEST.as_secs();
        match trouble {
            Trouble::NoServers | Trouble::NoDomain => cx.log(
                Level::Warning,
                format_args!("{name}: {trouble}{kept}; waits for resolv.conf to change"),
            ),
            Trouble::NoSuchName | Trouble::NoAddress => cx.log(
                Level::Warning,
                format_args!(
                    "{name}: {trouble}{searched}{kept}; asks again, at least each {longest} s"
                ),
            ),
            Trouble::ServersFail | Trouble::NoAnswer => cx.log(
                Level::Warning,
                format_args!("{name}: {trouble}{kept}; asks again, at least each {longest} s"),
            ),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "no such name",
            Self::NoAddress => "no usable address",
            Self::ServersFail => "name servers fail",
            Self::NoAnswer => "name servers do not answer",
            Self::NoServers => "no name server",
            Self::NoDomain => "no search domain",
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
