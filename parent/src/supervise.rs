//! The child's life: told what it needs, ended when it misbehaves, replaced when it ends.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use isatapd_proto::{Bounded, Config, Event, Link, Resolver, Text};
use log::{error, info, warn};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::child::{Child, Heard, Violation};
use crate::exit::{Exit, Fatal};
use crate::files::Opened;
use crate::kernel::forwards;
use crate::policy::Routers;
use crate::run::Daemon;
use crate::tunnel::Tunnel;

/// A child that lived so long is replaced at once.
const LIVED: Duration = Duration::from_secs(60);
/// The longest wait before another is started.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// When the next child is due, and what the last one said at its end.
#[derive(Default)]
pub(crate) struct Restart {
    /// The wait after the next early end; zero for the first.
    wait: Duration,
    due: Option<Instant>,
    /// Whether a child has ever confined itself: before that, its end is the program's.
    pub(crate) confined: bool,
    pub(crate) last_words: Option<String>,
}

impl Restart {
    /// How long until the next child is started.
    pub(crate) fn wait_left(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    fn after(&mut self, lived: Duration, now: Instant) -> Duration {
        if lived >= LIVED {
            self.wait = Duration::ZERO;
        }
        let wait = self.wait;
        self.wait = wait.saturating_mul(2).clamp(Duration::from_secs(1), LONGEST_WAIT);
        self.due = now.checked_add(wait);
        wait
    }
}

impl Daemon<'_> {
    /// Tells a new child all it has to know.
    pub(crate) fn introduce(&mut self) {
        // It knows no router yet: what it is to use comes after it has said which. What is in the
        // kernel stays meanwhile.
        self.forget_sockets();
        self.routers = Routers::default();
        self.tunnel.iter_mut().for_each(Tunnel::hand_down);
        let version = Text::cut(env!("CARGO_PKG_VERSION"));
        self.tell(&Event::Startup { version }, Vec::new());
        let opened = self.with.files.open();
        self.tell_resolver(opened);
        let config = Config {
            routers: self.options.routers.clone(),
            solicit_interval: self.options.solicit_interval,
            prl_refresh: self.options.prl_refresh,
            level: self.options.level,
            advertise: self.options.advertise.clone(),
            router_timeout: self.options.router_timeout,
        };
        self.tell(&Event::Config(config), Vec::new());
        match self.with.control.copy() {
            Ok(socket) => self.tell(&Event::Control, vec![socket]),
            Err(error) => warn!("control socket: {error}"),
        }
        self.tell_link();
        if self.located {
            // After an error it is done again with the next look.
            let _ = self.follow_path().and_then(|()| self.follow_surroundings());
        }
        self.look_soon(Instant::now());
    }

    /// Tells the child; one that does not listen is ended.
    pub(crate) fn tell(&mut self, event: &Event, fds: Vec<OwnedFd>) {
        if let Some(Err(violation)) = self.child.as_mut().map(|child| child.tell(event, fds)) {
            self.punish(&violation);
        }
    }

    /// Asks the child for a sign of life, if it was told something, or if `anyway`.
    pub(crate) fn ask_child(&mut self, anyway: bool, now: Instant) {
        if let Some(Err(violation)) = self.child.as_mut().map(|child| child.ask(anyway, now)) {
            self.punish(&violation);
        }
    }

    /// Tells the child of these name servers and files.
    pub(crate) fn tell_resolver(&mut self, opened: Opened) {
        self.opened = opened;
        let opened = &mut self.opened;
        let servers = opened.servers.iter().map(|s| Text::cut(&s.to_string()));
        let event = Event::Resolver(Resolver {
            servers: Bounded::first_of(servers),
            resolv_conf: opened.resolv_conf.is_some(),
            hosts: opened.hosts.is_some(),
        });
        let fds = opened.resolv_conf.take().into_iter().chain(opened.hosts.take()).collect();
        self.tell(&event, fds);
    }

    /// Tells the child of the tunnel as it is now.
    pub(crate) fn tell_link(&mut self) {
        let tunnel = self.facts().tunnel.filter(|_| self.located);
        let name = self.tunnel.as_ref().map_or(&self.options.name, Tunnel::name);
        let name = Text::cut(name.as_str());
        let waits = self.said.waits.as_deref().unwrap_or_default();
        let reason = Text::cut(if self.located { self.reason } else { waits });
        self.forwarding = forwards();
        self.say_forwarding();
        let link = Link { tunnel, name, reason, forwarding: self.forwarding };
        self.tell(&Event::Link(link), Vec::new());
    }

    /// What the present child was given is of no use to it any more, or to the next one.
    pub(crate) fn forget_sockets(&mut self) {
        self.sockets.clear();
        self.has_path = false;
        self.surroundings = None;
        self.traffic = None;
    }

    /// Hears one thing of the child; false if there is no more to hear.
    pub(crate) fn hear_one(&mut self, now: Instant) -> Result<bool, Fatal> {
        let Some(child) = &mut self.child else { return Ok(false) };
        match child.flush().and_then(|()| child.hear()) {
            Ok(Heard::Request(seq, request)) => self.serve(seq, request, now).map(|()| true),
            Ok(Heard::Silence) => Ok(false),
            Ok(Heard::End) => {
                // It ends by itself; if not, it must. SIGCHLD follows.
                child.kill();
                self.reap()?;
                Ok(false)
            }
            Err(violation) => {
                self.punish(&violation);
                Ok(false)
            }
        }
    }

    pub(crate) fn punish(&mut self, violation: &Violation) {
        if let Some(child) = &mut self.child {
            error!("isatapd-child (pid {}): {violation}; it is killed", child.pid());
            child.kill();
        }
    }

    /// When the child needs attention: to be started, or judged. One that is not heard now cannot be.
    pub(crate) fn child_due(&self, now: Instant) -> Option<Instant> {
        match &self.child {
            None => self.restart.due,
            Some(child) => child.answer_due().filter(|_| self.pause(now).is_none()),
        }
    }

    /// Does what is due.
    pub(crate) fn mind_child(&mut self, now: Instant) -> Result<(), Fatal> {
        if self.child_due(now).is_none_or(|at| at > now) {
            return Ok(());
        }
        if self.child.is_some() {
            // The answer may have come while we were stopped.
            let all = self.hear_child(now)?;
            if let Some(Err(violation)) = self.child.as_mut().filter(|_| all).map(|c| c.judge(now))
            {
                self.punish(&violation);
            }
            return self.reap();
        }
        self.restart.due = None;
        match Child::start(&self.with.plan, now) {
            Ok(child) => {
                self.child = Some(child);
                self.introduce();
            }
            Err(error) => {
                let wait = self.restart.after(Duration::ZERO, now);
                error!("isatapd-child: {error}; tried again in {} s", wait.as_secs());
                self.say_degraded(wait);
            }
        }
        Ok(())
    }

    /// Takes note of a child that has ended, as SIGCHLD says; without waiting for it.
    pub(crate) fn reap(&mut self) -> Result<(), Fatal> {
        let Some(pid) = self.child.as_ref().map(Child::pid) else { return Ok(()) };
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(()),
            Ok(status) => self.child_ended(&describe(status)),
            Err(error) => self.child_ended(error.desc()),
        }
    }

    fn child_ended(&mut self, how: &str) -> Result<(), Fatal> {
        let now = Instant::now();
        // What it had still to say comes first.
        while self.child.is_some() && matches!(self.hear_rest(now), Ok(true)) {}
        let Some(child) = self.child.take() else { return Ok(()) };
        self.ask_state_anew();
        let pid = child.pid();
        let last_words = self.restart.last_words.take();
        let how = last_words.map_or_else(|| how.to_owned(), |words| format!("{words} ({how})"));
        if !self.restart.confined {
            return Err(Fatal::new(Exit::Os, format!("isatapd-child: {how}")));
        }
        let wait = self.restart.after(now.saturating_duration_since(child.started), now);
        if wait.is_zero() {
            warn!("isatapd-child (pid {pid}): {how}; another is started, the tunnel stays");
        } else {
            let seconds = wait.as_secs();
            error!(
                "isatapd-child (pid {pid}): {how}; another is started in {seconds} s, the tunnel stays"
            );
            self.say_degraded(wait);
        }
        Ok(())
    }

    /// Only what an ended child logged.
    fn hear_rest(&mut self, now: Instant) -> Result<bool, Violation> {
        let Some(child) = &mut self.child else { return Ok(false) };
        match child.hear()? {
            Heard::Request(_, isatapd_proto::Request::Log(record)) => {
                self.log_line(&record, now);
                Ok(true)
            }
            Heard::Request(..) => Ok(true),
            Heard::Silence | Heard::End => Ok(false),
        }
    }

    /// The child is confined: the start is over as far as it goes.
    pub(crate) fn confined(&mut self) {
        if std::mem::replace(&mut self.restart.confined, true) {
            self.say_status();
        }
        self.with.control.forget_clients();
        self.restart.last_words = None;
        if let Some(child) = &self.child {
            info!("isatapd-child (pid {}): confined", child.pid());
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("ended with status {code}"),
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGSYS, _) => {
            // Without memory it calls abort(3), which makes such a call.
            let call = "a system call that its filter denies, as also when it is out of memory";
            format!("killed by SIGSYS: {call}")
        }
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}
