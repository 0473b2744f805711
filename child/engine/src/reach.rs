//! Whether a router is reachable (RFC 4861 section 7.3, RFC 7048), driven by traffic: without any,
//! no router is asked, be it there or lost, and nothing wakes us.
//!
//! RFC 4861 takes a neighbour for reachable for half a minute after it was confirmed, and asks the
//! upper layers meanwhile. Here whatever comes from a router while packets go to it breaks its
//! silence, so that silence is noticed within seconds; then it is asked as the RFC says. Packets are no
//! answer to that: they do not tell that ours arrive.

use std::time::Duration;

use isatapd_proto::RouterTimeout;

use crate::Instant;
use crate::solicit::MIN_ROUTER_SOLICIT_INTERVAL;

/// MAX_UNICAST_SOLICIT (RFC 4861 section 10).
const MAX_UNICAST_SOLICIT: u32 = 3;
/// The longest time between probes of a router that does not answer (RFC 4191 section 3.5: once
/// per minute).
const MAX_PROBE_INTERVAL: Duration = Duration::from_mins(1);
/// So long a router is asked that may know nothing of Neighbor Solicitations: for two of a router,
/// which are 4 s apart (RFC 7559), as it need not answer within MIN_DELAY_BETWEEN_RAS, 3 s, and
/// MAX_RA_DELAY_TIME, 0.5 s (RFC 4861 section 10).
const PATIENCE: Duration = Duration::from_secs(8);

/// How quick to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// So long a router may be silent while packets go to it.
    silence: Duration,
    /// RETRANS_TIMER (RFC 4861 section 10): between probes.
    retrans: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self::of(RouterTimeout::DEFAULT)
    }
}

impl Timing {
    /// Silence may begin right after something was heard, and is noticed at the end of the next time
    /// in which something should be: twice `silence` and three times `retrans` are the timeout.
    pub(crate) fn of(timeout: RouterTimeout) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let times = |part| Duration::from_nanos(part).saturating_mul(timeout.get().into());
        Self { silence: times(SECOND / 4), retrans: times(SECOND / 6) }
    }
}

/// What is known of one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No packet goes there, as far as is known: to be told when one does.
    #[default]
    Quiet,
    /// Packets go there; something must have come from there at `until`.
    Watched { since: Instant, until: Instant },
    /// It was asked `sent` times from `since` on, and is to be asked again at `next`; if it is lost, not
    /// without traffic, by whatever router (RFC 4191 section 3.5).
    Probed { since: Instant, sent: u32, next: Instant, lost: bool, traffic: bool },
}

/// The reachability of one router.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reachability {
    state: State,
    /// When anything last came from it.
    heard: Option<Instant>,
    /// When it last advertised, or answered.
    confirmed: Option<Instant>,
    /// It is known to answer Neighbor Solicitations.
    answers: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send it a Neighbor Solicitation; `first`: nothing of the kind was sent before.
    Probe { first: bool },
    /// It has become unreachable, which is news; send it a Neighbor Solicitation as well.
    Lost,
}

impl Reachability {
    /// Whether it is not known to be unreachable.
    pub(crate) const fn is_reachable(&self) -> bool {
        !matches!(self.state, State::Probed { lost: true, .. })
    }

    /// Whether it is to be told when a packet goes there.
    pub(crate) const fn is_quiet(&self) -> bool {
        matches!(self.state, State::Quiet)
    }

    /// Whether it is to be told when a packet goes to any router.
    pub(crate) const fn rests(&self) -> bool {
        matches!(self.state, State::Probed { lost: true, traffic: false, .. })
    }

    /// Whether it is being asked.
    pub(crate) const fn is_probed(&self) -> bool {
        matches!(self.state, State::Probed { .. })
    }

    /// Whether it is known to answer Neighbor Solicitations. Some routers do not.
    pub(crate) const fn answers(&self) -> bool {
        self.answers
    }

    /// It has answered a Neighbor Solicitation. True if it was unreachable.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        self.answers = true;
        self.confirm(now)
    }

    /// It has advertised, or answered. True if it was unreachable.
    pub(crate) fn confirm(&mut self, now: Instant) -> bool {
        let lost = !self.is_reachable();
        self.confirmed = Some(now);
        self.heard = Some(now);
        if self.is_probed() {
            self.state = State::Quiet;
        }
        lost
    }

    /// A packet came from it, then.
    pub(crate) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(Some(at));
    }

    /// A packet goes to it. One that does not answer Neighbor Solicitations is asked for an
    /// advertisement, and not more often than RFC 5214 section 8.3.4 allows.
    pub(crate) fn traffic(&mut self, now: Instant, timing: Timing) {
        if self.is_quiet() {
            let rest = self.confirmed.filter(|_| !self.answers);
            let rest = rest.map_or(now, |at| at.after(MIN_ROUTER_SOLICIT_INTERVAL));
            let until = now.after(timing.silence).max(rest);
            self.state = State::Watched { since: now, until };
        }
    }

    /// A packet goes to some router.
    pub(crate) fn any_traffic(&mut self) {
        if let State::Probed { traffic, .. } = &mut self.state {
            *traffic = true;
        }
    }

    /// There is reason to doubt it (RFC 5214 section 7.2): it is asked at once. Anybody can cause
    /// that, so it is no more than a question.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if !self.is_probed() {
            self.state =
                State::Probed { since: now, sent: 0, next: now, lost: false, traffic: false };
        }
    }

    /// The network has changed: if it was unreachable, it may be there again.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let State::Probed { next, lost: true, traffic, .. } = &mut self.state {
            (*next, *traffic) = (now, true);
        }
    }

    /// There is no way to it any more, or another: what went there may be lost.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.is_reachable() {
            self.state = State::Quiet;
        }
        self.hurry(now);
    }

    /// When [`Reachability::step`] is due.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Quiet | State::Probed { lost: true, traffic: false, .. } => None,
            State::Watched { until, .. } => Some(until),
            State::Probed { next, .. } => Some(next),
        }
    }

    /// When it is asked next.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.deadline().filter(|_| self.is_probed())
    }

    /// What is due now.
    pub(crate) fn step(&mut self, now: Instant, timing: Timing) -> Option<Step> {
        if self.deadline()? > now {
            return None;
        }
        match self.state {
            State::Quiet => None,
            State::Watched { since, .. } if self.heard >= Some(since) => {
                self.state = State::Quiet;
                None
            }
            State::Watched { .. } => Some(self.probe(now, timing, (now, 0, false))),
            State::Probed { since, sent, lost, .. } => {
                Some(self.probe(now, timing, (since, sent, lost)))
            }
        }
    }

    fn probe(
        &mut self,
        now: Instant,
        timing: Timing,
        (since, before, was_lost): (Instant, u32, bool),
    ) -> Step {
        let patient_until = since.after(PATIENCE);
        let asked = before >= MAX_UNICAST_SOLICIT && (self.answers || now >= patient_until);
        let lost = was_lost || asked;
        let sent = before.saturating_add(1);
        let beyond = sent.saturating_sub(MAX_UNICAST_SOLICIT).min(16);
        let wait = timing.retrans.saturating_mul(1 << beyond).min(MAX_PROBE_INTERVAL);
        let next = now.after(wait);
        // Not later than it may be lost.
        let limits = !lost && !self.answers && sent >= MAX_UNICAST_SOLICIT && patient_until > now;
        let next = if limits { next.min(patient_until) } else { next };
        self.state = State::Probed { since, sent, next, lost, traffic: false };
        if lost && !was_lost { Step::Lost } else { Step::Probe { first: before == 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing =
        Timing { silence: Duration::from_secs(2), retrans: Duration::from_secs(1) };
    const FIRST: Step = Step::Probe { first: true };
    const PROBE: Step = Step::Probe { first: false };

    fn at(millis: u64) -> Instant {
        Instant::since_boot(Duration::from_millis(millis))
    }

    /// One that has answered at the beginning of time.
    fn known() -> Reachability {
        let mut one = Reachability::default();
        assert!(!one.answered(at(0)));
        one
    }

    /// Steps until `end`: when, and which.
    fn run(one: &mut Reachability, timing: Timing, end: u64) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        while let Some(due) = one.deadline().filter(|due| *due <= at(end)) {
            if let Some(step) = one.step(due, timing) {
                steps.push((u64::try_from(due.time_since_boot().as_millis()).unwrap(), step));
            }
            one.any_traffic();
        }
        steps
    }

    #[test]
    fn without_traffic_nothing_is_due() {
        let mut one = Reachability::default();
        assert_eq!(one.deadline(), None);
        one.confirm(at(0));
        assert_eq!((one.deadline(), one.is_reachable(), one.is_quiet()), (None, true, true));
    }

    #[test]
    fn silence_under_traffic_is_probed_and_then_lost() {
        let mut one = known();
        one.traffic(at(10_000), TIMING);
        one.traffic(at(11_000), TIMING);
        one.heard(at(9999));
        let steps = run(&mut one, TIMING, 20_000);
        let expected = [
            (12_000, FIRST),
            (13_000, PROBE),
            (14_000, PROBE),
            (15_000, Step::Lost),
            (17_000, PROBE),
        ];
        assert_eq!(steps, expected);
        assert!(!one.is_reachable());
        // It is asked at longer and longer intervals, but for ever, as long as there is traffic.
        let later = run(&mut one, TIMING, 1_000_000);
        let gaps: Vec<_> = later.windows(2).map(|w| w[1].0 - w[0].0).collect();
        assert!(gaps.is_sorted() && gaps.last() == Some(&60_000), "{gaps:?}");
        one.step(one.deadline().unwrap(), TIMING);
        assert_eq!((one.deadline(), one.rests()), (None, true));
        // Packets do not say that ours arrive.
        one.heard(at(1_000_000));
        assert!(!one.is_reachable());
        // The network has changed.
        one.hurry(at(1_100_001));
        assert_eq!(one.next_probe(), Some(at(1_100_001)));
        assert!(one.confirm(at(1_100_002)), "that is news");
        assert!(one.is_reachable() && one.deadline().is_none());
    }

    #[test]
    fn whatever_comes_back_is_enough() {
        let mut one = known();
        one.traffic(at(10_000), TIMING);
        one.heard(at(10_000));
        assert_eq!(run(&mut one, TIMING, 60_000), []);
        assert!(one.is_quiet());
        one.traffic(at(70_000), TIMING);
        one.confirm(at(71_000));
        assert_eq!(run(&mut one, TIMING, 99_000), []);
        one.traffic(at(100_000), TIMING);
        assert_eq!(one.step(at(102_000), TIMING), Some(FIRST));
        assert!(!one.answered(at(102_500)), "it was not given up yet");
        assert_eq!(one.deadline(), None);
    }

    /// Two solicitations of a router, 4 s apart, may each wait for 3.5 s.
    #[test]
    fn one_that_never_answered_is_given_time() {
        for timing in
            [TIMING, Timing::of(1.try_into().unwrap()), Timing::of(60.try_into().unwrap())]
        {
            let mut one = Reachability::default();
            one.doubt(at(0));
            let steps = run(&mut one, timing, 200_000);
            assert!(steps.is_sorted_by(|a, b| a.0 < b.0), "{steps:?}");
            let lost = steps.iter().position(|(_, step)| *step == Step::Lost).unwrap();
            assert!(lost >= 3 && steps[lost].0 >= 8000, "{steps:?}");
            assert!(timing != TIMING || steps[lost].0 == 8000, "{steps:?}");
        }
    }

    /// RFC 5214 section 8.3.4
    #[test]
    fn one_that_never_answered_is_seldom_asked() {
        let mut one = Reachability::default();
        one.confirm(at(10_000));
        one.traffic(at(20_000), TIMING);
        assert_eq!(one.deadline(), Some(at(130_000)));
        assert_eq!(one.step(at(130_000), TIMING), Some(FIRST));
        one.confirm(at(130_001));
        one.traffic(at(300_000), TIMING);
        assert_eq!(one.deadline(), Some(at(302_000)));
    }

    #[test]
    fn doubt_asks_and_no_more() {
        let mut one = known();
        one.doubt(at(5));
        assert_eq!(one.step(at(5), TIMING), Some(FIRST));
        one.doubt(at(6));
        assert_eq!(one.deadline(), Some(at(1005)));
        assert!(one.is_reachable());
        one.confirm(at(7));
        assert_eq!(one.deadline(), None);
    }

    #[test]
    fn another_way_is_another_try() {
        let mut one = known();
        one.traffic(at(0), TIMING);
        one.close(at(1));
        assert!(one.is_quiet());
        one.doubt(at(2));
        run(&mut one, TIMING, 10_000);
        one.close(at(10_001));
        assert_eq!((one.is_reachable(), one.deadline()), (false, Some(at(10_001))));
    }

    /// The timeout is the longest time from the last sign of life.
    #[test]
    fn as_quick_as_it_says() {
        for timeout in [1, 6, 60] {
            let timing = Timing::of(RouterTimeout::try_from(timeout).unwrap());
            let mut one = known();
            one.traffic(at(0), timing);
            one.heard(at(0));
            assert_eq!(run(&mut one, timing, 15_000), []);
            let begin = u64::try_from(timing.silence.as_millis()).unwrap();
            one.traffic(at(begin), timing);
            let (lost, step) = run(&mut one, timing, 60_000)[3];
            assert_eq!(step, Step::Lost);
            assert!(lost <= u64::from(timeout) * 1000 && lost + 4 >= u64::from(timeout) * 1000);
        }
        assert_eq!(Timing::default().retrans, Duration::from_nanos(999_999_996));
    }
}
