//! The loop of the parent: one poll(2) over the child, the kernel, signals and files.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use isatapd_proto::{Command, Event, Level, RouterWish, State, Surroundings};
use isatapd_security::forget_startup_code;
use isatapd_security::spawn::Plan;
use log::info;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use crate::backend::Has;
use crate::bucket::{Bucket, Wish};
use crate::child::Child;
use crate::cli::Options;
use crate::control::Control;
use crate::daemon::Readiness;
use crate::dump::Dump;
use crate::exit::{Exit, Fatal};
use crate::files::{Files, Opened};
use crate::forwarding::Forwarding;
use crate::kernel::{Changes, Monitor, Netlink, Prl};
use crate::log::ChildLog;
use crate::notify::Notify;
use crate::policy::Routers;
use crate::sockets::Protocol41;
use crate::supervise::Restart;
use crate::tunnel::Tunnel;

/// Requests of the child served in one turn.
const TURN: usize = 32;
/// Looks at the kernel's state are this far apart, but for the first few for wishes of the child and
/// changes of the network: a storm of events or wishes costs no more than that. Nor is the child
/// served for longer in one turn.
const SETTLE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 5;

/// The same after an error or a repair: what fails may make events of its own, and what was mended may
/// be broken again.
const SETTLE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// So long after the tunnel works, what had to be done is done.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);

/// What the parent holds open.
pub struct Resources {
    /// For requests.
    pub netlink: Netlink,
    /// Which kinds of tunnel this kernel has.
    pub has: Has,
    /// For the tunnel's Potential Router List.
    pub prl: Prl,
    /// What changes in the kernel.
    pub monitor: Monitor,
    /// resolv.conf and hosts.
    pub files: Files,
    /// For the operator's tools; the child serves it.
    pub control: Control,
    /// Where the state goes that SIGUSR1 asks for.
    pub dump: Dump,
    /// SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD.
    pub signals: SignalFd,
    /// Who manages us.
    pub notify: Notify,
    /// The process in front of several tunnels, if there are several: what ends all comes from there.
    pub leader: Option<Pid>,
    /// How to start a child.
    pub plan: Plan,
    /// Our share in the host's forwarding of IPv6.
    pub forwarding: Option<Forwarding>,
    /// The child's sockets of protocol 41; none if the kernel is always to encapsulate.
    pub sockets: Option<Protocol41>,
}

/// The parent.
pub struct Daemon<'a> {
    pub(crate) options: Options,
    pub(crate) with: Resources,
    pub(crate) opened: Opened,
    pub(crate) child: Option<Child>,
    pub(crate) restart: Restart,
    /// SIGHUP has come: names are to be looked up and routers solicited, as often as by RFC 4861 (section
    /// 10: RTR_SOLICITATION_INTERVAL) but for the first few.
    pub(crate) reload: Wish,
    /// SIGUSR1 has come.
    pub(crate) dump: Wish,
    pub(crate) log: ChildLog,
    pub(crate) requests: Bucket,
    /// Of those that change the kernel's state: a child is not to keep its locks busy.
    pub(crate) changes: Bucket,
    pub(crate) dns: Bucket,
    /// The PRL that the child wants, as approved.
    pub(crate) routers: Routers,
    /// Whether the tunnel does not have it yet: that comes with the next look.
    pub(crate) routers_are_new: bool,
    /// What we made in the kernel.
    pub(crate) tunnel: Option<Tunnel>,
    /// Whether the tunnel has a locator now. A tunnel that has lost it is kept for its return.
    pub(crate) located: bool,
    /// The routers that the present child has sockets for.
    pub(crate) sockets: BTreeSet<RouterWish>,
    /// Whether the present child has the descriptors of the data path.
    pub(crate) has_path: bool,
    /// What the present child knows of the surroundings.
    pub(crate) surroundings: Option<Surroundings>,
    /// Readable when a packet has left by the tunnel; there while the present child waits for that.
    pub(crate) traffic: Option<OwnedFd>,
    /// Why the tunnel is of its kind.
    pub(crate) reason: &'static str,
    /// Whether the host forwards IPv6, as last told.
    pub(crate) forwarding: bool,
    /// What was last said of each matter, so that it is said once.
    pub(crate) said: Said,
    /// Whether the child is to be told that names may have an answer now.
    pub(crate) network_changed: bool,
    /// Whether the start is over: from then on errors are logged and worked around.
    pub(crate) started: bool,
    readiness: &'a mut Option<Readiness>,
    /// When the kernel's state is to be looked at next.
    pub(crate) look_at: Option<Instant>,
    /// When the code of the start is to be forgotten.
    pub(crate) settled_at: Option<Instant>,
    pub(crate) looked: Option<Instant>,
    pub(crate) looks: Bucket,
    /// Until then a link that has changed is left to settle.
    quiet_until: Option<Instant>,
    /// How often forwarding is switched on again.
    pub(crate) forward_again: Bucket,
    /// Whether the last look ended with an error, or had to mend what others broke.
    pub(crate) failed: bool,
    /// Whether the tunnel, or what is on it, may have changed since the last look.
    pub(crate) tunnel_changed: bool,
    /// Whether the tunnel is left at the end.
    pub(crate) keep: bool,
    /// When it ends, once a signal has said so: a router tells its hosts before.
    pub(crate) ends_by: Option<Instant>,
}

/// What was last said, by matter.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) name_server: Option<String>,
    /// What the tunnel waits for, or what the kernel refused.
    pub(crate) waits: Option<String>,
    pub(crate) state: Option<State>,
    pub(crate) left_out: Vec<String>,
    pub(crate) no_forwarding: bool,
    pub(crate) backend: Option<String>,
    pub(crate) sit: bool,
    /// What the kernel refused at the last look.
    pub(crate) error: Option<String>,
    pub(crate) mtu: bool,
    pub(crate) small_link: bool,
    pub(crate) too_many: bool,
}

impl<'a> Daemon<'a> {
    /// A parent with its first child started; `readiness` is told when the start is over.
    pub fn new(
        options: Options,
        mut with: Resources,
        child: Child,
        readiness: &'a mut Option<Readiness>,
    ) -> Self {
        let opened = with.files.open();
        Self {
            keep: options.keep,
            options,
            with,
            opened,
            child: Some(child),
            restart: Restart::default(),
            reload: Wish::new(5, Duration::from_secs(4)),
            dump: Wish::new(5, Duration::from_secs(1)),
            log: ChildLog::new(),
            requests: Bucket::new(256, Duration::from_millis(10)),
            changes: Bucket::new(40, Duration::from_millis(100)),
            dns: Bucket::new(256, Duration::from_millis(30)),
            routers: Routers::default(),
            routers_are_new: false,
            tunnel: None,
            located: false,
            sockets: BTreeSet::new(),
            has_path: false,
            surroundings: None,
            traffic: None,
            reason: "",
            forwarding: false,
            said: Said::default(),
            network_changed: false,
            started: false,
            readiness,
            look_at: None,
            settled_at: None,
            looked: None,
            looks: Bucket::new(LOOKS, SETTLE),
            quiet_until: None,
            forward_again: Bucket::new(1, Duration::from_secs(1)),
            failed: false,
            tunnel_changed: false,
            ends_by: None,
        }
    }

    /// Runs until a signal says to end; what was made is then gone, or left. An error before the
    /// start is over ends the program too.
    pub fn run(mut self) -> Result<(), Fatal> {
        self.introduce();
        let ended = self.serve_until_told();
        ended.and(self.end())
    }

    /// The start is over: the tunnel is there, or what it waits for has been said.
    pub(crate) fn ready(&mut self) -> Result<(), Fatal> {
        // Who is told may act at once: the terminal is let go of before.
        self.readiness.take().map_or(Ok(()), Readiness::ready)?;
        if !std::mem::replace(&mut self.started, true) {
            self.with.notify.ready();
        }
        Ok(())
    }

    fn serve_until_told(&mut self) -> Result<(), Fatal> {
        loop {
            let ready = self.wait()?;
            if ready.signal && self.take_signals()? && self.ends_now(Instant::now()) {
                return Ok(());
            }
            let now = Instant::now();
            if ready.kernel {
                self.hear_kernel(now);
            }
            if ready.files {
                self.with.files.hear(now);
            }
            self.obey(now);
            self.follow_files(now);
            if ready.traffic {
                self.tell_traffic();
            }
            if ready.child {
                self.hear_child(now)?;
            }
            if ready.control {
                self.with.control.turn_away(self.restart.wait_left(now));
            }
            if self.has_ended(now) {
                return Ok(());
            }
            if self.look_at.is_some_and(|at| at <= now) {
                self.look(now)?;
            }
            if self.settled_at.take_if(|at| *at <= now).is_some() {
                forget_startup_code();
            }
            self.drop_inherited(now);
            self.mind_child(now)?;
            let stuck = self.child.as_ref().is_some_and(|child| child.is_stuck(now));
            let round = self.with.notify.alive(!stuck, now);
            self.ask_child(round, now);
        }
    }

    fn wait(&self) -> Result<Woken, Fatal> {
        let now = Instant::now();
        let pause = self.pause(now);
        let due = [
            self.look_at,
            self.settled_at,
            self.ends_by,
            self.reload.due(now),
            self.dump.due(now).filter(|_| self.can_dump()),
            self.tunnel.as_ref().and_then(Tunnel::inherited_until),
            self.child_due(now),
            self.with.notify.due(),
            self.with.files.due(),
            pause.and_then(|p| now.checked_add(p)),
        ];
        let next = due.into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
        let files = if self.with.files.listens() { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(self.with.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.with.monitor.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.with.files.as_fd(), files),
        ];
        let watches = self.traffic.as_ref();
        fds.extend(watches.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        // A child that asks too much is not heard for a while, and one that was killed no more. Its
        // hangup would be told whether asked for or not, so it is left out altogether.
        let wanted = |c: &&Child| !c.is_condemned() && (pause.is_none() || c.is_waiting());
        if let Some(child) = self.child.as_ref().filter(wanted) {
            let up = if pause.is_none() { PollFlags::POLLIN } else { PollFlags::empty() };
            let down = if child.is_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
            fds.push(PollFd::new(child.as_fd(), up | down));
        }
        // The child serves who asks; without one, we do.
        let alone = self.child.is_none();
        if alone {
            fds.push(PollFd::new(self.with.control.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, next.map_or(PollTimeout::NONE, round_up)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Fatal::new(Exit::Os, format!("poll: {}", error.desc()))),
        }
        let mut fds = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let mut next = || fds.next().unwrap_or(false);
        let (signal, kernel, files) = (next(), next(), next());
        let traffic = watches.is_some() && next();
        let last = next();
        let (child, control) = (last && !alone, last && alone);
        Ok(Woken { signal, kernel, files, traffic, child, control })
    }

    /// True if one of them says to end.
    fn take_signals(&mut self) -> Result<bool, Fatal> {
        // Each is pending once at most, so that a storm of them does not keep us here.
        for _ in Signal::iterator() {
            let Ok(Some(signal)) = self.with.signals.read_signal() else { break };
            // Who signals all of us signals the leader, which passes it on: it counts once.
            let by = signal.ssi_pid;
            let counts = self.with.leader.is_none_or(|leader| leader.as_raw().unsigned_abs() == by);
            match i32::try_from(signal.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) if !counts => {}
                Some(Signal::SIGTERM | Signal::SIGINT) => return Ok(true),
                Some(Signal::SIGQUIT) => {
                    self.keep = true;
                    return Ok(true);
                }
                Some(Signal::SIGHUP) => self.reload.wish(),
                Some(Signal::SIGUSR1) => self.dump.wish(),
                _ => {}
            }
        }
        self.reap()?;
        Ok(false)
    }

    /// Does what signals have asked for, as often as it may be done.
    fn obey(&mut self, now: Instant) {
        if self.reload.take(now) {
            info!("SIGHUP: names are looked up and routers solicited again");
            self.with.files.hear(now);
            self.look_soon(now);
            self.tell(&Event::Command(Command::Reload), Vec::new());
        }
        if self.can_dump() && self.dump.take(now) {
            self.ask_state();
        }
    }

    fn hear_kernel(&mut self, now: Instant) {
        match self.with.monitor.drain() {
            Ok(changes) if changes == Changes::default() => {}
            Ok(changes) => {
                self.network_changed |= changes.links || changes.ipv4 || changes.overrun;
                self.tunnel_changed |= changes.tunnel || changes.overrun;
                // A link that has come up takes a moment to carry packets; what leaves before is lost.
                // What else comes of that, as its routes, has to wait too.
                let quiet = self.quiet_until.is_some_and(|at| at > now);
                if changes.links && !quiet {
                    self.quiet_until = now.checked_add(SETTLE);
                }
                if changes.ipv4 && !changes.links && !quiet {
                    self.look_at_once(now);
                } else {
                    self.look_soon(now);
                }
            }
            Err(error) => {
                self.log.caused(Level::Warning, &format!("{error}; watched anew"), now);
                if let Ok(mut monitor) = Monitor::open() {
                    monitor.set_tunnel(self.tunnel.as_ref().map(Tunnel::index));
                    self.with.monitor = monitor;
                }
                (self.network_changed, self.tunnel_changed) = (true, true);
                self.look_soon(now);
            }
        }
    }

    fn follow_files(&mut self, now: Instant) {
        if let Some(opened) = self.with.files.changed(now) {
            self.tell_resolver(opened);
        }
    }

    /// Has the kernel's state looked at: at once, or after a while if that was just done or a link
    /// has changed.
    pub(crate) fn look_soon(&mut self, now: Instant) {
        let pace = if self.failed { SETTLE_AFTER_ERROR } else { SETTLE };
        let at = self.looked.and_then(|at| at.checked_add(pace)).map_or(now, |at| at.max(now));
        self.look_by(Some(self.quiet_until.map_or(at, |until| at.max(until))));
    }

    /// The same for what is whole, a wish of the child or a change of an address: at once, as long as
    /// that is not often.
    pub(crate) fn look_at_once(&mut self, now: Instant) {
        // One that has not taken what it was told is not to be told as much again.
        let behind = self.child.as_ref().is_some_and(Child::is_waiting);
        if self.failed || behind || self.looks.wait(now).is_some() {
            self.look_soon(now);
        } else {
            self.look_by(Some(now));
        }
    }

    /// Has it looked at by then.
    pub(crate) fn look_by(&mut self, at: Option<Instant>) {
        self.look_at = self.look_at.into_iter().chain(at).min();
    }

    /// True if the child has nothing more to say.
    pub(crate) fn hear_child(&mut self, now: Instant) -> Result<bool, Fatal> {
        if let Some(Err(violation)) = self.child.as_mut().map(Child::flush) {
            self.punish(&violation);
        }
        for turn in 0..TURN {
            // What it asks for may take long; signals are not to wait for it.
            let late = turn > 0 && now.elapsed() >= SETTLE;
            if late || self.pause(now).is_some() {
                break;
            }
            if !self.hear_one(now)? {
                return Ok(true);
            }
            self.requests.take(now);
        }
        Ok(false)
    }

    /// How long the child is not heard, as it has asked too much.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.requests.wait(now).max(self.changes.wait(now))
    }
}

struct Woken {
    signal: bool,
    kernel: bool,
    files: bool,
    traffic: bool,
    child: bool,
    control: bool,
}

/// Not a millisecond too soon, which would be a turn for nothing.
fn round_up(time: Duration) -> PollTimeout {
    let millis = time.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).ok().and_then(|m| m.try_into().ok()).unwrap_or(PollTimeout::MAX)
}

/// The signals that the parent reads; they are blocked otherwise.
pub fn signals() -> io::Result<SignalFd> {
    use nix::sys::signal::SigSet;
    use nix::sys::signalfd::SfdFlags;

    let set: SigSet = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}
