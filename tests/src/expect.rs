//! What the daemon is expected to show, in one place. Words are looked for without regard to case.

use std::process::ExitStatus;

/// Exit statuses (sysexits).
pub mod status {
    /// Wrong use of the command line.
    pub const USAGE: i32 = 64;
    /// No such user.
    pub const NO_USER: i32 = 67;
    /// The kernel lacks something.
    pub const UNAVAILABLE: i32 = 69;
    /// A file cannot be made.
    pub const CANNOT_CREATE: i32 = 73;
    /// Another instance runs.
    pub const TEMPORARY: i32 = 75;
    /// Not root.
    pub const NO_PERMISSION: i32 = 77;
}

/// What a kernel without the driver is told to lack.
pub const NO_SIT: &str = "sit";
/// Names the end of the child.
pub const CHILD_ENDED: &str = "child";

/// Metric of a default route of high, medium and low preference; the router's slot is added.
pub const METRIC_HIGH: u64 = 2048;
/// See [`METRIC_HIGH`].
pub const METRIC_MEDIUM: u64 = 2048 + 64;
/// See [`METRIC_HIGH`].
pub const METRIC_LOW: u64 = 2048 + 128;
/// What is added to each of these while the router is lost.
pub const METRIC_LOST: u64 = 192;
/// Slots: 0 to 63.
pub const SLOTS: u64 = 64;

/// From those of one tunnel to those of the next.
pub const METRICS: u64 = 512;

/// The user of the child.
pub const USER: &str = "_isatapd";

/// Panics unless `text` is one line that contains `words`.
pub fn one_line(text: &str, words: &[&str]) {
    assert_eq!(text.trim_end().lines().count(), 1, "not one line: {text:?}");
    let lower = text.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "no {word:?} in {text:?}");
    }
}

/// Panics unless the program ended by itself with that status.
pub fn exit(got: ExitStatus, want: i32, context: &str) {
    assert_eq!(got.code(), Some(want), "{context}: {got}");
}
