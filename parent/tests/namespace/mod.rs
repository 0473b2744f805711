//! A network namespace for the calling thread, and iproute2 in it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use isatapd::kernel::{IfIndex, Netlink};
use nix::sched::{CloneFlags, unshare};

/// A new network namespace for this thread and its children.
pub(crate) fn namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes network namespaces");
    ip("link set lo up");
}

/// What `ip` says to the arguments.
pub(crate) fn ip(line: &str) -> String {
    try_ip(line).unwrap_or_else(|error| panic!("ip {line}: {error}"))
}

/// What `ip` says to the arguments; `Err` if it refuses them.
pub(crate) fn try_ip(line: &str) -> Result<String, String> {
    let output = Command::new("ip").args(line.split_whitespace()).output().expect("iproute2");
    let text = |octets| String::from_utf8(octets).expect("iproute2 speaks UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Has one `ip` do all lines.
pub(crate) fn ip_batch(lines: &str) {
    let mut child =
        Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("iproute2 reads");
    assert!(child.wait().expect("iproute2 ends").success(), "{lines}");
}

/// Waits until these links carry packets: what leaves by one that has just been set up is lost.
pub(crate) fn await_up(names: &[&str]) {
    let began = Instant::now();
    for name in names {
        while !ip(&format!("link show {name}")).contains("state UP") {
            assert!(began.elapsed() < Duration::from_secs(30), "{name} stays down");
        }
    }
}

/// The number of an interface.
pub(crate) fn index_of(name: &str) -> IfIndex {
    let found = Netlink::open().expect("netlink").find_link(&name.parse().expect("a name"));
    found.expect("netlink").expect("an interface").index
}
