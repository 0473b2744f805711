//! Scenarios on the daemon's own data path and router, run as root on any kernel that has TUN: the
//! native lane of `make test` does it, once the programs are staged.

mod connection;
mod dying;
mod files;
mod keep;
mod leaks;
mod name_servers;
mod peers;
mod pmtu;
mod quick;
mod start;
mod storms;
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
