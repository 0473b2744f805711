//! What the service manager is told: readiness, state, that we live (sd_notify(3)).
//!
//! Nothing waits for it, and nothing depends on it: a message that it does not take is lost.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use isatapd_security::wash::Kept;
use nix::unistd::Pid;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    /// WATCHDOG_USEC: it ends us if it hears nothing for so long.
    watchdog: Option<Duration>,
    told: Option<Instant>,
    status: String,
}

impl Notify {
    /// As the environment has it; none if it names no socket or one that is not there.
    pub fn new(kept: &Kept) -> Self {
        let socket = kept.notify_socket.as_deref().and_then(connect);
        let ours = kept.watchdog_pid.is_none_or(|pid| pid == std::process::id());
        let watchdog = kept.watchdog.filter(|_| ours && socket.is_some());
        Self { socket, watchdog, ..Self::default() }
    }

    /// To the process in front of several tunnels, as often as the service manager hears from that.
    pub fn to_leader(channel: OwnedFd, leader: Pid, kept: &Kept) -> Self {
        let socket = UnixDatagram::from(channel);
        let socket = socket.set_nonblocking(true).is_ok().then_some(socket);
        let its = kept.watchdog_pid.is_none_or(|pid| pid == leader.as_raw().unsigned_abs());
        let watchdog = kept.watchdog.filter(|_| its && kept.notify_socket.is_some());
        Self { socket, watchdog, ..Self::default() }
    }

    /// The start is over.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// How things stand, in one line; told if it is news.
    pub fn status(&mut self, line: &str) {
        if self.status != line {
            line.clone_into(&mut self.status);
            self.send(&format!("STATUS={line}"));
        }
    }

    /// When [`Notify::alive`] is due: twice in the time that the service manager waits.
    pub fn due(&self) -> Option<Instant> {
        let half = self.watchdog?.checked_div(2)?;
        self.told?.checked_add(half)
    }

    /// We live: told, if all is `well`, when it is due or has never been told. True if it was due.
    pub fn alive(&mut self, well: bool, now: Instant) -> bool {
        let due = self.watchdog.is_some() && self.due().is_none_or(|at| at <= now);
        if due {
            self.told = Some(now);
            if well {
                self.send("WATCHDOG=1");
            }
        }
        due
    }

    /// Tells a message as it is (sd_notify(3)).
    pub(crate) fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A path, or `@` and an abstract name.
fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> Kept {
        Kept {
            notify_socket: Some(name.into()),
            watchdog: Some(Duration::from_secs(10)),
            ..Kept::default()
        }
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    #[test]
    fn by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("isatapd-test-{}", std::process::id());
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (manager, name) in
            [(by_path, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))]
        {
            manager.set_nonblocking(true).unwrap();
            let mut notify = Notify::new(&kept(&name));
            let now = Instant::now();
            notify.ready();
            notify.status("IPv6 works");
            notify.status("IPv6 works");
            assert!(notify.alive(true, now));
            assert!(!notify.alive(true, now + Duration::from_millis(4999)));
            assert!(notify.alive(true, now + Duration::from_secs(5)));
            assert!(notify.alive(false, now + Duration::from_secs(10)));
            notify.stopping();
            for line in ["READY=1", "STATUS=IPv6 works", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"] {
                assert_eq!(heard(&manager).as_deref(), Some(line));
            }
            assert_eq!(heard(&manager), None);
        }
    }

    #[test]
    fn without_a_manager_nothing_is_due() {
        let other = Kept { watchdog_pid: Some(1), ..kept("/dev/null") };
        for kept in [Kept::default(), kept("relative"), kept("/nowhere/notify"), other] {
            let mut notify = Notify::new(&kept);
            notify.ready();
            assert!(!notify.alive(true, Instant::now()));
            assert_eq!(notify.due(), None);
        }
    }
}
