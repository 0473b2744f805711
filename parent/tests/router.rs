//! What the parent does to the host for a router, in network namespaces that the tests make.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod namespace;

use std::fs;

use isatapd::kernel::{FORWARDING, forwards};
use isatapd::router::Forwarding;

#[test]
fn forwarding_is_in_the_end_as_it_was() {
    namespace::namespace();
    assert!(!forwards());
    let ours = Forwarding::switch_on().unwrap().expect("it was off");
    assert!(forwards());
    assert!(Forwarding::switch_on().unwrap().is_none(), "it is on already");
    drop(ours);
    assert!(!forwards());

    fs::write(FORWARDING, "1").unwrap();
    drop(Forwarding::switch_on().unwrap());
    assert!(forwards(), "another's is left");
}
