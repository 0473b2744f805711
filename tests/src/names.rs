//! A name server that says what a test wants.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ip;
use crate::netns::within;
use crate::site::Site;
use crate::wait::{secs, wait_for};

/// Time in which its end, and a connection, are noticed.
const LOOK: Duration = Duration::from_millis(5);

/// One query that came.
#[derive(Clone, Debug)]
pub struct Query {
    /// When.
    pub at: Instant,
    /// The name in it.
    pub name: String,
    /// By TCP.
    pub tcp: bool,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What is said to a query: messages in turn, none for silence.
pub type Behaviour = Box<dyn FnMut(&Query) -> Vec<Vec<u8>> + Send>;

/// The server; it ends when dropped.
pub struct NameServer {
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Vec<Query>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one at an address of the site, on the node that is its bridge.
    pub fn start(
        site: &Site,
        address: Ipv4Addr,
        behaviour: impl FnMut(&Query) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let node = site.namespace("site");
        if !ip::run(&node, "-4 addr show dev site").contains(&format!(" {address}/")) {
            ip::run(&node, &format!("addr add {address}/24 dev site"));
        }
        let (udp, tcp) = within(&node, || {
            let at = SocketAddr::from((address, 53));
            // A fork of another test may have that of a former one until it has become a program.
            wait_for(secs(10), "port 53", || {
                UdpSocket::bind(at).ok().zip(TcpListener::bind(at).ok())
            })
        });
        udp.set_read_timeout(Some(LOOK)).expect("a time limit");
        tcp.set_nonblocking(true).expect("a listener that does not wait");
        let behaviour: Behaviour = Box::new(behaviour);
        let behaviour = Arc::new(Mutex::new(behaviour));
        let seen: Arc<Mutex<Vec<Query>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&behaviour), Arc::clone(&seen), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let (behaviour, seen, ended) = shared;
            let answer = |bytes: &[u8], tcp| {
                let query =
                    Query { at: Instant::now(), name: name(bytes), tcp, bytes: bytes.into() };
                seen.lock().expect("queries").push(query.clone());
                behaviour.lock().expect("behaviour")(&query)
            };
            let mut buffer = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((n, from)) = udp.recv_from(&mut buffer) {
                    for message in answer(&buffer[..n], false) {
                        let _ = udp.send_to(&message, from);
                    }
                }
                if let Ok((mut stream, _)) = tcp.accept() {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let mut length = [0; 2];
                    if stream.read_exact(&mut length).is_err() {
                        continue;
                    }
                    let query = &mut buffer[..usize::from(u16::from_be_bytes(length))];
                    if stream.read_exact(query).is_ok() {
                        for message in answer(query, true) {
                            let length = u16::try_from(message.len()).expect("a short message");
                            let framed = [&length.to_be_bytes()[..], &message].concat();
                            let _ = stream.write_all(&framed);
                        }
                    }
                }
            }
        });
        Self { behaviour, seen, ended, thread: Some(thread) }
    }

    /// What it says from now on.
    pub fn say(&self, behaviour: impl FnMut(&Query) -> Vec<Vec<u8>> + Send + 'static) {
        *self.behaviour.lock().expect("behaviour") = Box::new(behaviour);
    }

    /// The queries that came since the last time.
    pub fn take(&self) -> Vec<Query> {
        std::mem::take(&mut *self.seen.lock().expect("queries"))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the question begins, and where it ends.
fn question(query: &[u8]) -> (usize, usize) {
    let zero = query.iter().skip(12).position(|octet| *octet == 0).expect("a name");
    (12, 12 + zero + 5)
}

fn name(query: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while let Some(length) = query.get(at).map(|n| usize::from(*n)).filter(|n| *n > 0) {
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).into_owned());
        at += length + 1;
    }
    labels.join(".")
}

/// The head of a reply with this code and so many answers, and the question.
fn head(query: &Query, flags: u8, code: u8, answers: usize) -> Vec<u8> {
    let (_, end) = question(&query.bytes);
    let mut reply = query.bytes[..end].to_vec();
    reply[2] = 0x81 | flags;
    reply[3] = 0x80 | code;
    reply[6..8].copy_from_slice(&u16::try_from(answers).expect("a few").to_be_bytes());
    reply[8..12].fill(0);
    reply
}

fn record(kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short data").to_be_bytes();
    [&[0, kind, 0, 1][..], &ttl.to_be_bytes(), &length, data].concat()
}

/// These addresses.
pub fn addresses(query: &Query, addresses: &[Ipv4Addr], ttl: u32) -> Vec<u8> {
    let mut reply = head(query, 0, 0, addresses.len());
    for address in addresses {
        reply.extend([0xc0, 12]);
        reply.extend(record(1, ttl, &address.octets()));
    }
    reply
}

/// These addresses at the end of a chain of aliases of these times to live.
pub fn aliases(query: &Query, ttls: &[u32], addresses: &[Ipv4Addr], ttl: u32) -> Vec<u8> {
    let mut reply = head(query, 0, 0, ttls.len() + addresses.len());
    let label = |n: usize| [1, b'a' + u8::try_from(n).expect("a short chain"), 0];
    for (n, ttl) in ttls.iter().enumerate() {
        match n.checked_sub(1) {
            None => reply.extend([0xc0, 12]),
            Some(before) => reply.extend(label(before)),
        }
        reply.extend(record(5, *ttl, &label(n)));
    }
    for address in addresses {
        reply.extend(label(ttls.len() - 1));
        reply.extend(record(1, ttl, &address.octets()));
    }
    reply
}

/// Only a code: 2 failure, 3 no such name, 5 refused; 0 no data.
pub fn code(query: &Query, code: u8) -> Vec<u8> {
    head(query, 0, code, 0)
}

/// There is more than fits: ask by TCP.
pub fn truncated(query: &Query) -> Vec<u8> {
    head(query, 2, 0, 0)
}
