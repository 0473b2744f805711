//! Waiting for what must come, with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two looks at first, and at most: looks cost as much as what is looked at.
const STEPS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What `look` gives as soon as it gives something; panics after `limit`, naming `what`.
pub fn wait_for<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

/// What `look` gives as soon as it gives something, or `None` after `limit`.
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut step = STEPS.0;
    loop {
        // The last look begins after the deadline, so that a slow look is no failure.
        let last = Instant::now() >= deadline;
        if let Some(found) = look() {
            return Some(found);
        }
        if last {
            return None;
        }
        sleep(step.min(deadline.saturating_duration_since(Instant::now())));
        step = (step * 5 / 4).min(STEPS.1);
    }
}

/// Panics if `holds` is not true all the time for `duration`.
pub fn stays(duration: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let broken = poll(duration, || (!holds()).then_some(()));
    assert!(broken.is_none(), "{what}: not for all of {duration:?}");
}

/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
