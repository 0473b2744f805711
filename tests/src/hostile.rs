//! What an attacker in the child's place does (`bin/hostile-child.rs`), and what must stay as it is.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::forge::isatap;
use crate::ip;
use crate::netns::within;
use crate::process::{await_gone, resident};
use crate::site::Site;
use crate::wait::secs;

/// Messages that no child sends: each is its end.
pub const VIOLATIONS: [&str; 43] = [
    "forge router 0.0.0.0",
    "forge router 0.1.2.3",
    "forge router 127.0.0.1",
    "forge router 224.0.0.1",
    "forge router 240.0.0.1",
    "forge router 255.255.255.255",
    "forge slot 64",
    "forge slot 255",
    "forge count 65",
    "forge count 700",
    "forge count 18446744073709551615",
    "forge prefix ::",
    "forge prefix ::1",
    "forge prefix fe80::",
    "forge prefix ff02::",
    "forge prefix 2001:db8::1",
    "forge destination ::1/128",
    "forge destination ::/1",
    "forge destination fe80::/64",
    "forge destination ff00::/8",
    "forge destination 2001:db8::/16",
    "forge destination 2001:db8::/129",
    "forge mtu 0",
    "forge mtu 68",
    "forge mtu 1279",
    "forge server 3",
    "forge server 255",
    "forge trailing 1",
    "forge short 1",
    "frame 1",
    "frame 4096",
    "frame 4097",
    "frame 65536",
    "descriptors 1",
    "descriptors 2",
    "descriptors 253",
    "replay",
    "again",
    "pong",
    "state",
    "after",
    "deaf",
    "empty",
];

/// What else ends a child, by itself.
pub const ENDS: [&str; 3] = ["close", "exit", "crash"];

/// What takes all the time that the parent has, if it lets it.
pub const STORMS: [&str; 7] = [
    "spin",
    "storm report",
    "storm log",
    "storm dns",
    "storm routes",
    "storm routers",
    "storm traffic",
];

/// The daemon as it was before a storm.
pub struct Storm {
    /// Whose storm it is.
    pub child: Pid,
    resident: u64,
    lines: usize,
}

impl Storm {
    /// Before the order.
    pub fn begin(daemon: &mut Daemon) -> Self {
        let child = daemon.child();
        let lines = daemon.log().lines().count();
        Self { child, resident: resident(daemon.parent()), lines }
    }

    /// Ends the daemon. Panics unless it does so soon, and has grown little and said little, and nothing
    /// that a terminal or a reader of its log would take for something else.
    pub fn end(self, daemon: &mut Daemon, attack: &str) {
        let grown = resident(daemon.parent()).saturating_sub(self.resident);
        let (status, took) = daemon.stop(Signal::SIGTERM);
        let log = daemon.log();
        let said = log.lines().count() - self.lines;
        println!("{attack}: {said} lines, grown by {grown} KiB, ended in {took:?}");
        assert_eq!(status.code(), Some(0), "{attack}");
        // Others want the processor, too.
        assert!(took < secs(5), "{attack}: took {took:?} to end");
        assert!(grown < 1024, "{attack}: the parent has grown by {grown} KiB");
        // 300 at once, then 10 a second, for as long as all this takes.
        assert!(said < 600, "{attack}: {said} lines");
        assert!(!log.contains('\u{1b}') && !log.contains("\n<0>"), "{attack}");
        await_gone(self.child);
    }
}

/// Gives the host more than one interface, and the child nothing to do yet.
pub fn surround(site: &Site) {
    order(site, "nothing");
    let lines = [
        "route add default via 10.0.0.101",
        "link add br0 type bridge",
        "addr add 10.9.0.1/24 dev br0",
        "link set br0 addrgenmode none",
        "link set br0 up",
        "-6 rule add from 2001:db8:9::/64 table 99 pref 99",
        "neigh add 10.9.0.9 lladdr 02:00:00:00:00:09 dev br0",
    ];
    let with_sit = [
        "tunnel add six mode sit remote 10.0.0.102 local 10.0.0.2",
        "link set six up",
        "-6 route add 2001:db8:99::/48 dev six",
    ];
    for line in lines.iter().chain(with_sit.iter().filter(|_| site.has_sit())) {
        site.ip("host", line);
    }
}

fn hosts(site: &Site) -> PathBuf {
    Path::new("/etc/netns").join(site.namespace("host")).join("hosts")
}

/// Has the hostile child do this.
pub fn order(site: &Site, attack: &str) {
    fs::write(hosts(site), format!("127.0.0.1 localhost\n# attack {attack}\n")).expect("hosts");
}

/// All that the child must not change, by where it is.
pub fn outside(site: &Site) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for what in ["-4 rule", "-6 rule", "addr", "link", "neigh", "-4 route", "-6 route"] {
        let table = if what.ends_with("route") { " show table all" } else { "" };
        for mut row in rows(site, &format!("{what}{table}")) {
            let device = row.get("dev").or(row.get("ifname")).and_then(Value::as_str);
            // Whom the host has spoken to on the site is not the child's doing alone.
            if device == Some("is0") || (what == "neigh" && device == Some("eth0")) {
                continue;
            }
            forget_time(&mut row);
            all.insert(format!("{what} {row}"), String::new());
        }
    }
    within(&site.namespace("host"), || {
        for folder in ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"] {
            walk(&Path::new("/proc/sys/net").join(folder), &mut |path| {
                let text = fs::read_to_string(path).unwrap_or_default();
                all.insert(path.display().to_string(), text);
            });
        }
    });
    // Other tests run beside those of the native lane.
    for folder in ["/etc", "/run"].iter().filter(|_| site.has_sit()) {
        walk(Path::new(folder), &mut |path| {
            // No change of a file escapes its ctime.
            let Ok(about) = fs::symlink_metadata(path) else { return };
            let text = format!("{} {} {:o}", about.ctime(), about.ctime_nsec(), about.mode());
            all.insert(path.display().to_string(), text);
        });
    }
    // What the test, the site's servers and the daemon's lock write; and other sites.
    all.retain(|path, _| {
        !["/etc/netns/", "/run/topology/", "/run/guest/", "/run/isatapd"]
            .iter()
            .any(|own| path.starts_with(own))
            && !path.contains("/is0/")
    });
    all
}

/// The objects that `ip -json ARGUMENTS` shows on the host.
fn rows(site: &Site, arguments: &str) -> Vec<Value> {
    let text = site.ip("host", &format!("-json {arguments}"));
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    all.as_array().into_iter().flatten().cloned().collect()
}

/// Lifetimes run, and neighbours are confirmed, whatever the child does.
fn forget_time(row: &mut Value) {
    let object = row.as_object_mut().expect("an object");
    for key in ["expires", "state"] {
        object.remove(key);
    }
}

fn walk(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), see);
        } else {
            see(&entry.path());
        }
    }
}

/// Panics if anything outside the tunnel is not as before, or anything on it breaks the promise.
pub fn check(site: &Site, before: &BTreeMap<String, String>) {
    let after = outside(site);
    let gone: Vec<_> = before.iter().filter(|(k, v)| after.get(*k) != Some(v)).collect();
    let new: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
    assert!(gone.is_empty() && new.is_empty(), "changed: {gone:#?}\nto: {new:#?}");
    check_tunnel(site);
}

/// Panics if anything on the tunnel breaks the promise.
pub fn check_tunnel(site: &Site) {
    let host = site.namespace("host");
    let link = ip::link(&host, "is0").expect("is0");
    let is_ours = if site.has_sit() { link.isatap } else { link.kind == "tun" };
    assert!(link.up && is_ours && link.mtu == 1480, "{link:?}");

    let addresses = ip::addresses(&host, "is0");
    assert!(addresses.len() <= 17, "{} addresses: {addresses:?}", addresses.len());
    let locals = [[10, 0, 0, 2], [10, 9, 0, 1]].map(Ipv4Addr::from);
    let has = |local: &&Ipv4Addr| addresses.iter().any(|a| a.address == isatap(**local));
    let local = *locals.iter().find(has).expect("the link-local address");
    assert!(!site.has_sit() || link.local == local.to_string(), "{link:?}");
    let own = isatap(local).segments();
    for address in &addresses {
        let segments = address.address.segments();
        assert_eq!(segments[4..], own[4..], "{address:?}");
        assert!(may_be_reached(segments[0]) || address.address == isatap(local), "{address:?}");
    }

    // Who listens to a child behind a TUN interface is up to that child.
    let prl = site.has_sit().then(|| site.prl("is0"));
    let gateways: Option<Vec<_>> = prl.map(|prl| {
        assert!(prl.len() <= 64, "{} routers: {prl:?}", prl.len());
        for router in &prl {
            let path = &rows(site, &format!("route get {router}"))[0];
            assert_eq!(path["prefsrc"], link.local.as_str(), "{router}: {path}");
            assert!(path.get("type").is_none(), "{router}: {path}");
        }
        prl.iter().map(|router| isatap(*router).to_string()).collect()
    });
    let routes = rows(site, "-6 route show table all");
    let routes: Vec<_> =
        routes.iter().filter(|r| r["dev"] == "is0" && r["protocol"] != "kernel").collect();
    assert!(routes.len() <= 80, "{} routes", routes.len());
    for route in routes {
        assert!(route.get("table").is_none() && route["protocol"] == "ra", "{route}");
        let metric = route["metric"].as_u64().expect("a metric");
        match route["gateway"].as_str() {
            // A prefix on the link.
            None => assert!(!site.has_sit() && metric == 2047, "{route}"),
            Some(gateway) => {
                let is_listed = |all: &Vec<_>| all.iter().any(|g: &String| g == gateway);
                assert!(gateways.as_ref().is_none_or(is_listed), "{route}");
                let is_isatap =
                    ["fe80::5efe:", "fe80::200:5efe:"].iter().any(|p| gateway.starts_with(p));
                assert!(is_isatap && metric >= 2048, "{route}");
            }
        }
        let to = route["dst"].as_str().expect("a destination");
        let first = to.split(':').next().map(|s| u16::from_str_radix(s, 16));
        let inside = matches!(first, Some(Ok(first)) if may_be_reached(first));
        assert!(to == "default" || inside, "{route}");
    }
}

/// 2000::/3 and fc00::/7.
fn may_be_reached(first: u16) -> bool {
    first >> 13 == 1 || first >> 9 == 0xfc >> 1
}
