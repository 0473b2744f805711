//! Capability sets.

use std::fmt;

use nix::errno::Errno;

use crate::failure::{At, Failure};
use crate::prctl;

/// The last number that the sets have room for.
const LAST: u8 = 63;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two 32-bit words a set.
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`; pid 0 is the caller.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// A set of capabilities, bit n for capability n (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    pub(crate) const fn of(numbers: &[u8]) -> Self {
        let mut bits = 0;
        let mut rest = numbers;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first;
            rest = tail;
        }
        Self(bits)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, capability: u8) -> bool {
        self.0 & (1 << capability) != 0
    }

    fn low(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or_default()
    }

    fn high(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }

    fn from_words(low: u32, high: u32) -> Self {
        Self(u64::from(low) | u64::from(high) << 32)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

/// All sets of the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What may be made effective.
    pub permitted: Set,
    /// What the kernel looks at.
    pub effective: Set,
    /// What an exec may keep.
    pub inheritable: Set,
    /// What an exec may gain.
    pub bounding: Set,
    /// What every exec keeps.
    pub ambient: Set,
}

impl Sets {
    /// Reads all sets of the caller.
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut data = [Data::default(); 2];
        let header = Header { version: VERSION_3, pid: 0 };
        // SAFETY: version 3 reads one header and writes two words of data, which both live here.
        let answer = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut data) };
        Errno::result(answer).at("capget")?;
        let [low, high] = data;
        Ok(Self {
            permitted: Set::from_words(low.permitted, high.permitted),
            effective: Set::from_words(low.effective, high.effective),
            inheritable: Set::from_words(low.inheritable, high.inheritable),
            bounding: collect(prctl::bounding_has).at("prctl(PR_CAPBSET_READ)")?,
            ambient: collect(prctl::ambient_has).at("prctl(PR_CAP_AMBIENT_IS_SET)")?,
        })
    }
}

/// Asks for each capability that the kernel knows.
fn collect(has: fn(u8) -> nix::Result<bool>) -> nix::Result<Set> {
    let mut bits = 0;
    for capability in 0..=LAST {
        match has(capability) {
            Ok(true) => bits |= 1 << capability,
            Ok(false) => {}
            Err(Errno::EINVAL) if capability > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(Set(bits))
}

/// Takes all but `keep` from the bounding set, and all from the ambient set; locks the securebits.
/// Needs CAP_SETPCAP, so it comes before [`limit`]. Does not allocate.
pub(crate) fn close_ways_back(keep: Set) -> Result<(), Failure> {
    for capability in (0..=LAST).filter(|capability| !keep.has(*capability)) {
        match prctl::bounding_drop(capability) {
            Err(Errno::EINVAL) if capability > 0 => break,
            answer => answer.at("prctl(PR_CAPBSET_DROP)")?,
        }
    }
    prctl::ambient_clear().at("prctl(PR_CAP_AMBIENT_CLEAR_ALL)")?;
    prctl::lock_securebits().at("prctl(PR_SET_SECUREBITS)")
}

/// Makes `keep` the permitted and effective set, and the inheritable set empty. Does not allocate.
pub(crate) fn limit(keep: Set) -> Result<(), Failure> {
    let word = |bits| Data { effective: bits, permitted: bits, inheritable: 0 };
    let data = [word(keep.low()), word(keep.high())];
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 reads one header and two words of data, which both live here.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) };
    Errno::result(answer).at("capset").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_both_words() {
        let set = Set::of(&[0, 12, 31, 32, 40]);
        assert_eq!(Set::from_words(set.low(), set.high()), set);
        assert_eq!((set.low(), set.high()), (0x8000_1001, 0x101));
        assert!(set.has(40) && !set.has(39) && !set.is_empty());
    }

    #[test]
    fn reads_what_the_kernel_shows() {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let shown = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            Set(u64::from_str_radix(line.trim(), 16).unwrap())
        };
        let sets = Sets::read().unwrap();
        assert_eq!(sets.permitted, shown("CapPrm:"));
        assert_eq!(sets.effective, shown("CapEff:"));
        assert_eq!(sets.inheritable, shown("CapInh:"));
        assert_eq!(sets.bounding, shown("CapBnd:"));
        assert_eq!(sets.ambient, shown("CapAmb:"));
    }
}
