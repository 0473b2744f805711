//! Scenarios on the daemon's own data path and router, run as root on any kernel that has TUN: the
//! native lane of `make test` does it, once the programs are staged.

mod connection;
mod hostile;
mod leaks;
mod peers;
mod pmtu;
mod start;
mod subnets;

#[path = "../scenarios/mod.rs"]
mod scenarios;

use std::time::Duration;

use isatapd_tests::site::Site;
use scenarios::common;

/// How long quiet times last. Here they are real; the guest's are long.
const QUIET: Duration = Duration::from_secs(5);

/// Routers are isatapd, and the host uses TUN.
fn site(options: &[&str]) -> Site {
    Site::ours(options)
}
