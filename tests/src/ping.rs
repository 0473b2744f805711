//! Pings of our own: one process less, and one socket for each, so that the route is looked up anew.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
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
/// What a pinger does.
const PINGS: u8 = 0;
const LISTENS: u8 = 1;
const ENDED: u8 = 2;
/// How long the last answers are waited for, if not all come.
const LAST: Duration = Duration::from_secs(5);

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
    phase: Arc<AtomicU8>,
    thread: Option<JoinHandle<Count>>,
}

/// What became of pings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those due, sent or not.
    pub due: u32,
    /// Those of them that had no answer.
    pub lost: u32,
}

impl Pinger {
    /// From this namespace to that address, ten times a second.
    pub fn start(namespace: &str, to: Ipv6Addr) -> Self {
        Self::every(namespace, to, INTERVAL)
    }

    /// The same, as often as that.
    pub fn every(namespace: &str, to: Ipv6Addr, interval: Duration) -> Self {
        let (tell, answers) = channel();
        let phase = Arc::new(AtomicU8::new(PINGS));
        let (its_phase, namespace) = (Arc::clone(&phase), namespace.to_owned());
        let thread = thread::spawn(move || {
            within(&namespace, || {
                run(to, interval, &its_phase, |answer| {
                    let _ = tell.send(answer);
                })
            })
        });
        Self { answers, phase, thread: Some(thread) }
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

impl Pinger {
    /// Ends it, with time for the last answers: what became of all pings.
    pub fn count(mut self) -> Count {
        self.end(LISTENS)
    }

    fn end(&mut self, phase: u8) -> Count {
        self.phase.store(phase, Ordering::Relaxed);
        let thread = self.thread.take();
        thread.map_or_else(Count::default, |thread| thread.join().unwrap_or_default())
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.end(ENDED);
    }
}

/// Whether a single ping is answered in `limit`.
pub fn answers(namespace: &str, to: Ipv6Addr, limit: Duration) -> bool {
    within(namespace, || {
        let (receiver, deadline, own) = (icmp(), Instant::now() + limit, id());
        if !request(to, own, 1) {
            return false;
        }
        let mut buffer = [0; 2048];
        while readable(&receiver, deadline) {
            let n = recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
            if answered(&buffer[..n], own).is_some() {
                return true;
            }
        }
        false
    })
}

fn run(to: Ipv6Addr, interval: Duration, phase: &AtomicU8, mut tell: impl FnMut(Answer)) -> Count {
    let (receiver, own) = (icmp(), id());
    let mut sent: HashMap<u16, Instant> = HashMap::new();
    let mut ends = None;
    let (mut seq, mut due, mut count) = (0u16, Instant::now(), Count::default());
    loop {
        let now = Instant::now();
        let phase = phase.load(Ordering::Relaxed);
        if phase == LISTENS {
            ends = ends.or_else(|| now.checked_add(LAST));
        }
        let all_told = phase == LISTENS && (sent.is_empty() || ends.is_some_and(|at| at <= now));
        if phase == ENDED || all_told {
            return count;
        }
        let is_due = now >= due;
        if is_due {
            due = now + interval;
        }
        if is_due && phase == PINGS {
            seq = seq.wrapping_add(1);
            count.due += 1;
            count.lost += 1;
            if request(to, own, seq) {
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
        if let Some(when) = answered(&buffer[..n], own).and_then(|seq| sent.remove(&seq)) {
            count.lost -= 1;
            tell(Answer { sent: when, got: Instant::now() });
        }
    }
}

fn icmp() -> OwnedFd {
    socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
        .expect("raw ICMPv6 socket (these tests run as root)")
}

/// A number for each that pings: all hear all answers.
fn id() -> [u8; 2] {
    static NEXT: AtomicU16 = AtomicU16::new(7);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// Which of the requests of this one it answers.
fn answered(message: &[u8], own: [u8; 2]) -> Option<u16> {
    match *message {
        [ECHO_REPLY, _, _, _, a, b, high, low, ..] if [a, b] == own => {
            Some(u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}

fn request(to: Ipv6Addr, own: [u8; 2], seq: u16) -> bool {
    let ([a, b], [high, low]) = (own, seq.to_be_bytes());
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
    // No route yet, no source address yet: then this one is lost.
    sendto(icmp().as_raw_fd(), &[ECHO_REQUEST, 0, 0, 0, a, b, high, low], &to, MsgFlags::empty())
        .is_ok()
}

fn readable(fd: &OwnedFd, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], left).is_ok_and(|n| n > 0)
}
