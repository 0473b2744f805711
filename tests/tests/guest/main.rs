//! Scenarios on a kernel that has sit, run as root inside `tests/lab/guest`: the guest lane of
//! `make test` does it.

mod coexist;
mod hostile;
mod keep;
mod moves;
mod no_sit;
mod quick;
mod sandbox;
mod start;

#[path = "../scenarios/mod.rs"]
mod scenarios;

use std::time::Duration;

use isatapd_tests::site::Site;
use scenarios::common;

/// How long quiet times last: any timer of a minute is over by then.
const QUIET: Duration = Duration::from_secs(70);

/// Routers are radvd on sit, and the host uses sit.
fn site(options: &[&str]) -> Site {
    Site::up(options)
}
