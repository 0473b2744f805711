//! When what was learnt ends, and short lists of things that end.

use isatapd_proto::Lifetime;

use crate::Instant;

/// The end of a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// There and then.
    At(Instant),
    /// Never: all ones on the wire.
    Forever,
}

impl Until {
    /// The end of what lasts for `lifetime` from `now`.
    pub(crate) fn of(now: Instant, lifetime: Lifetime) -> Self {
        lifetime.duration().map_or(Self::Forever, |time| Self::At(now.after(time)))
    }

    /// Whole seconds left.
    pub(crate) fn left(self, now: Instant) -> Lifetime {
        match self {
            Self::At(end) => Lifetime::of(Some(end.since(now))),
            Self::Forever => Lifetime::INFINITE,
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_passed(self, now: Instant) -> bool {
        self <= Self::At(now)
    }

    /// `None` for never.
    pub(crate) const fn instant(self) -> Option<Instant> {
        match self {
            Self::At(end) => Some(end),
            Self::Forever => None,
        }
    }
}

/// At most `N` things of different keys, each until its lifetime ends.
#[derive(Clone, Debug)]
pub(crate) struct Kept<K, V, const N: usize>(Vec<Entry<K, V>>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) until: Until,
}

/// What became of something advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// It was new.
    Added,
    /// It was known.
    Refreshed,
    /// It was known and is withdrawn.
    Removed,
    /// It was not known and is withdrawn.
    Nothing,
    /// It is new and there is no room.
    Full,
}

impl<K, V, const N: usize> Default for Kept<K, V, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V, const N: usize> Kept<K, V, N> {
    /// Takes over what was advertised: nothing is kept of a lifetime of zero.
    pub(crate) fn set(&mut self, now: Instant, key: K, value: V, lifetime: Lifetime) -> Update {
        self.expire(now);
        let until = Until::of(now, lifetime);
        let known = self.0.iter().position(|entry| entry.key == key);
        match (known, lifetime.is_zero()) {
            (None, true) => Update::Nothing,
            (Some(place), true) => {
                self.0.remove(place);
                Update::Removed
            }
            (Some(place), false) => {
                if let Some(entry) = self.0.get_mut(place) {
                    *entry = Entry { key, value, until };
                }
                Update::Refreshed
            }
            (None, false) if self.0.len() >= N => Update::Full,
            (None, false) => {
                self.0.push(Entry { key, value, until });
                Update::Added
            }
        }
    }

    /// Removes what has ended; whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| !entry.until.has_passed(now));
        self.0.len() != before
    }

    /// In the order in which they came.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Entry<K, V>> {
        self.0.iter()
    }

    /// When the first of them ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|entry| entry.until.instant()).min()
    }
}
