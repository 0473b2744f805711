//! Whom to answer, and when (RFC 4861 section 6.2.6).

use std::collections::VecDeque;
use std::time::Duration;

use isatapd_datapath::Bucket;
use isatapd_proto::UnicastV4;

use super::clients::{Client, Timed};
use super::goodbye::SLICE;
use crate::Instant;
use crate::counters::Counter;
use crate::rng::Rng;

/// MAX_RA_DELAY_TIME (RFC 4861 section 10).
const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);
/// MIN_DELAY_BETWEEN_RAS (RFC 4861 section 10), here of one host; but two may follow each other at
/// once: the host's address has changed, or its program was started anew.
const MIN_DELAY_BETWEEN_RAS: Duration = Duration::from_secs(3);
/// Hosts that wait for an answer. At the rate of [`ANSWERS`] it is two seconds' work: a host
/// solicits again after four.
const MAX_PENDING: usize = 1024;
/// Hosts that are known to have been answered: those who are told of a change or of the end.
const MAX_RECENT: usize = 4096;
/// Messages: a [`SLICE`] at once and 500 a second. A site of thousands of hosts that all start after
/// a power failure is served in seconds, a flood with forged sources is not amplified.
const ANSWERS: Bucket = Bucket::new(SLICE, Duration::from_millis(2));
/// Answers without delay: 10 at once and 10 a second. The random delay spreads the answers of
/// several routers to one multicast solicitation, and storms. Here each solicitation is sent to one
/// router, so in quiet times nothing is gained by it, and the host waits for its first address.
const PROMPT: Bucket = Bucket::new(10, Duration::from_millis(100));

/// Those who wait and those who were answered.
#[derive(Debug)]
pub(crate) struct Answers {
    /// By the time at which they are answered.
    pending: Timed<MAX_PENDING>,
    /// By the time at which they were answered; of a second answer, from which they may have a third.
    recent: Timed<MAX_RECENT>,
    /// Those of `recent` who are still to be told of a change.
    untold: VecDeque<UnicastV4>,
    /// Who was not sent all of the messages yet, and which is next.
    begun: Option<(UnicastV4, Client, usize)>,
    rate: Bucket,
    prompt: Bucket,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            pending: Timed::default(),
            recent: Timed::default(),
            untold: VecDeque::new(),
            begun: None,
            rate: ANSWERS,
            prompt: PROMPT,
        }
    }
}

impl Answers {
    /// `host` solicits: it is answered in time, or why not. Whether it is new.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        host: UnicastV4,
        client: Client,
    ) -> Result<bool, Counter> {
        if self.pending.get(host).is_some() {
            return Err(Counter::SolicitWaits);
        }
        if self.pending.is_full() {
            return Err(Counter::SolicitExcess);
        }
        let last = self.recent.get(host).map(|(at, _)| at);
        let due = match last {
            Some(again) if again > now => again,
            _ if self.prompt.take(now) => now,
            _ => now.after(rng.spread(MAX_RA_DELAY_TIME, 0, 100)),
        };
        self.pending.insert(due, host, client);
        Ok(last.is_none())
    }

    /// All who were answered are to be told of a change, the latest first.
    pub(crate) fn tell_all(&mut self) {
        self.untold = self.recent.latest().collect();
        self.begun = None;
    }

    /// Who is sent which of so many messages now: first those who wait for them.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        messages: usize,
    ) -> Option<(UnicastV4, Client, usize)> {
        let waits = self.pending.first().is_some_and(|due| due <= now);
        let any = waits || self.begun.is_some() || !self.untold.is_empty();
        if !any || !self.rate.take(now) {
            return None;
        }
        let (host, client, nth) = if let Some(begun) = self.begun.take() {
            begun
        } else {
            let (host, client) = if waits { self.pending.pop() } else { self.next_untold() }?;
            // Of more than two, as of changes, only the last counts.
            let before = self.recent.get(host).map(|(at, _)| at.min(now));
            let again = before.map_or(now, |at| at.after(MIN_DELAY_BETWEEN_RAS).max(now));
            self.recent.insert(again, host, client);
            (host, client, 0)
        };
        let after = nth.saturating_add(1);
        self.begun = (after < messages).then_some((host, client, after));
        Some((host, client, nth))
    }

    fn next_untold(&mut self) -> Option<(UnicastV4, Client)> {
        // Some may have had to make room for others.
        while let Some(host) = self.untold.pop_front() {
            if let Some((_, client)) = self.recent.get(host) {
                return Some((host, client));
            }
        }
        None
    }

    /// All who were answered, the latest first; they are forgotten.
    pub(crate) fn take_recent(&mut self) -> VecDeque<(UnicastV4, Client)> {
        self.untold.clear();
        self.begun = None;
        let recent = std::mem::take(&mut self.recent);
        let client = |host| recent.get(host).map(|(_, client)| (host, client));
        recent.latest().filter_map(client).collect()
    }

    /// Nobody knows us: the tunnel has another end, or none.
    pub(crate) fn clear(&mut self) {
        let Self { rate, prompt, .. } = *self;
        *self = Self { rate, prompt, ..Self::default() };
    }

    /// When [`Self::next`] has somebody.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ready = self.rate.ready_at();
        let now = self.begun.is_some() || !self.untold.is_empty();
        if now { Some(ready) } else { self.pending.first().map(|due| due.max(ready)) }
    }

    /// How many wait, and how many were answered lately.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.pending.len(), self.recent.len())
    }
}
