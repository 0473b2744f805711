//! Traffic whose every octet is known.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::netns::within;
use crate::wait::{secs, wait_for};

/// Octets written at once.
const BLOCK: usize = 8192;
/// Time in which the other end answers.
const LIMIT: Duration = Duration::from_secs(20);

/// A TCP connection on which octets flow until it is dropped.
pub struct Tcp {
    ends: [TcpStream; 2],
    received: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tcp {
    /// From one namespace to an address of another.
    pub fn start(from: &str, to: &str, address: Ipv6Addr) -> Self {
        let bind = SocketAddr::from(SocketAddrV6::new(address, 0, 0, 0));
        let listener = within(to, || TcpListener::bind(bind)).expect("listen");
        let at = listener.local_addr().expect("an address");
        let stream = within(from, || TcpStream::connect_timeout(&at, LIMIT)).expect("connect");
        let ends = [stream, listener.accept().expect("accept").0];
        let [mut sender, mut receiver] = ends.each_ref().map(|end| end.try_clone().expect("dup"));
        let (received, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, wrong) = (Arc::clone(&received), Arc::clone(&failed));
        let send = thread::spawn(move || while sender.write_all(&[0x5a; BLOCK]).is_ok() {});
        let receive = thread::spawn(move || {
            let mut buffer = [0; BLOCK];
            while let Ok(n @ 1..) = receiver.read(&mut buffer) {
                if buffer[..n].iter().any(|octet| *octet != 0x5a) {
                    wrong.store(true, Ordering::Relaxed);
                }
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
        });
        Self { ends, received, failed, threads: vec![send, receive] }
    }

    /// Octets received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until `octets` more are there.
    pub fn advances(&self, octets: u64) {
        // Silence doubles the time to the next try, up to two minutes (TCP_RTO_MAX of net/tcp.h).
        let want = self.received() + octets;
        wait_for(secs(300), "octets by TCP", || (self.received() >= want).then_some(()));
        assert!(!self.failed.load(Ordering::Relaxed), "octets have changed on the way");
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Whether a datagram of so many octets comes back from an echo at `address`, whole; it is sent
/// again until `limit`, as the first tells the path MTU.
pub fn udp_echo(from: &str, to: &str, address: Ipv6Addr, octets: usize) -> bool {
    let bind = SocketAddr::from(SocketAddrV6::new(address, 0, 0, 0));
    let server = within(to, || UdpSocket::bind(bind)).expect("bind");
    let at = server.local_addr().expect("an address");
    let client = within(from, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).expect("bind");
    let step = Some(Duration::from_millis(200));
    server.set_read_timeout(step).expect("a timeout");
    client.set_read_timeout(step).expect("a timeout");
    let sent: Vec<u8> = (0..octets).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let mut buffer = vec![0; 1 << 16];
    (0..20).any(|_| {
        // The host itself refuses what it knows to be too long.
        let _ = client.send_to(&sent, at);
        let Ok((n, peer)) = server.recv_from(&mut buffer) else { return false };
        let _ = server.send_to(&buffer[..n], peer);
        client.recv_from(&mut buffer).is_ok_and(|(n, _)| buffer[..n] == sent)
    })
}
