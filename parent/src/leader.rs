//! Several tunnels, one daemon: a process in front of them, which the service manager, the terminal
//! and the pid file know. It leads; all else is done by two processes for each tunnel, as if that
//! were alone, so that none of them can harm another.
//!
//! What one is told all are told, and if one ends all end: as it did, so that after a crash all tunnels
//! are left for the next start. If the leader is killed, so are they.

mod told;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use isatapd_security::daemon::{Fork, fork};
use isatapd_security::forget_startup_code;
use isatapd_security::leader::{Paths, confine, end_with_it};
use isatapd_security::wash::Kept;
use log::{debug, error, info};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, getpid, getppid, setpgid};

use self::told::Chorus;
use crate::cli::Options;
use crate::daemon::Readiness;
use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;
use crate::notify::Notify;
use crate::pidfile::PidFile;
use crate::run::signals;

/// Octets of the longest message of a tunnel: a status names what is in the way.
const LONGEST: usize = 2048;

/// What this process is to do.
#[derive(Debug)]
pub enum Role {
    /// To serve this tunnel, the only one.
    Alone(Box<Options>),
    /// To serve this tunnel for that leader, and tell it how it goes.
    Tunnel(Box<Options>, Pid, OwnedFd),
    /// To lead those that do.
    Leader(Box<Leader>),
}

/// The process in front.
#[derive(Debug)]
pub struct Leader {
    members: Vec<Member>,
    signals: SignalFd,
    /// What holds for all.
    options: Options,
    /// They have been told to end.
    ending: bool,
    /// The exit status: that of the first that failed.
    status: u8,
}

/// The process of one tunnel.
#[derive(Debug)]
struct Member {
    name: InterfaceName,
    pid: Pid,
    /// `None`: it says nothing any more.
    channel: Option<OwnedFd>,
    has_ended: bool,
}

/// The end of one.
struct End {
    name: InterfaceName,
    status: u8,
    /// In words.
    how: String,
    /// It had no time to remove its tunnel.
    crashed: bool,
}

/// Makes a process for each tunnel, if there are several. They do nothing before [`Leader::lead`] lets
/// them, and end if it never does. To be called while there is one thread, and nothing is open but what
/// `--daemon` has opened.
pub fn part(tunnels: Vec<Options>) -> Result<Role, Fatal> {
    let tunnels = match <[Options; 1]>::try_from(tunnels) {
        Ok([only]) => return Ok(Role::Alone(Box::new(only))),
        Err(several) => several,
    };
    if !geteuid().is_root() {
        return Err(Fatal::new(Exit::NoPermission, "must be started by root"));
    }
    let common = tunnels.first().cloned();
    let options = common.ok_or_else(|| Fatal::new(Exit::Usage, "no tunnel"))?;
    // Before there is anybody else: none that comes now is lost, or ends one of us.
    let signals = signals().map_err(|error| Fatal::new(Exit::Os, format!("signalfd: {error}")))?;
    let (leader, mut members) = (getpid(), Vec::new());
    for mut tunnel in tunnels {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(os("socketpair"))?;
        match fork().map_err(|error| Fatal::new(Exit::Os, format!("fork: {error}")))? {
            Fork::Original(pid) => {
                let (name, channel) = (tunnel.name, Some(ours));
                members.push(Member { name, pid, channel, has_ended: false });
            }
            Fork::Copy => {
                drop((ours, members, signals));
                tunnel.pid_file = None;
                await_leader(leader, &theirs)?;
                return Ok(Role::Tunnel(Box::new(tunnel), leader, theirs));
            }
        }
    }
    let leader = Leader { members, signals, options, ending: false, status: 0 };
    Ok(Role::Leader(Box::new(leader)))
}

/// Waits until the leader is ready to lead.
fn await_leader(leader: Pid, channel: &OwnedFd) -> Result<(), Fatal> {
    end_with_it().map_err(|error| Fatal::new(Exit::Os, error.to_string()))?;
    // The terminal's signals are the leader's to pass on, and the log must not stop us.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(os("setpgid"))?;
    SigSet::from(Signal::SIGTTOU).thread_block().map_err(os("sigprocmask"))?;
    // It may have ended before it could end us too, and have let us begin before that.
    while getppid() == leader {
        match recv(channel.as_raw_fd(), &mut [0], MsgFlags::empty()) {
            Ok(1) => return Ok(()),
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    // It has said why.
    std::process::exit(Exit::Os.code().into())
}

impl Leader {
    /// Leads until all have ended. Result: the exit status. After an error there is nobody to lead: the
    /// processes do not outlive this one.
    pub fn lead(mut self, kept: &Kept, readiness: &mut Option<Readiness>) -> Result<u8, Fatal> {
        crate::log::start(&self.options, kept, None);
        let notify = Notify::new(kept);
        let pid_file = self.options.pid_file.as_deref().map(PidFile::create).transpose()?;
        let status = confine(&paths(&self.options)).map_err(|error| Fatal::unconfined(&error))?;
        debug!("sandbox: {status}");
        for member in &self.members {
            info!("{}: served by pid {}", member.name, member.pid);
            member.send_off()?;
        }
        forget_startup_code();
        let mut chorus = Chorus::new(self.members.iter().map(|member| member.name.as_str()));
        while self.members.iter().any(|member| !member.has_ended) {
            self.wait()?;
            self.pass_on();
            self.hear(&mut chorus, &notify);
            if !self.ending
                && chorus.are_ready()
                && let Some(Err(fatal)) = readiness.take().map(Readiness::ready)
            {
                fatal.complain();
                self.status = fatal.exit.code();
                self.signal(Signal::SIGTERM);
            }
            self.collect();
        }
        drop(pid_file);
        Ok(self.status)
    }

    fn wait(&self) -> Result<(), Fatal> {
        let channels = self.members.iter().filter_map(|member| member.channel.as_ref());
        let fds = [self.signals.as_fd()].into_iter().chain(channels.map(AsFd::as_fd));
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(os("poll")(errno)),
        }
    }

    /// All that come, but those that tell of an end, go to all.
    fn pass_on(&mut self) {
        for _ in Signal::iterator() {
            let Ok(Some(signal)) = self.signals.read_signal() else { break };
            match i32::try_from(signal.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(Signal::SIGCHLD) | None => {}
                Some(signal) => self.signal(signal),
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        self.ending |= !matches!(signal, Signal::SIGHUP | Signal::SIGUSR1);
        for member in self.members.iter().filter(|member| !member.has_ended) {
            // It is there, or waits to be collected.
            let _ = kill(member.pid, signal);
        }
    }

    fn hear(&mut self, chorus: &mut Chorus, notify: &Notify) {
        for (who, member) in self.members.iter_mut().enumerate() {
            while let Some(message) = member.receive() {
                if let Some(together) = chorus.hear(who, &message) {
                    notify.send(&together);
                }
            }
        }
    }

    /// Collects those that have ended. If none was told to, the others are.
    fn collect(&mut self) {
        let ended: Vec<_> = self.members.iter_mut().filter_map(Member::collect).collect();
        for End { name, status, how, crashed } in ended {
            if self.status == 0 {
                self.status = status;
            }
            if !self.ending {
                error!("{name}: its process {how}; all end");
                self.signal(if crashed { Signal::SIGQUIT } else { Signal::SIGTERM });
            }
        }
    }
}

impl Member {
    fn send_off(&self) -> Result<(), Fatal> {
        let Some(channel) = &self.channel else { return Ok(()) };
        // One that has been killed is collected.
        match send(channel.as_raw_fd(), &[1], MsgFlags::MSG_NOSIGNAL) {
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(os("send")(errno)),
        }
    }

    /// How it has ended, if it has by now.
    fn collect(&mut self) -> Option<End> {
        if self.has_ended {
            return None;
        }
        let (status, how, crashed) = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => {
                let how = format!("ended with status {status}");
                (status.try_into().unwrap_or(Exit::Os.code()), how, false)
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                (Exit::Os.code(), format!("was ended by {signal}"), true)
            }
            Ok(_) => return None,
            Err(errno) => (Exit::Os.code(), format!("is lost: {}", errno.desc()), true),
        };
        (self.has_ended, self.channel) = (true, None);
        Some(End { name: self.name.clone(), status, how, crashed })
    }

    /// The next message, if there is one. At its end the channel is closed.
    fn receive(&mut self) -> Option<String> {
        let mut buffer = [0; LONGEST];
        let channel = self.channel.as_ref()?;
        match recv(channel.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => {
                self.channel = None;
                None
            }
            Ok(len) => Some(String::from_utf8_lossy(buffer.get(..len)?).into_owned()),
            Err(_) => None,
        }
    }
}

fn paths(options: &Options) -> Paths {
    let folder = options.pid_file.as_deref().and_then(Path::parent).map(PathBuf::from);
    Paths {
        sockets: crate::log::folders(),
        remove: folder.into_iter().collect(),
        ..Paths::default()
    }
}

fn os(what: &'static str) -> impl Fn(Errno) -> Fatal {
    move |errno| Fatal::new(Exit::Os, format!("{what}: {}", errno.desc()))
}
