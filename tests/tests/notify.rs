//! What a service manager hears of a daemon in an empty network namespace.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Instant;

use isatapd_tests::netns::in_new;
use isatapd_tests::process::{Guard, await_end, children, link};
use isatapd_tests::site::isatapd;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use tempfile::TempDir;

/// A message, and the process that sent it.
type Message = (String, Option<i32>);

/// The service manager of a daemon.
struct Manager {
    daemon: Guard,
    told: Receiver<Message>,
    heard: Vec<String>,
    _folder: TempDir,
}

impl Manager {
    /// Starts the daemon with these arguments; it says that it lives twice in `watchdog` microseconds.
    fn start(arguments: &[&str], watchdog: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        setsockopt(&socket, sockopt::PassCred, &true).expect("a setting");
        // Heard all the time: the kernel keeps ten messages for who does not, and the daemon waits for
        // nobody.
        let (tell, told) = channel();
        spawn(move || while tell.send(receive(&socket)).is_ok() {});
        let daemon = in_new(|| {
            let mut command = Command::new(isatapd());
            command.args(arguments).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog);
            Guard(command.spawn().expect("isatapd"))
        });
        Self { daemon, told, heard: Vec::new(), _folder: folder }
    }

    /// Hears until that is enough. All must be of the daemon itself, as a service manager wants it.
    fn until(&mut self, what: &str, enough: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + secs(60);
        while !enough(&self.heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((message, sender)) = self.told.recv_timeout(left) else {
                panic!("waited in vain for {what}: {:?}", self.heard);
            };
            assert_eq!(sender, Some(self.daemon.pid().as_raw()), "{message}");
            self.heard.push(message);
        }
    }

    /// Ends the daemon: all that was heard.
    fn end(mut self) -> Vec<String> {
        kill(self.daemon.pid(), Signal::SIGTERM).expect("kill");
        self.until("its end", |heard| last(heard) == "STOPPING=1");
        let status = await_end(&mut self.daemon.0, secs(60)).expect("its end");
        assert!(status.success());
        let ready = self.heard.iter().filter(|line| *line == "READY=1").count();
        assert_eq!(ready, 1, "{:?}", self.heard);
        self.heard
    }
}

/// The next message.
fn receive(socket: &UnixDatagram) -> Message {
    let mut buffer = [0; 512];
    let mut control = nix::cmsg_space!(nix::libc::ucred);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
    let got = got.expect("a message");
    let sender = got.cmsgs().expect("all").find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
        _ => None,
    });
    let len = got.bytes;
    (String::from_utf8_lossy(&buffer[..len]).into_owned(), sender)
}

fn last(heard: &[String]) -> &str {
    heard.last().map_or("", String::as_str)
}

/// Whether it has said often enough that it lives.
fn lives(heard: &[String]) -> bool {
    heard.iter().filter(|line| *line == "WATCHDOG=1").count() >= 4
}

#[test]
fn it_is_told_of_readiness_state_life_and_end() {
    let mut manager = Manager::start(&["--backend", "tun", "10.0.0.1"], "1000000");
    manager.until("its life", lives);
    // A child that ends soon is replaced at once the first time only.
    let parent = manager.daemon.pid();
    let mut ended = Vec::new();
    for _ in 0..2 {
        let next = || children(parent).into_iter().find(|child| !ended.contains(child));
        let child = wait_for(secs(30), "a child", next);
        wait_for(secs(30), "its program", || {
            link(child, "exe").ends_with("isatapd-child").then_some(())
        });
        kill(child, Signal::SIGKILL).expect("kill");
        ended.push(child);
    }
    let degraded = "STATUS=degraded: isatapd-child keeps ending; another is started after 1 s, the \
                    tunnel stays";
    manager.until("a pause", |heard| last(heard) == degraded);
    manager.until("the third child", |heard| last(heard).starts_with("STATUS=waits: "));
    // It lives when it is stopped, too, as long as that does not show.
    let child = wait_for(secs(30), "a child", || children(parent).first().copied());
    let stopped = Instant::now();
    kill(child, Signal::SIGSTOP).expect("kill");
    manager.until("the child's end", |_| children(parent) != [child]);
    let took = stopped.elapsed();
    // A parent that had no processor in time to judge begins to count anew.
    assert!(took > secs(9) && took < secs(40), "found by the watchdog's round after {took:?}");
    let heard = manager.end();
    let waits = "STATUS=waits: router 10.0.0.1: no route to it";
    assert!(heard.iter().any(|line| line == waits), "{heard:?}");
}

/// Of several tunnels the one in front tells: that all are ready, how each does, and that all live.
#[test]
fn several_speak_as_one() {
    let first = ["--backend", "tun", "10.0.0.1", "--and"];
    let second = ["-n", "is1", "--backend", "tun", "10.0.0.2"];
    let mut manager = Manager::start(&[&first[..], &second].concat(), "200000");
    let status = "STATUS=is0: waits: router 10.0.0.1: no route to it; \
                  is1: waits: router 10.0.0.2: no route to it";
    manager.until("their life and status", |heard| {
        lives(heard) && heard.iter().any(|line| line == status)
    });
    manager.end();
}
