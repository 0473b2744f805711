//! A flood of Router Solicitations for the router's benchmark: as many hosts as asked for solicit, in
//! turn, as fast as this sends. `flood ROUTER HOSTS SECONDS` prints how many left, and how many
//! advertisements came back to this machine, which must own the hosts' network: a route
//! `local 10.128.0.0/9` does.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use isatapd_tests::forge::solicitation;

/// The first host.
const FIRST: u32 = 10 << 24 | 128 << 16;
/// Messages of one sendmmsg(2).
const BATCH: usize = 64;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("usage: flood ROUTER HOSTS SECONDS");
    let router: Ipv4Addr = next().parse().expect("ROUTER: an IPv4 address");
    let hosts: u32 = next().parse().expect("HOSTS: a number");
    let limit = Duration::from_secs_f64(next().parse().expect("SECONDS: a number"));

    let packets: Vec<Vec<u8>> =
        (0..hosts).map(|n| solicitation(Ipv4Addr::from(FIRST + n), router)).collect();
    let (sender, receiver) = (raw(libc::IPPROTO_RAW)?, raw(41)?);
    let (begin, mut sent, mut answers) = (Instant::now(), 0_u64, 0_u64);
    'all: loop {
        for batch in packets.chunks(BATCH) {
            sent += send(&sender, router, batch)?;
            answers += count(&receiver);
            if begin.elapsed() >= limit {
                break 'all;
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(600)); // MAX_RA_DELAY_TIME (RFC 4861 section 10)
    answers += count(&receiver);
    println!("{{\"seconds\": {seconds:.3}, \"sent\": {sent}, \"answers\": {answers}}}");
    Ok(())
}

/// A raw socket; that of IPPROTO_RAW sends whole IPv4 packets.
fn raw(protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes numbers only; the descriptor is new, and nobody else's.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let room: libc::c_int = 16 << 20;
    // SAFETY: the descriptor is ours from here on; setsockopt(2) reads one int there.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let done = unsafe {
        let size = libc::socklen_t::try_from(size_of_val(&room)).expect("a small size");
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const room).cast(), size)
    };
    if done == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &impl AsFd, router: Ipv4Addr, batch: &[Vec<u8>]) -> io::Result<u64> {
    use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
    let slices: Vec<_> = batch.iter().map(|packet| [io::IoSlice::new(packet)]).collect();
    let addresses = vec![Some(SockaddrIn::from(SocketAddrV4::new(router, 0))); batch.len()];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(batch.len(), None);
    let fd = socket.as_fd().as_raw_fd();
    match sendmmsg(fd, &mut headers, &slices, addresses.as_slice(), [], MsgFlags::empty()) {
        Ok(results) => Ok(results.count() as u64),
        Err(nix::Error::ENOBUFS) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// How many Router Advertisements have come.
fn count(socket: &impl AsFd) -> u64 {
    use nix::sys::socket::{MsgFlags, recv};
    let mut packet = [0; 2048];
    let mut next = || {
        recv(socket.as_fd().as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT)
            .map(|n| packet[..n].get(60) == Some(&134))
    };
    std::iter::from_fn(|| next().ok()).filter(|advert| *advert).count() as u64
}
