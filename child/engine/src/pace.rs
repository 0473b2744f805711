//! How often at most.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

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
    fn so_many_in_any_second() {
        let mut window = PerSecond::<2>::default();
        for (now, ready) in [(5000, 0), (5900, 0), (6000, 6000), (6900, 6900)] {
            assert_eq!(window.ready_at(), at(ready));
            window.note(at(now));
        }
        assert_eq!(window.ready_at(), at(7000));
    }
}
