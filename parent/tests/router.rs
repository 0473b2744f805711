//! What the parent does to the host for a router, in network namespaces that the tests make.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod namespace;

use std::fs;
use std::os::unix::fs::MetadataExt;

use isatapd::forwarding::Forwarding;
use isatapd::kernel::{FORWARDING, forwards};

#[test]
fn forwarding_is_in_the_end_as_it_was() {
    namespace::namespace();
    let folder = tempfile::tempdir().unwrap();
    let switch_on = || Forwarding::switch_on(folder.path()).unwrap();
    let files = || fs::read_dir(folder.path()).unwrap().count();
    assert!(!forwards());
    drop(switch_on().expect("it was off"));
    assert!(!forwards() && files() == 0);

    // Whoever ends last switches it off.
    for first_ends_first in [true, false] {
        let (first, second) = (switch_on(), switch_on());
        let (ends, stays) = if first_ends_first { (first, second) } else { (second, first) };
        drop(ends);
        assert!(forwards() && files() == 1);
        drop(stays.expect("it is ours"));
        assert!(!forwards() && files() == 0);
    }

    fs::write(FORWARDING, "1").unwrap();
    assert!(switch_on().is_none(), "it is on already");
    assert!(forwards(), "another's is left");

    // A crash leaves it on, and a file that nobody holds.
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
    fs::write(folder.path().join(format!("{own}.forward")), "").unwrap();
    drop(switch_on().expect("it is ours"));
    assert!(!forwards() && files() == 0);
}
