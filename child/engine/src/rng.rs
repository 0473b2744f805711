//! What must not be guessed or synchronised.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};

/// Randomness from the seed given to the engine.
#[derive(Debug)]
pub(crate) struct Rng(ChaCha20Rng);

const MILLION: u32 = 1_000_000;

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// The id of a DNS query.
    pub(crate) fn id(&mut self) -> u16 {
        let [a, b, ..] = self.0.next_u32().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    /// `time` times a number between `low` and `high`, in percent, to a millionth.
    pub(crate) fn spread(&mut self, time: Duration, low: u32, high: u32) -> Duration {
        const STEPS: u32 = MILLION / 100;
        let (low, high) = (low.saturating_mul(STEPS), high.saturating_mul(STEPS));
        let span = u64::from(high.saturating_sub(low)).saturating_add(1);
        let beyond = u64::from(self.0.next_u32()).saturating_mul(span) >> u32::BITS;
        let factor = low.saturating_add(u32::try_from(beyond).unwrap_or(0));
        time.saturating_mul(factor).checked_div(MILLION).unwrap_or(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_keeps_its_bounds_and_uses_them() {
        let mut rng = Rng::new([1; 32]);
        let second = Duration::from_secs(1);
        let mut all: Vec<_> = (0..10_000).map(|_| rng.spread(second, 90, 110)).collect();
        all.sort_unstable();
        let (least, most) = (all[0], all[9999]);
        assert!(least >= Duration::from_millis(900) && least < Duration::from_millis(901));
        assert!(most <= Duration::from_millis(1100) && most > Duration::from_millis(1099));
        assert!(rng.spread(Duration::MAX, 72, 80) > Duration::from_hours(1_000_000));
    }
}
