//! Which routers packets come from and go to, shared by the thread that moves packets and the one that
//! decides: no lock, and nothing is waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isatapd_proto::{MAX_ROUTERS, Slot};

use crate::Instant;

/// Routers by their slots. All are read and written on their own: no order is needed.
#[derive(Debug)]
pub struct Traffic {
    /// When something last came from each, in microseconds; 0: never.
    heard: [AtomicU64; MAX_ROUTERS],
    /// A bit for each router of which the next packet is to be told.
    watched: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { heard: [const { AtomicU64::new(0) }; MAX_ROUTERS], watched: AtomicU64::new(0) }
    }
}

impl Traffic {
    /// The next packet to each of these, a bit each, is to be told of once; to no other.
    pub fn watch(&self, slots: u64) {
        self.watched.store(slots, Ordering::Relaxed);
    }

    /// The same for these too.
    pub fn watch_again(&self, slots: u64) {
        self.watched.fetch_or(slots, Ordering::Relaxed);
    }

    /// Something came from this router.
    pub fn heard(&self, now: Instant, slot: Slot) {
        let micros = u64::try_from(now.time_since_boot().as_micros()).unwrap_or(u64::MAX);
        if let Some(heard) = self.heard.get(usize::from(slot.get())) {
            heard.store(micros, Ordering::Relaxed);
        }
    }

    /// When something last came from each.
    pub fn last_heard(&self) -> impl Iterator<Item = (Slot, Instant)> {
        let slots = (0..=u8::MAX).map_while(|slot| Slot::try_from(slot).ok());
        slots.zip(&self.heard).filter_map(|(slot, heard)| {
            let micros = heard.load(Ordering::Relaxed);
            (micros > 0).then(|| (slot, Instant::since_boot(Duration::from_micros(micros))))
        })
    }

    /// A packet goes to this router: its bit if that is to be told.
    pub(crate) fn sent(&self, slot: Slot) -> u64 {
        if self.watched.load(Ordering::Relaxed) & slot.bit() == 0 {
            return 0;
        }
        self.watched.fetch_and(!slot.bit(), Ordering::Relaxed) & slot.bit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u8) -> Slot {
        number.try_into().unwrap()
    }

    #[test]
    fn each_is_told_of_once() {
        let traffic = Traffic::default();
        assert_eq!(traffic.sent(slot(0)), 0);
        traffic.watch(1 << 63 | 1);
        assert_eq!([63, 63, 1, 0, 0].map(|n| traffic.sent(slot(n))), [1 << 63, 0, 0, 1, 0]);
        traffic.watch(2);
        traffic.watch_again(4);
        assert_eq!([0, 1, 2].map(|n| traffic.sent(slot(n))), [0, 2, 4]);
    }

    #[test]
    fn each_has_its_own_time() {
        let traffic = Traffic::default();
        assert_eq!(traffic.last_heard().count(), 0);
        let at = |n: u8| Instant::since_boot(Duration::from_secs(n.into()));
        for n in [0, 7, 63] {
            traffic.heard(at(n + 1), slot(n));
        }
        let expected = [0, 7, 63].map(|n| (slot(n), at(n + 1)));
        assert_eq!(traffic.last_heard().collect::<Vec<_>>(), expected);
    }
}
