//! The daemon on a node of a site.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::etc::Etc;
use crate::ip;
use crate::process::{await_end, children, is_alive, is_called, sleeps, switches};
use crate::site::{Site, isatapd};
use crate::wait::{secs, wait_for};

/// The daemon in the foreground, with its standard error in a file. Killed when dropped.
pub struct Daemon {
    process: Child,
    log: PathBuf,
    sandboxed: Option<Pid>,
}

impl Daemon {
    /// Starts it on the host, with these arguments after those that the site asks for.
    pub fn start(site: &Site, arguments: &[&str]) -> Self {
        Self::on(site, "host", &[site.host_arguments(), arguments].concat())
    }

    /// Starts it on the host with an attacker (`bin/hostile-child.rs`) in the child's place, of its own
    /// only, and waits until the tunnel is as that one has it.
    pub fn hostile(site: &Site, arguments: &[&str]) -> Self {
        let log = log_path();
        let arguments = [site.host_arguments(), arguments].concat();
        let folder = std::env::var_os("ISATAPD_LIBEXECDIR").expect("ISATAPD_LIBEXECDIR");
        // `ip netns exec` has made a mount namespace for it.
        let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let mut command = command(site, "host", &["sh", "-c", script], &log);
        command.arg(isatapd().with_file_name("hostile-child"));
        command.arg(Path::new(&folder).join("isatapd-child")).arg(isatapd()).args(arguments);
        let mut daemon = Self { process: command.spawn().expect("isatapd"), log, sandboxed: None };
        wait_for(secs(30), "a default route", || {
            let routes = ip::default_routes(&site.namespace("host"), "is0");
            routes.first().map(|_| ())
        });
        daemon.child();
        daemon
    }

    /// Starts it on the host with an /etc of its own.
    pub fn with_etc(site: &Site, etc: &Etc, arguments: &[&str]) -> Self {
        let log = log_path();
        let arguments = [site.host_arguments(), arguments].concat();
        let mut inner = command(site, "host", &["sh", "-c", &etc.mounted(), "sh"], &log);
        let process = inner.arg(isatapd()).args(arguments).spawn().expect("isatapd");
        Self { process, log, sandboxed: None }
    }

    /// Starts it on a node, with these arguments.
    pub fn on(site: &Site, node: &str, arguments: &[&str]) -> Self {
        let log = log_path();
        let mut command = command(site, node, &[], &log);
        let process = command.arg(isatapd()).args(arguments).spawn().expect("isatapd");
        Self { process, log, sandboxed: None }
    }

    /// Starts it and waits until IPv6 works.
    pub fn working(site: &Site, arguments: &[&str]) -> Self {
        let start = Instant::now();
        let mut daemon = Self::start(site, arguments);
        assert!(site.pinger().first_since(start, secs(60)).is_some(), "no ping in 60 s");
        daemon.child();
        daemon
    }

    /// The privileged process.
    pub fn parent(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// The sandboxed process, as soon as there is one.
    pub fn child(&mut self) -> Pid {
        let parent = self.parent();
        // A shell that prepares its files has other children; of several tunnels each has a parent.
        let child = wait_for(secs(30), "a child", || {
            let near = children(parent);
            let far = near.iter().flat_map(|pid| children(*pid)).collect();
            [near, far].concat().into_iter().find(|pid| is_called(*pid, "isatapd-child"))
        });
        self.sandboxed = Some(child);
        child
    }

    /// Waits until both processes have nothing to do for a while.
    pub fn await_rest(&mut self) {
        let processes = [self.parent(), self.child()];
        wait_for(secs(30), "rest", || {
            let before = processes.map(switches);
            sleep(Duration::from_millis(500));
            // What waits for a processor all the time has had none either.
            let rested = processes.into_iter().all(sleeps) && processes.map(switches) == before;
            rested.then_some(())
        });
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends the parent a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.parent(), signal).expect("kill");
    }

    /// Whether the parent runs.
    pub fn is_alive(&self) -> bool {
        is_alive(self.parent())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        await_end(&mut self.process, limit)
    }

    /// Sends a signal that ends it; gives the exit status and how long it took.
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        let status = self.wait(secs(120)).expect("the daemon ends in 120 s");
        (status, begin.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let orphan = self.sandboxed.filter(|p| is_alive(*p));
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(orphan) = orphan {
            let _ = kill(orphan, Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// Runs the daemon on the host until it ends: its exit status and what it wrote.
pub fn run(site: &Site, arguments: &[&str]) -> (ExitStatus, String) {
    let mut daemon = Daemon::start(site, arguments);
    let status = daemon.wait(secs(60)).expect("isatapd ends in 60 s");
    (status, daemon.log())
}

/// The command that starts what is added to it on a node, with its /etc/resolv.conf.
fn command(site: &Site, node: &str, begin: &[&str], log: &Path) -> Command {
    let log = File::create(log).expect("a log file");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &site.namespace(node)]);
    command.args(begin);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log);
    command
}

fn log_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("isatapd-test-{}-{n}.log", std::process::id()))
}
