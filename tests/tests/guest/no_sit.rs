//! A kernel without the driver: run in a guest of its own, which refuses to load it.

use std::fs;
use std::process::Command;

use isatapd_tests::expect::{self, NO_SIT, status};
use isatapd_tests::netns::in_new;
use isatapd_tests::process::output;
use isatapd_tests::site::isatapd;
use isatapd_tests::wait::secs;

#[test]
#[ignore = "needs a kernel that refuses sit: the guest lane of make test runs it"]
fn one_line_and_an_exit_status() {
    in_new(|| {
        for background in [&[][..], &["--daemon"]] {
            let mut command = Command::new(isatapd());
            command.args(["--backend", "kernel", "10.0.0.101"]);
            let output = output(command.args(background), secs(120));
            expect::exit(output.status, status::UNAVAILABLE, "no sit");
            expect::one_line(&String::from_utf8_lossy(&output.stderr), &[NO_SIT]);
        }
        // Two lines of heads, and lo.
        let links = fs::read_to_string("/proc/thread-self/net/dev").expect("links");
        assert_eq!(links.lines().count(), 3, "{links}");
    });
}
