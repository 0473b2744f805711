//! What isatapctl(8) says of a tunnel.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::netns::within;
use crate::site::isatapd;

/// The program under test: beside isatapd.
pub fn isatapctl() -> PathBuf {
    isatapd().with_file_name("isatapctl")
}

/// `isatapctl ARGUMENTS` for this tunnel: its output if it had an answer, be it that IPv6 does not
/// work (status 1).
pub fn run(namespace: &str, tunnel: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(isatapctl());
    command.args(["-n", tunnel]).args(arguments);
    let output = within(namespace, || command.output()).expect("isatapctl");
    matches!(output.status.code(), Some(0 | 1))
        .then(|| String::from_utf8(output.stdout).expect("UTF-8"))
}

/// `isatapctl show -j`; `None` as long as nobody answers.
pub fn show(namespace: &str, tunnel: &str) -> Option<Value> {
    let text = run(namespace, tunnel, &["show", "-j"])?;
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("isatapctl show -j: {e}: {text}")))
}

/// A counter of `isatapctl show counters -j`; 0 if it is not there.
pub fn counter(namespace: &str, tunnel: &str, name: &str) -> u64 {
    let text = run(namespace, tunnel, &["show", "counters", "-j"]).expect("isatapctl");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let rows = all.get("counters").and_then(Value::as_array).expect("a list");
    let row = rows.iter().find(|row| row.get("what").is_some_and(|what| what == name));
    row.and_then(|row| row.get("count")?.as_u64()).unwrap_or(0)
}

/// The Potential Router List without this host itself, which is never used, in numeric order; none as
/// long as nobody answers.
pub fn routers(namespace: &str, tunnel: &str) -> Vec<Ipv4Addr> {
    let shown = show(namespace, tunnel).unwrap_or_default();
    let rows = shown.get("routers").and_then(Value::as_array).cloned().unwrap_or_default();
    let addresses = rows.iter().map(|r| r.get("address").and_then(Value::as_str).expect("text"));
    let mut found: Vec<Ipv4Addr> = addresses.map(|a| a.parse().expect("IPv4")).collect();
    found.retain(|router| shown.get("locator") != Some(&Value::from(router.to_string())));
    found.sort();
    found
}
