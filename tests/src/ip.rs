//! What ip(8) says of the tunnel.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::unistd::Pid;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::netns::within;
use crate::process::is_alive;
use crate::wait::{secs, wait_for};

/// Runs `ip ARGUMENTS` in a namespace and gives its output; panics if it fails.
pub fn run(namespace: &str, arguments: &str) -> String {
    let (ok, out, err) = ip(namespace, arguments);
    assert!(ok, "ip {arguments}: {err}");
    out
}

/// Whether `ip ARGUMENTS` succeeds in a namespace.
pub fn succeeds(namespace: &str, arguments: &str) -> bool {
    ip(namespace, arguments).0
}

fn ip(namespace: &str, arguments: &str) -> (bool, String, String) {
    let output = within(namespace, || Command::new("ip").args(arguments.split(' ')).output());
    let output = output.expect("ip");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Runs these commands of `ip -batch` in a namespace: one process, so they follow each other at once.
pub fn batch(namespace: &str, commands: &str) {
    let file = NamedTempFile::new().expect("a file");
    fs::write(&file, commands).expect("a file of commands");
    run(namespace, &format!("-batch {}", file.path().display()));
}

/// Gives a link another IPv4 address in place of the one that it has, in one system call, with the
/// mask of its class; when that began.
pub fn change_ipv4(namespace: &str, link: &str, to: Ipv4Addr) -> Instant {
    // struct ifreq: the name, then a sockaddr_in: family, port, address.
    let mut request = [0_u8; 40];
    request[..link.len()].copy_from_slice(link.as_bytes());
    request[16..18].copy_from_slice(&u16::try_from(libc::AF_INET).expect("2").to_ne_bytes());
    request[20..24].copy_from_slice(&to.octets());
    within(namespace, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let began = Instant::now();
        // SAFETY: the kernel reads a struct ifreq there, which is as long.
        let result =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, request.as_ptr()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        began
    })
}

/// The rows of `ip -json ARGUMENTS`; none if it fails, as for a link that is not there.
fn rows(namespace: &str, arguments: &str) -> Vec<Value> {
    let (ok, out, _) = ip(namespace, &format!("-json {arguments}"));
    if !ok || out.trim().is_empty() {
        return Vec::new();
    }
    let all: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("ip -json: {e}: {out}"));
    // ip prints {} for what its filter left out.
    all.as_array()
        .into_iter()
        .flatten()
        .filter(|v| v.get(0).is_none() && *v != &Value::Object(serde_json::Map::new()))
        .cloned()
        .collect()
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A tunnel link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Interface index.
    pub index: u64,
    /// MTU.
    pub mtu: u64,
    /// Whether it is up.
    pub up: bool,
    /// Kind of link: `sit`.
    pub kind: String,
    /// Whether it is in ISATAP mode.
    pub isatap: bool,
    /// Our end.
    pub local: String,
    /// TTL of the outer packets; 0 inherits.
    pub ttl: u64,
    /// The link it is bound to, if any.
    pub bound_to: Option<String>,
}

/// The link of this name, if there is one.
pub fn link(namespace: &str, name: &str) -> Option<Link> {
    let row = rows(namespace, &format!("-details link show dev {name}")).into_iter().next()?;
    let data = row.pointer("/linkinfo/info_data").cloned().unwrap_or_default();
    let flags = row.get("flags").and_then(Value::as_array).cloned().unwrap_or_default();
    Some(Link {
        index: number(&row, "ifindex")?,
        mtu: number(&row, "mtu")?,
        up: flags.iter().any(|f| f == "UP"),
        kind: row
            .pointer("/linkinfo/info_kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        isatap: data.get("isatap").and_then(Value::as_bool).unwrap_or(false),
        local: text(&data, "local").unwrap_or_default(),
        ttl: number(&data, "ttl").unwrap_or(0),
        bound_to: text(&row, "link").or_else(|| text(&data, "dev")),
    })
}

/// The names of all links.
pub fn links(namespace: &str) -> Vec<String> {
    rows(namespace, "link show").iter().filter_map(|row| text(row, "ifname")).collect()
}

/// An IPv6 address of a link; lifetimes in seconds, `u32::MAX` for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// Its prefix length.
    pub length: u64,
    /// Valid lifetime left.
    pub valid: u64,
    /// Preferred lifetime left.
    pub preferred: u64,
}

/// The IPv6 addresses of a link, in numeric order.
pub fn addresses(namespace: &str, name: &str) -> Vec<Address> {
    let rows = rows(namespace, &format!("-6 addr show dev {name}"));
    let infos = rows.iter().filter_map(|row| row.get("addr_info")?.as_array()).flatten();
    let mut found: Vec<Address> = infos
        .filter_map(|info| {
            Some(Address {
                address: text(info, "local")?.parse().ok()?,
                length: number(info, "prefixlen")?,
                valid: number(info, "valid_life_time")?,
                preferred: number(info, "preferred_life_time")?,
            })
        })
        .collect();
    found.sort_by_key(|a| a.address);
    found
}

/// An IPv6 route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `default` or a prefix.
    pub destination: String,
    /// Next hop.
    pub gateway: Option<Ipv6Addr>,
    /// Who made it: `ra`, `kernel`.
    pub protocol: String,
    /// Its metric: the lowest wins.
    pub metric: u64,
    /// Seconds left.
    pub expires: Option<u64>,
    /// RFC 4191 preference.
    pub preference: String,
    /// MTU metric.
    pub mtu: Option<u64>,
}

/// The IPv6 routes of the main table on a link, in the order of metrics.
pub fn routes(namespace: &str, name: &str) -> Vec<Route> {
    let rows = rows(namespace, &format!("-6 route show dev {name}"));
    let mut found: Vec<Route> = rows
        .iter()
        .map(|row| Route {
            destination: text(row, "dst").unwrap_or_default(),
            gateway: text(row, "gateway").and_then(|g| g.parse().ok()),
            protocol: text(row, "protocol").unwrap_or_default(),
            metric: number(row, "metric").unwrap_or(0),
            expires: number(row, "expires"),
            preference: text(row, "pref").unwrap_or_default(),
            mtu: row.pointer("/metrics/0/mtu").and_then(Value::as_u64),
        })
        .collect();
    found.sort_by_key(|r| r.metric);
    found
}

/// The default routes among [`routes`].
pub fn default_routes(namespace: &str, name: &str) -> Vec<Route> {
    let mut routes = routes(namespace, name);
    routes.retain(|r| r.destination == "default");
    routes
}

/// Watches what goes from a link, until dropped.
pub struct Watch {
    namespace: String,
    name: String,
    process: Child,
    log: NamedTempFile,
}

impl Watch {
    /// Of the link of this name; it listens already.
    pub fn start(namespace: &str, name: &str) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "stdbuf", "-oL"]);
        command.args(["ip", "-6", "-o", "monitor", "address", "route"]);
        let process = command.stdout(log.reopen().expect("the file")).spawn().expect("ip monitor");
        let watch = Self { namespace: namespace.to_owned(), name: name.to_owned(), process, log };
        watch.catch_up();
        watch
    }

    /// The addresses and routes that went.
    pub fn removed(&self) -> Vec<String> {
        let text = self.catch_up();
        let ours = |line: &&str| line.split_whitespace().any(|word| word == self.name);
        let gone = text.lines().filter(|line| line.starts_with("Deleted"));
        gone.filter(ours).map(str::to_owned).collect()
    }

    /// What it has told, once that includes a change made now, on another link.
    fn catch_up(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut marks = Vec::new();
        wait_for(secs(60), "ip monitor", || {
            let pid = Pid::from_raw(self.process.id().cast_signed());
            assert!(is_alive(pid), "ip monitor has ended");
            let mark = format!("fd77::{:x}/128", NEXT.fetch_add(1, Ordering::Relaxed));
            for act in ["add", "del"] {
                run(&self.namespace, &format!("-6 addr {act} {mark} dev lo"));
            }
            marks.push(mark);
            let text = fs::read_to_string(&self.log).expect("the file");
            marks.iter().any(|mark| text.contains(mark)).then_some(text)
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
