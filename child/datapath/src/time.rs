//! Boot time as a value.

use std::time::Duration;

/// A point on CLOCK_BOOTTIME, which counts while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// So long after boot.
    pub const fn since_boot(time: Duration) -> Self {
        Self(time)
    }

    /// The time since boot.
    pub const fn time_since_boot(self) -> Duration {
        self.0
    }

    /// This much later; at most the end of time.
    #[must_use]
    pub const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How long from `earlier` to here; zero if it is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
