//! Path MTUs of IPv4 destinations, as long as they hold.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::{Mtu, MtuMethod};

use crate::{IPV4_HEADER, Instant, Table};

/// RFC 1191 section 6.3: after that, a longer one is tried.
const AGE: Duration = Duration::from_secs(600);
/// No IPv4 link has a smaller MTU (RFC 791); what says so is forged.
const LEAST: u32 = 68;
/// What a router means that says nothing: the MTU of RFC 1191 section 5.
const UNSAID: u32 = 576;
/// How many destinations: so many sets of [`WAYS`].
const SETS: usize = 64;
/// Places for one destination.
const WAYS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    to: Ipv4Addr,
    /// In octets, of the IPv4 packet.
    mtu: u16,
    until: Instant,
}

/// A fixed number of path MTUs; when a place is wanted, the oldest goes.
#[derive(Debug)]
pub(crate) struct PathMtus(Box<[[Option<Entry>; WAYS]; SETS]>);

impl Default for PathMtus {
    fn default() -> Self {
        Self(Box::new([[None; WAYS]; SETS]))
    }
}

impl PathMtus {
    /// The path MTU to `to`, if it is known.
    pub(crate) fn get(&self, now: Instant, to: Ipv4Addr) -> Option<u16> {
        let set = self.0.get(place(to))?;
        set.iter().flatten().find(|entry| entry.to == to && entry.until > now).map(|e| e.mtu)
    }

    /// The path MTU to `to` is `mtu` at most; 0 if it was not said. Only this host knows of a larger
    /// one than before. Whether that was believed.
    pub(crate) fn learn(&mut self, now: Instant, to: Ipv4Addr, mtu: u32, by_us: bool) -> bool {
        let mtu = if mtu == 0 { UNSAID } else { mtu };
        if mtu < LEAST {
            return false;
        }
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let known = self.get(now, to).filter(|_| !by_us);
        let mtu = known.map_or(mtu, |known| known.min(mtu));
        let Some(set) = self.0.get_mut(place(to)) else { return false };
        let oldest = set.iter_mut().min_by_key(|entry| match entry {
            Some(entry) if entry.to == to => None,
            Some(entry) => Some(entry.until),
            None => Some(Instant::since_boot(Duration::ZERO)),
        });
        if let Some(entry) = oldest {
            *entry = Some(Entry { to, mtu, until: now.after(AGE) });
        }
        true
    }
}

/// The set of `to`: the upper bits of Fibonacci hashing.
const fn place(to: Ipv4Addr) -> usize {
    (to.to_bits().wrapping_mul(0x9e37_79b1) >> 26) as usize
}

/// How long an IPv6 packet may be, and whether it may be fragmented in IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) limit: u16,
    pub(crate) fragment: bool,
}

/// What RFC 4213 section 3.2 says of a packet to `to`.
pub(crate) fn fit(table: &Table, paths: &PathMtus, now: Instant, to: Ipv4Addr) -> Fit {
    let limit = table.mtu.unwrap_or(Mtu::MIN).get();
    if table.mtu_method != Some(MtuMethod::Dynamic) {
        return Fit { limit, fragment: true };
    }
    let path = paths.get(now, to).unwrap_or(u16::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "a constant of 20")]
    let inner = path.saturating_sub(IPV4_HEADER as u16);
    match inner {
        ..1280 => Fit { limit: 1280, fragment: true },
        _ => Fit { limit: inner.min(limit), fragment: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn at(seconds: u64) -> Instant {
        Instant::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn a_path_mtu_holds_ten_minutes() {
        let mut paths = PathMtus::default();
        assert_eq!(paths.get(at(100), A), None);
        paths.learn(at(100), A, 1400, false);
        assert_eq!(paths.get(at(100), A), Some(1400));
        assert_eq!(paths.get(at(699), A), Some(1400));
        assert_eq!(paths.get(at(700), A), None);
    }

    #[test]
    fn a_path_mtu_only_falls_unless_the_kernel_says_so() {
        let mut paths = PathMtus::default();
        for (time, mtu, by_us, expected) in [
            (0, 67, false, None),
            (1, 1, true, None),
            (2, 1400, false, Some(1400)),
            (3, 1450, false, Some(1400)),
            (4, 1300, false, Some(1300)),
            (5, 67, false, Some(1300)),
            (6, 1480, true, Some(1480)),
            (7, 0, false, Some(576)),
            (8, 68, false, Some(68)),
            (9, 100_000, true, Some(65_535)),
            (609, 1500, false, Some(1500)),
        ] {
            assert_eq!(paths.learn(at(time), A, mtu, by_us), !(1..68).contains(&mtu));
            assert_eq!(paths.get(at(time), A), expected, "{time}");
        }
    }

    #[test]
    fn many_destinations_push_out_the_oldest() {
        let mut paths = PathMtus::default();
        let to = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n);
        for n in 0..10_000 {
            paths.learn(at(u64::from(n)), to(n), 1400, false);
            assert_eq!(paths.get(at(u64::from(n)), to(n)), Some(1400));
            // Said again: no second place.
            paths.learn(at(u64::from(n)), to(n), 1300, false);
        }
        let held = paths.0.iter().flatten().flatten();
        assert_eq!(held.clone().count(), SETS * WAYS);
        let all: std::collections::BTreeSet<_> = held.map(|entry| entry.to).collect();
        assert_eq!(all.len(), SETS * WAYS);
        assert!(all.iter().all(|to| to.to_bits() >= 0x0a00_0000 + 9000));
    }
}
