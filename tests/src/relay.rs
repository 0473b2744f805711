//! A tunnel without any check, for peers on a kernel without one: all that the host's kernel sends
//! goes to one router, all that comes by protocol 41 goes to the host's kernel.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrIn, bind, recv, sendto};

use crate::ip;
use crate::netns::within;

/// Octets of the longest packet, and of an IPv4 header without options.
const LONGEST: usize = 65_535;
const HEADER: usize = 20;
const LOOK: Duration = Duration::from_millis(20);

/// The tunnel; gone when dropped.
pub struct Relay {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// An interface of that name with no address yet, between `local` and `router`.
    pub fn start(namespace: &str, name: &str, local: Ipv4Addr, router: Ipv4Addr) -> Self {
        let (tun, raw) = within(namespace, || (tun(name), raw(local)));
        ip::run(namespace, &format!("link set {name} addrgenmode none"));
        ip::run(namespace, &format!("link set {name} up"));
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = thread::spawn(move || run(tun, &raw, router, &stop));
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn tun(name: &str) -> File {
    let tun = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    // struct ifreq of linux/if.h: the name, then the flags.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("flags");
    request[libc::IFNAMSIZ..][..2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the kernel reads and writes a struct ifreq there, which is not longer.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(done, 0, "TUNSETIFF {name}: {}", std::io::Error::last_os_error());
    tun
}

fn raw(local: Ipv4Addr) -> OwnedFd {
    // nix has no name for protocol 41.
    // SAFETY: socket(2) takes numbers only; the descriptor is new, and nobody else's.
    let socket = unsafe {
        use std::os::fd::FromRawFd;
        let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 41);
        assert!(fd >= 0, "raw socket: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(local, 0))).expect("bind");
    socket
}

fn run(mut tun: File, raw: &OwnedFd, router: Ipv4Addr, stop: &AtomicBool) {
    let router = SockaddrIn::from(SocketAddrV4::new(router, 0));
    let mut buffer = vec![0; LONGEST];
    while !stop.load(Ordering::Relaxed) {
        let limit = PollTimeout::try_from(LOOK).expect("a short time");
        let mut ready = [tun.as_fd(), raw.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut ready, limit).expect("poll") == 0 {
            continue;
        }
        let [from_tun, from_raw] = ready.map(|fd| fd.any().unwrap_or(false));
        if from_tun && let Ok(n) = tun.read(&mut buffer) {
            let _ = sendto(raw.as_raw_fd(), &buffer[..n], &router, MsgFlags::empty());
        }
        if from_raw && let Ok(n @ HEADER..) = recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty())
        {
            let _ = tun.write_all(&buffer[HEADER..n]);
        }
    }
}
