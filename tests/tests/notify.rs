//! What a service manager hears of a daemon in an empty network namespace.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Instant;

use isatapd_tests::netns::in_new;
use isatapd_tests::process::{Guard, children, link};
use isatapd_tests::site::isatapd;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::unistd::Pid;

#[test]
fn it_is_told_of_readiness_state_life_and_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    // Heard all the time: the kernel keeps ten messages for who does not, and the daemon waits for nobody.
    let (tell, told) = channel();
    spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(len) = manager.recv(&mut buffer)
            && tell.send(String::from_utf8_lossy(&buffer[..len]).into_owned()).is_ok()
        {}
    });
    let hear = || told.recv_timeout(secs(30)).expect("a message");
    let mut daemon = in_new(|| {
        let mut command = Command::new(isatapd());
        command.args(["--backend", "tun", "10.0.0.1"]);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
        Guard(command.spawn().expect("isatapd"))
    });
    let mut heard: Vec<String> = Vec::new();
    while heard.iter().filter(|line| *line == "WATCHDOG=1").count() < 4 {
        heard.push(hear());
    }
    // A child that ends soon is replaced at once the first time only.
    let parent = daemon.pid();
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
    while heard.last().is_some_and(|line| line != degraded) {
        heard.push(hear());
    }
    // The third one.
    while heard.last().is_some_and(|line| !line.starts_with("STATUS=waits: ")) {
        heard.push(hear());
    }
    // It lives when it is stopped, too, as long as that does not show.
    let child = wait_for(secs(30), "a child", || children(parent).first().copied());
    kill(child, Signal::SIGSTOP).expect("kill");
    let stopped = Instant::now();
    while children(parent) == [child] {
        heard.push(hear());
    }
    let took = stopped.elapsed();
    // A parent that had no processor in time to judge begins to count anew.
    assert!(took > secs(9) && took < secs(40), "found by the watchdog's round after {took:?}");
    kill(parent, Signal::SIGTERM).expect("kill");
    while heard.last().is_some_and(|line| line != "STOPPING=1") {
        heard.push(hear());
    }
    assert!(daemon.0.wait().expect("wait").success());
    assert_eq!(heard.iter().filter(|line| *line == "READY=1").count(), 1, "{heard:?}");
    let waits = "STATUS=waits: router 10.0.0.1: no route to it";
    assert!(heard.iter().any(|line| line == waits), "{heard:?}");
}

/// Of several tunnels the one in front tells: that all are ready, how each does, and that all live.
#[test]
fn several_speak_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(secs(10))).expect("a limit");
    setsockopt(&manager, sockopt::PassCred, &true).expect("a setting");
    let mut daemon = in_new(|| {
        let mut command = Command::new(isatapd());
        command.args(["--backend", "tun", "10.0.0.1", "--and", "-n", "is1", "--backend", "tun"]);
        command.arg("10.0.0.2");
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        Guard(command.spawn().expect("isatapd"))
    });
    let status = "STATUS=is0: waits: router 10.0.0.1: no route to it; \
                  is1: waits: router 10.0.0.2: no route to it";
    let mut heard: Vec<String> = Vec::new();
    let is_enough = |heard: &[String]| {
        let lives = heard.iter().filter(|line| *line == "WATCHDOG=1").count();
        lives >= 4 && heard.iter().any(|line| line == status)
    };
    while !is_enough(&heard) {
        heard.push(from(&manager, daemon.pid()));
    }
    kill(daemon.pid(), Signal::SIGTERM).expect("kill");
    while heard.last().is_some_and(|line| line != "STOPPING=1") {
        heard.push(from(&manager, daemon.pid()));
    }
    assert!(daemon.0.wait().expect("wait").success());
    assert_eq!(heard.iter().filter(|line| *line == "READY=1").count(), 1, "{heard:?}");
}

/// The next message; it must be of that process, as a service manager wants it.
fn from(manager: &UnixDatagram, pid: Pid) -> String {
    let mut buffer = [0; 512];
    let mut control = nix::cmsg_space!(nix::libc::ucred);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let got = recvmsg::<()>(manager.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
    let got = got.expect("a message");
    let sender = got.cmsgs().expect("all").find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
        _ => None,
    });
    assert_eq!(sender, Some(pid.as_raw()));
    let len = got.bytes;
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}
