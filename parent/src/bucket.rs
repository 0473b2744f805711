//! A bound on how often something may happen.

use std::time::{Duration, Instant};

/// A token bucket: `burst` at once, then one each `interval`.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    burst: u32,
    interval: Duration,
    /// When the bucket would be full again, had nothing more been taken.
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, full_at: None }
    }

    /// Takes one; false if there is none at `now`.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.wait(now).is_some() {
            return false;
        }
        self.full_at = self.full_at.map_or(now, |at| at.max(now)).checked_add(self.interval);
        true
    }

    /// How long from `now` until there is one to take; `None` if there is.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let capacity = self.interval.saturating_mul(self.burst.saturating_sub(1));
        let missing = self.full_at?.saturating_duration_since(now);
        missing.checked_sub(capacity).filter(|wait| !wait.is_zero())
    }
}

/// Something that may be wished as often as one likes, and is done as often as a bucket lets it.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    wished: bool,
    bucket: Bucket,
}

impl Wish {
    /// Nothing wished yet; the bucket as in [`Bucket::new`].
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { wished: false, bucket: Bucket::new(burst, interval) }
    }

    /// It is wished.
    pub const fn wish(&mut self) {
        self.wished = true;
    }

    /// When it may be done; `None`: nothing is wished.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let wait = self.bucket.wait(now).unwrap_or_default();
        self.wished.then(|| now.checked_add(wait)).flatten()
    }

    /// Whether it is to be done now; then it is wished no more.
    pub fn take(&mut self, now: Instant) -> bool {
        let now = self.wished && self.bucket.take(now);
        self.wished &= !now;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_granted_as_often_as_may_be_and_none_is_lost() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut wish = Wish::new(2, second);
        assert!(!wish.take(start));
        for granted in [true, true, false, false] {
            wish.wish();
            assert_eq!(wish.take(start), granted);
        }
        assert_eq!(wish.due(start), Some(start + second));
        assert!(wish.take(start + second));
        assert_eq!(wish.due(start + second), None);
    }

    #[test]
    fn a_burst_then_a_rate() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(3, second);
        assert_eq!([(); 5].map(|()| bucket.take(start)), [true, true, true, false, false]);
        assert_eq!(bucket.wait(start), Some(second));
        assert!(bucket.take(start + second));
        assert!(!bucket.take(start + second));
        let rested = start + Duration::from_secs(60);
        assert_eq!([(); 4].map(|()| bucket.take(rested)), [true, true, true, false]);
    }
}
