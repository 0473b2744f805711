//! rdisc6(8), a solicitor that is not ours.

use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Duration;

use crate::netns::within;
use crate::process::output;

/// What it makes of the answer to a solicitation from `source` to `to`: a line for each field, with
/// single spaces; nothing if there is none in a few seconds.
pub fn ask(namespace: &str, link: &str, source: Ipv6Addr, to: &str) -> Vec<String> {
    let mut command = Command::new("rdisc6");
    command.args(["-1", "-n", "-r", "3", "-w", "2000", "-s", &source.to_string(), to, link]);
    let answer = within(namespace, || output(&mut command, Duration::from_mins(1)));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().map(words);
    let progress = |line: &String| line.starts_with("Soliciting") || line == "Timed out.";
    lines.filter(|line| !line.is_empty() && !progress(line)).collect()
}
