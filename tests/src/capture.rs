//! What passes on a link, seen from outside of who sends it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::within;

/// Time in which the end of a capture is noticed.
const LOOK: Duration = Duration::from_millis(20);
/// linux/sockios.h, with a time of this machine's word.
const SIOCGSTAMPNS: libc::Ioctl = 0x8907;

/// One frame without its Ethernet header.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it passed by the kernel's clock, however late it is looked at.
    pub at: Instant,
    /// Whether this node sent it.
    pub outgoing: bool,
    /// EtherType.
    pub kind: u16,
    /// The packet.
    pub packet: &'a [u8],
}

/// Shows all frames of a link to a function until it is dropped.
pub struct Capture {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Begins; no frame from now on is missed.
    pub fn start(
        namespace: &str,
        link: &str,
        mut look: impl FnMut(Frame<'_>) + Send + 'static,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, link) = (Arc::clone(&ended), link.to_owned());
        let socket = within(namespace, || open(&link)).expect("a packet socket");
        let (ready, started) = channel();
        let thread = thread::spawn(move || {
            let _ = ready.send(());
            let mut buffer = vec![0; 1 << 16];
            // What is there already is looked at after the end, too.
            while let Some(frame) = receive(&socket, &mut buffer, &stop) {
                look(frame);
            }
        });
        started.recv().expect("a thread");
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn open(link: &str) -> io::Result<OwnedFd> {
    let all = u16::try_from(libc::ETH_P_ALL).expect("an EtherType").to_be();
    let (kind, room) = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 64 << 20);
    // Without a protocol, so that it hears of no link before it is bound to one.
    // SAFETY: socket(2) takes numbers only; the descriptor is new, and nobody else's.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let index = if_nametoindex(link)?.cast_signed();
    let length = |size: usize| libc::socklen_t::try_from(size).expect("a small size");
    // SAFETY: all that a sockaddr_ll consists of may be zero; both calls are told the size of what
    // they read.
    let done = unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = u16::try_from(libc::AF_PACKET).expect("a family");
        address.sll_protocol = all;
        address.sll_ifindex = index;
        let (fd, level, option) = (socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
        libc::setsockopt(fd, level, option, (&raw const room).cast(), length(size_of_val(&room)))
            | libc::bind(fd, (&raw const address).cast(), length(size_of_val(&address)))
    };
    // Who asks once is told from then on.
    let _ = last_stamp(&socket);
    if done == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// How long ago the last packet passed, if the kernel knows.
fn last_stamp(socket: &OwnedFd) -> Option<Duration> {
    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a timespec there.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut stamp) };
    let nanoseconds = u32::try_from(stamp.tv_nsec).ok().filter(|_| result == 0)?;
    let at = Duration::new(stamp.tv_sec.try_into().ok()?, nanoseconds);
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + at).ok()
}

fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8], stop: &AtomicBool) -> Option<Frame<'a>> {
    loop {
        let limit = PollTimeout::try_from(LOOK).expect("a short time");
        let ended = stop.load(Ordering::Relaxed);
        if poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], limit).is_ok_and(|n| n > 0) {
            break;
        }
        if ended {
            return None;
        }
    }
    // SAFETY: a sockaddr_ll may be all zero; the kernel writes at most as much as it is told.
    let (n, from) = unsafe {
        let mut from: libc::sockaddr_ll = std::mem::zeroed();
        let mut size = libc::socklen_t::try_from(size_of_val(&from)).expect("a small size");
        let (fd, at) = (socket.as_raw_fd(), buffer.as_mut_ptr().cast());
        let n = libc::recvfrom(fd, at, buffer.len(), 0, (&raw mut from).cast(), &raw mut size);
        (n, from)
    };
    // The link has gone down: what comes when it is up again is for the next round.
    let Ok(n) = usize::try_from(n) else { return receive(socket, buffer, stop) };
    let ago = last_stamp(socket).unwrap_or_default();
    Some(Frame {
        at: Instant::now().checked_sub(ago).expect("a time since the start"),
        outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
        kind: u16::from_be(from.sll_protocol),
        packet: &buffer[..n],
    })
}
