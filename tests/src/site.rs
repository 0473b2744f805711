//! An ISATAP site in network namespaces: `tests/lab/topology`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ctl::isatapctl;
use crate::netns::within;
use crate::ping::Pinger;
use crate::routers::Routers;
use crate::wait::{secs, wait_for};
use crate::{ctl, ip, prl};

/// The host's address on the site.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The first router's address on the site.
pub const ROUTER1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 101);
/// The second router's.
pub const ROUTER2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 102);
/// The name server's.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
/// What IPv6 must reach: a node behind both routers.
pub const INET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// A site that is up; it goes down when dropped.
pub struct Site {
    prefix: String,
    /// `None`: radvd on sit.
    ours: Option<Routers>,
}

impl Site {
    /// Sets one up, with these options of `topology up`; the host and the routers use sit, and the
    /// routers have radvd.
    pub fn up(options: &[&str]) -> Self {
        Self::new(options, None)
    }

    /// Sets one up, with these options of `topology up`; the host and the routers use isatapd with
    /// its own data path.
    pub fn ours(options: &[&str]) -> Self {
        let site = Self::bare(options);
        for node in ["router1", "router2"] {
            site.advertise(node, &[]);
        }
        site
    }

    /// As [`Site::ours`], but no router runs yet.
    pub fn bare(options: &[&str]) -> Self {
        Self::new(&[&["--no-sit"], options].concat(), Some(Routers::default()))
    }

    fn new(options: &[&str], ours: Option<Routers>) -> Self {
        static WARM: OnceLock<()> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        WARM.get_or_init(warm);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let site = Self { prefix: format!("t{}-{n}-", std::process::id()), ours };
        site.topology(&[&["up"], options].concat());
        site.await_names(0);
        // Duplicate address detection behind the routers would delay their first answers.
        wait_for(secs(60), "the routers' addresses", || {
            ["router1", "router2", "inet"]
                .iter()
                .all(|node| ip::run(&site.namespace(node), "-6 addr show tentative").is_empty())
                .then_some(())
        });
        site
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: &str) -> String {
        format!("{}{node}", self.prefix)
    }

    /// Runs `tests/lab/topology`.
    pub fn topology(&self, arguments: &[&str]) {
        let status =
            Command::new(lab("topology")).args(["-p", &self.prefix]).args(arguments).status();
        assert!(status.expect("topology").success(), "topology {arguments:?}");
    }

    /// What the name `isatap` stands for from now on; the name server has heard of it.
    pub fn dns(&self, records: &[Ipv4Addr]) {
        let records: Vec<String> = records.iter().map(Ipv4Addr::to_string).collect();
        let mut arguments = vec!["dns"];
        arguments.extend(records.iter().map(String::as_str));
        let before = self.names_read();
        self.topology(&arguments);
        self.await_names(before);
    }

    /// Waits until the name server has read its names once more than so often.
    fn await_names(&self, before: usize) {
        wait_for(secs(60), "the names", || (self.names_read() > before).then_some(()));
    }

    /// How often the name server has read its names: it tells so in its log.
    fn names_read(&self) -> usize {
        let log = fs::read_to_string(self.file("dnsmasq.log")).unwrap_or_default();
        log.matches(&format!("read {} - ", self.file("hosts"))).count()
    }

    /// Runs `ip ARGUMENTS` on a node.
    pub fn ip(&self, node: &str, arguments: &str) -> String {
        ip::run(&self.namespace(node), arguments)
    }

    /// Pings [`INET`] from the host.
    pub fn pinger(&self) -> Pinger {
        Pinger::start(&self.namespace("host"), INET)
    }

    /// Panics unless [`INET`] answers a ping from the host that is sent from now on.
    pub fn reaches_inet(&self) {
        let now = std::time::Instant::now();
        assert!(self.pinger().first_since(now, secs(30)).is_some(), "no ping to inet in 30 s");
    }

    /// A file of this site, by its name.
    pub fn file(&self, name: &str) -> String {
        format!("/run/topology/{}/{name}", self.prefix)
    }

    /// Whether host and routers use sit.
    pub fn has_sit(&self) -> bool {
        self.ours.is_none()
    }

    /// What the daemon on the host is told in any case.
    pub fn host_arguments(&self) -> &'static [&'static str] {
        if self.has_sit() { &[] } else { &["--backend", "tun"] }
    }

    /// Starts our daemon on a router, with these arguments besides those that make it one.
    pub fn run_router(&self, node: &str, arguments: &[&str], variables: &[&str]) {
        let set = variables.iter().map(|v| format!("--advertise-set={}", v.replace(' ', "=")));
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).chain(set).collect();
        self.ours.as_ref().expect("our routers").start(self, node, &arguments);
    }

    /// Has a router advertise otherwise from now on: variables of RFC 4861, as
    /// `AdvDefaultLifetime 60`.
    pub fn advertise(&self, node: &str, variables: &[&str]) {
        if self.ours.is_some() {
            return self.run_router(node, &[], variables);
        }
        let lines: Vec<String> = variables.iter().map(|v| format!("{v};")).collect();
        let lines = lines.iter().map(String::as_str);
        self.topology(&["ra", node].into_iter().chain(lines).collect::<Vec<_>>());
    }

    /// Kills what advertises on a router.
    pub fn silence(&self, node: &str) {
        match &self.ours {
            Some(ours) => ours.kill(node),
            None => self.signal(&node.replace("router", "radvd"), Signal::SIGKILL),
        }
    }

    /// What our daemon on a router has written.
    pub fn router_log(&self, node: &str) -> String {
        self.ours.as_ref().expect("our routers").log(node)
    }

    /// Our daemon on a router: its privileged process.
    pub fn router_pid(&self, node: &str) -> Pid {
        self.ours.as_ref().expect("our routers").pid(node)
    }

    /// The Potential Router List of the host's tunnel, in numeric order.
    pub fn prl(&self, tunnel: &str) -> Vec<Ipv4Addr> {
        let host = self.namespace("host");
        if self.has_sit() { prl::routers(&host, tunnel) } else { ctl::routers(&host, tunnel) }
    }

    /// Signals a server of the site: `dnsmasq`, `radvd1` or `radvd2`.
    pub fn signal(&self, server: &str, signal: Signal) {
        let path = self.file(&format!("{server}.pid"));
        let pid = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        kill(Pid::from_raw(pid.trim().parse().expect("a pid")), signal).expect("kill");
    }

    /// How many Router Solicitations a node has received.
    pub fn solicitations(&self, node: &str) -> u64 {
        if let Some(ours) = &self.ours {
            return ours.solicitations(node);
        }
        within(&self.namespace(node), || {
            let counters = fs::read_to_string("/proc/thread-self/net/snmp6").expect("snmp6");
            let line = counters.lines().find_map(|l| l.strip_prefix("Icmp6InRouterSolicits"));
            line.and_then(|n| n.trim().parse().ok()).expect("the counter of solicitations")
        })
    }

    /// Sets a value of /proc/sys/net on the host.
    pub fn set_sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/net/{path}");
        within(&self.namespace("host"), || {
            fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
        });
    }

    /// A value of /proc/sys/net on the host.
    pub fn sysctl(&self, path: &str) -> String {
        let path = format!("/proc/sys/net/{path}");
        within(&self.namespace("host"), || {
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(ours) = &self.ours {
            ours.clear();
        }
        // Not `topology`: a panic while panicking would hide the first one.
        let _ = Command::new(lab("topology")).args(["-p", &self.prefix, "down"]).status();
    }
}

/// A script of `tests/lab`.
pub fn lab(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(script)
}

/// The program under test: `$ISATAPD`, or the release build.
pub fn isatapd() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/isatapd");
    std::env::var_os("ISATAPD").map_or(built, PathBuf::from)
}

/// In the guest, copies what will run into its memory: on its clock a first read from the disk below
/// takes up to seconds.
fn warm() {
    const PROGRAMS: &str = "bash cat dnsmasq ip modprobe radvd rm rmdir mkdir sh stdbuf";
    const SETTINGS: &str = "passwd group nsswitch.conf hosts host.conf gai.conf services protocols \
                            ld.so.cache resolv.conf";
    if std::env::var_os("IN_GUEST").is_none() {
        return;
    }
    let child = std::env::var_os("ISATAPD_LIBEXECDIR").map(|d| Path::new(&d).join("isatapd-child"));
    let find =
        format!("command -v {PROGRAMS}; ldd $(command -v {PROGRAMS}) {}", isatapd().display());
    let found = Command::new("sh").args(["-c", &find]).output().expect("sh");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let libraries =
        found.split_whitespace().filter(|w| w.starts_with('/')).map(|w| w.trim_end_matches(':'));
    let files =
        libraries.map(PathBuf::from).chain([lab("topology"), isatapd(), isatapctl()]).chain(child);
    let settings = SETTINGS.split_whitespace().map(|f| Path::new("/etc").join(f));
    for file in files.chain(settings).filter_map(|f| f.canonicalize().ok()) {
        if let Ok(file) = File::open(&file) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
    for module in ["veth", "bridge", "sit", "tun"] {
        let _ = Command::new("modprobe").arg(module).output();
    }
}
