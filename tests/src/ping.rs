//! Pings of our own: one process less, and one socket for each, so that the route is looked up anew.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, recv, sendto, socket,
};

use crate::netns::within;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const INTERVAL: Duration = Duration::from_millis(100);

/// An answered ping.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When the request left.
    pub sent: Instant,
    /// When the reply was here.
    pub got: Instant,
}

/// Pings all the time until dropped.
pub struct Pinger {
    answers: Receiver<Answer>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pinger {
    /// From this namespace to that address, ten times a second.
    pub fn start(namespace: &str, to: Ipv6Addr) -> Self {
        Self::every(namespace, to, INTERVAL)
    }

    /// The same, as often as that.
    pub fn every(namespace: &str, to: Ipv6Addr, interval: Duration) -> Self {
        let (tell, answers) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, namespace) = (Arc::clone(&ended), namespace.to_owned());
        let thread = thread::spawn(move || {
            within(&namespace, || {
                run(to, interval, &stop, |answer| {
                    let _ = tell.send(answer);
                });
            });
        });
        Self { answers, ended, thread: Some(thread) }
    }

    /// How long after `event` the first answer came to a ping sent after it; `None` if not in `limit`.
    pub fn first_since(&self, event: Instant, limit: Duration) -> Option<Duration> {
        let deadline = event + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) if answer.sent >= event => return Some(answer.got - event),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a single ping is answered in `limit`.
pub fn answers(namespace: &str, to: Ipv6Addr, limit: Duration) -> bool {
    within(namespace, || {
        let (receiver, deadline) = (icmp(), Instant::now() + limit);
        if !request(to, 1) {
            return false;
        }
        let mut buffer = [0; 2048];
        while readable(&receiver, deadline) {
            let n = recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
            if let [ECHO_REPLY, _, _, _, 0, 7, 0, 1, ..] = buffer[..n] {
                return true;
            }
        }
        false
    })
}

fn run(to: Ipv6Addr, interval: Duration, stop: &AtomicBool, mut tell: impl FnMut(Answer)) {
    let receiver = icmp();
    let mut sent: HashMap<u16, Instant> = HashMap::new();
    let (mut seq, mut due) = (0u16, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= due {
            due = now + interval;
            seq = seq.wrapping_add(1);
            if request(to, seq) {
                sent.insert(seq, now);
            }
        }
        if !readable(&receiver, due) {
            continue;
        }
        let mut buffer = [0; 2048];
        let Ok(n) = recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) else {
            continue;
        };
        if let [ECHO_REPLY, _, _, _, _, _, high, low, ..] = buffer[..n]
            && let Some(when) = sent.remove(&u16::from_be_bytes([high, low]))
        {
            tell(Answer { sent: when, got: Instant::now() });
        }
    }
}

fn icmp() -> OwnedFd {
    socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
        .expect("raw ICMPv6 socket (these tests run as root)")
}

fn request(to: Ipv6Addr, seq: u16) -> bool {
    let [high, low] = seq.to_be_bytes();
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
    // No route yet, no source address yet: then this one is lost.
    sendto(icmp().as_raw_fd(), &[ECHO_REQUEST, 0, 0, 0, 0, 7, high, low], &to, MsgFlags::empty())
        .is_ok()
}

fn readable(fd: &OwnedFd, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], left).is_ok_and(|n| n > 0)
}
