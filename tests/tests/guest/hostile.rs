//! A child that an attacker has taken over (`src/bin/hostile-child.rs`) behind the real parent: all
//! that comes of it is what SECURITY.md promises.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::forge::isatap;
use isatapd_tests::ip;
use isatapd_tests::netns::within;
use isatapd_tests::process::{children, is_alive, status};
use isatapd_tests::site::{Site, isatapd};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::check_gone;

/// After so long a life a child is replaced at once.
const LIVED: Duration = secs(61);

/// Messages that no child sends: each is its end.
const VIOLATIONS: [&str; 43] = [
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

/// The parent's child is the hostile one until this is dropped.
struct Replaced {
    path: PathBuf,
    good: Vec<u8>,
}

impl Replaced {
    fn new() -> Self {
        let folder = std::env::var_os("ISATAPD_LIBEXECDIR").expect("ISATAPD_LIBEXECDIR");
        let path = Path::new(&folder).join("isatapd-child");
        let good = fs::read(&path).expect("the child");
        let hostile = isatapd().with_file_name("hostile-child");
        put(&path, &fs::read(&hostile).unwrap_or_else(|e| panic!("{}: {e}", hostile.display())));
        Self { path, good }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        put(&self.path, &self.good);
    }
}

/// Another file in the place of the old one, which may run.
fn put(path: &Path, program: &[u8]) {
    let other = path.with_extension("other");
    fs::write(&other, program).expect("a program");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(&other, path).expect("rename");
}

/// With `auto` a child could bring the other backend about.
const KERNEL: [&str; 2] = ["--backend", "kernel"];

/// A site whose host has more than one interface.
fn site() -> Site {
    let site = Site::up(&[]);
    order(&site, "nothing");
    for line in [
        "route add default via 10.0.0.101",
        "link add br0 type bridge",
        "addr add 10.9.0.1/24 dev br0",
        "link set br0 addrgenmode none",
        "link set br0 up",
        "tunnel add six mode sit remote 10.0.0.102 local 10.0.0.2",
        "link set six up",
        "-6 route add 2001:db8:99::/48 dev six",
        "-6 rule add from 2001:db8:9::/64 table 99 pref 99",
        "neigh add 10.9.0.9 lladdr 02:00:00:00:00:09 dev br0",
    ] {
        site.ip("host", line);
    }
    site
}

fn hosts(site: &Site) -> PathBuf {
    Path::new("/etc/netns").join(site.namespace("host")).join("hosts")
}

/// Has the hostile child do this.
fn order(site: &Site, attack: &str) {
    fs::write(hosts(site), format!("127.0.0.1 localhost\n# attack {attack}\n")).expect("hosts");
}

/// All that the child must not change, by where it is.
fn outside(site: &Site) -> BTreeMap<String, String> {
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
    for folder in ["/etc", "/run"] {
        walk(Path::new(folder), &mut |path| {
            // No change of a file escapes its ctime.
            let about = fs::symlink_metadata(path).expect("a file");
            let text = format!("{} {} {:o}", about.ctime(), about.ctime_nsec(), about.mode());
            all.insert(path.display().to_string(), text);
        });
    }
    // What the test, the site's servers and the daemon's lock write.
    all.retain(|path, _| {
        *path != hosts(site).display().to_string()
            && !["/run/topology/", "/run/guest/", "/run/isatapd"]
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
fn check(site: &Site, before: &BTreeMap<String, String>) {
    let after = outside(site);
    let gone: Vec<_> = before.iter().filter(|(k, v)| after.get(*k) != Some(v)).collect();
    let new: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
    assert!(gone.is_empty() && new.is_empty(), "changed: {gone:#?}\nto: {new:#?}");
    check_tunnel(site);
}

fn check_tunnel(site: &Site) {
    let host = site.namespace("host");
    let link = ip::link(&host, "is0").expect("is0");
    assert!(link.up && link.isatap && link.mtu == 1480, "{link:?}");
    let local: Ipv4Addr = link.local.parse().expect("our end");
    assert!(["10.0.0.2", "10.9.0.1"].contains(&link.local.as_str()), "{link:?}");

    let prl = site.prl("is0");
    assert!(prl.len() <= 64, "{} routers: {prl:?}", prl.len());
    for router in &prl {
        let path = &rows(site, &format!("route get {router}"))[0];
        assert_eq!(path["prefsrc"], link.local.as_str(), "{router}: {path}");
        assert!(path.get("type").is_none(), "{router}: {path}");
    }

    let own = isatap(local).segments();
    let addresses = ip::addresses(&host, "is0");
    assert!(addresses.len() <= 17, "{} addresses: {addresses:?}", addresses.len());
    for address in &addresses {
        let segments = address.address.segments();
        assert_eq!(segments[4..], own[4..], "{address:?}");
        assert!(may_be_reached(segments[0]) || address.address == isatap(local), "{address:?}");
    }

    let routes = rows(site, "-6 route show table all");
    let routes: Vec<_> =
        routes.iter().filter(|r| r["dev"] == "is0" && r["protocol"] != "kernel").collect();
    assert!(routes.len() <= 80, "{} routes", routes.len());
    let gateways: Vec<_> = prl.iter().map(|r| isatap(*r).to_string()).collect();
    for route in routes {
        assert!(route.get("table").is_none() && route["protocol"] == "ra", "{route}");
        assert!(route["metric"].as_u64().is_some_and(|m| m >= 2048), "{route}");
        assert!(gateways.iter().any(|g| route["gateway"] == g.as_str()), "{route}");
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

/// Of its own: pages of the program come and go.
fn resident(pid: Pid) -> u64 {
    status(pid, "RssAnon").split(' ').next().and_then(|n| n.parse().ok()).expect("kB")
}

/// Waits for another child than this one, that has come to where it takes orders.
fn await_another(parent: Pid, child: Pid) {
    wait_for(secs(400), "another child", || children(parent).into_iter().find(|c| *c != child));
    sleep(LIVED);
}

#[test]
fn what_is_no_message_ends_the_child_and_nothing_else() {
    let site = site();
    let _replaced = Replaced::new();
    let mut daemon = Daemon::working(&site, &KERNEL);
    let before = outside(&site);
    sleep(LIVED);
    let parent = daemon.parent();
    let resident_before = resident(parent);
    for (n, attack) in VIOLATIONS.iter().chain(&["close", "exit", "crash"]).enumerate() {
        let child = daemon.child();
        order(&site, attack);
        await_another(parent, child);
        let log = daemon.log();
        let last =
            log.lines().filter(|l| l.contains(&format!("(pid {child})"))).collect::<Vec<_>>();
        eprintln!("{n} {attack}: {last:?}");
        // One line for the violation, one for the end.
        let killed = last.iter().filter(|l| l.ends_with("it is killed")).count();
        let quiet = ["close", "exit", "crash", "empty"].contains(attack);
        assert_eq!(killed, usize::from(!quiet), "{attack}: {last:?}");
    }
    assert!(!daemon.log().contains("FAULT"));
    check(&site, &before);
    assert_eq!(daemon.log().matches("2001:db8:dead::").count(), 0);
    let grown = resident(parent).saturating_sub(resident_before);
    assert!(grown < 1024, "the parent has grown by {grown} kB");

    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn decent_messages_do_not_add_up() {
    let site = site();
    let replaced = Replaced::new();
    let mut daemon = Daemon::working(&site, &KERNEL);
    let before = outside(&site);
    let resident_before = resident(daemon.parent());
    for attack in ["wishes", "lists", "move"] {
        // Time for the budget of log lines.
        sleep(LIVED);
        let child = daemon.child();
        order(&site, attack);
        let over = format!("attack over: {attack}");
        wait_for(secs(300), &over, || daemon.log().contains(&over).then_some(()));
        check(&site, &before);
        assert!(!daemon.log().contains("FAULT"), "{attack}");
        daemon.signal(Signal::SIGKILL);
        daemon.wait(secs(5)).expect("its end");
        wait_for(secs(5), "the child's end", || (!is_alive(child)).then_some(()));
        daemon = Daemon::working(&site, &KERNEL);
    }
    let grown = resident(daemon.parent()).saturating_sub(resident_before);
    assert!(grown < 1024, "the parent has grown by {grown} kB");
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));

    drop(replaced);
    let mut daemon = Daemon::working(&site, &KERNEL);
    check_tunnel(&site);
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
}

#[test]
fn the_parent_answers_signals_at_any_time() {
    let site = site();
    let _replaced = Replaced::new();
    let before = outside(&site);
    for attack in [
        "spin",
        "storm report",
        "storm log",
        "storm dns",
        "storm routes",
        "storm routers",
        "storm traffic",
    ] {
        let mut daemon = Daemon::working(&site, &KERNEL);
        let child = daemon.child();
        let resident_before = resident(daemon.parent());
        let lines = daemon.log().lines().count();
        let begin = Instant::now();
        order(&site, attack);
        sleep(secs(5));
        eprintln!("{attack}: {:?}", begin.elapsed());
        assert_eq!(daemon.child(), child, "{attack}: it still runs");
        let grown = resident(daemon.parent()).saturating_sub(resident_before);
        let said = daemon.log().lines().count() - lines;
        let (status, took) = daemon.stop(Signal::SIGTERM);
        eprintln!("{attack}: {said} lines, grown by {grown} kB, ended in {took:?}");
        assert_eq!(status.code(), Some(0), "{attack}");
        assert!(took < secs(1), "{attack}: took {took:?} to end");
        assert!(grown < 1024, "{attack}: the parent has grown by {grown} kB");
        // 300 at once, then 10 a second, for as long as all this takes.
        assert!(said < 600, "{attack}: {said} lines");
        assert!(!daemon.log().contains('\u{1b}') && !daemon.log().contains("\n<0>"), "{attack}");
        assert!(!is_alive(child), "{attack}: the child is left");
        check_gone(&site, "is0");
        assert_eq!(outside(&site), before, "{attack}");
    }
}
