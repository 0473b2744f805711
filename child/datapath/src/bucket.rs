//! How often at most.

use std::time::Duration;

use crate::Instant;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    interval: Duration,
    burst: Duration,
    /// When it will be full again.
    full: Instant,
}

impl Bucket {
    /// One token for each `interval`, at most `capacity` of them; full.
    pub const fn new(capacity: u32, interval: Duration) -> Self {
        let burst = interval.saturating_mul(capacity.saturating_sub(1));
        Self { interval, burst, full: Instant::since_boot(Duration::ZERO) }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let has = self.ready_at() <= now;
        if has {
            self.full = self.full.max(now).after(self.interval);
        }
        has
    }

    /// From when on there is a token.
    pub const fn ready_at(&self) -> Instant {
        Instant::since_boot(self.full.time_since_boot().saturating_sub(self.burst))
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
}
