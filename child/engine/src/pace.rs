//! How often at most.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    burst: Duration,
    /// When it will be full again.
    full: Instant,
}

impl Bucket {
    /// One token for each `interval`, at most `capacity` of them; full.
    pub(crate) const fn new(capacity: u32, interval: Duration) -> Self {
        let burst = interval.saturating_mul(capacity.saturating_sub(1));
        Self { interval, burst, full: Instant::since_boot(Duration::ZERO) }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let has = self.ready_at() <= now;
        if has {
            self.full = self.full.max(now).after(self.interval);
        }
        has
    }

    /// From when on there is a token.
    pub(crate) const fn ready_at(&self) -> Instant {
        Instant::since_boot(self.full.time_since_boot().saturating_sub(self.burst))
    }
}

/// At most so many in any second.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerSecond<const N: usize>(VecDeque<Instant>);

impl<const N: usize> PerSecond<N> {
    /// From when on there is room for another.
    pub(crate) fn ready_at(&self) -> Instant {
        const SECOND: Duration = Duration::from_secs(1);
        let full = self.0.len() >= N;
        let oldest = self.0.front().filter(|_| full);
        oldest.map_or(Instant::since_boot(Duration::ZERO), |at| at.after(SECOND))
    }

    /// One more, for which there was room.
    pub(crate) fn note(&mut self, now: Instant) {
        if self.0.len() >= N {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::since_boot(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let mut bucket = Bucket::new(3, Duration::from_millis(100));
        let taken = |bucket: &mut Bucket, now| (0..9).filter(|_| bucket.take(at(now))).count();
        assert_eq!(taken(&mut bucket, 5000), 3);
        assert_eq!(bucket.ready_at(), at(5100));
        assert_eq!(taken(&mut bucket, 5099), 0);
        assert_eq!(taken(&mut bucket, 5100), 1);
        assert_eq!(taken(&mut bucket, 5350), 2);
        assert_eq!(taken(&mut bucket, 90_000), 3);
    }

    #[test]
    fn so_many_in_any_second() {
        let mut window = PerSecond::<2>::default();
        for (now, ready) in [(5000, 0), (5900, 0), (6000, 6000), (6900, 6900)] {
            assert_eq!(window.ready_at(), at(ready));
            window.note(at(now));
        }
        assert_eq!(window.ready_at(), at(7000));
    }
}
