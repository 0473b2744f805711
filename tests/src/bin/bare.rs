//! A tunnel that only moves octets, for the data path's benchmark: what any program costs, on the
//! machine at hand, that stands between a TUN interface and a raw IPv4 socket. `bare NAME LOCAL REMOTE`
//! attaches to the TUN interface NAME. All that is written to it goes from LOCAL to REMOTE by protocol
//! 41, and all that comes to LOCAL by that protocol is delivered, whoever it is from.
//!
//! One packet a system call, one thread. No check, no filter, no look at a packet, no counter.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

use isatapd_tests::tun;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendto, setsockopt, sockopt};
use nix::unistd::{read, write};

/// Octets of an IPv4 header without options.
const HEADER: usize = 20;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("usage: bare NAME LOCAL REMOTE");
    let tun = tun::open(&next());
    let local: Ipv4Addr = next().parse().expect("LOCAL: an IPv4 address");
    let remote: Ipv4Addr = next().parse().expect("REMOTE: an IPv4 address");

    // As isatapd's own. What became of packets is not read here: it would wake the loop for ever.
    let [socket, _] = tun::sockets(local);
    setsockopt(&socket, sockopt::Ipv4RecvErr, &false)?;
    let (number, to) = (socket.as_raw_fd(), SockaddrIn::from(SocketAddrV4::new(remote, 0)));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let wait = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [wait(tun.as_fd()), wait(socket.as_fd())];
        poll(&mut fds, PollTimeout::NONE)?;
        let [outbound, inbound] = fds.map(|fd| fd.any() == Some(true));
        // What the other side does not take is lost.
        if inbound {
            let length = recv(number, &mut buffer, MsgFlags::empty())?;
            if let Some(packet) = buffer[..length].get(HEADER..) {
                let _ = write(&tun, packet);
            }
        }
        if outbound {
            match read(&tun, &mut buffer) {
                Ok(length) => drop(sendto(number, &buffer[..length], &to, MsgFlags::empty())),
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
