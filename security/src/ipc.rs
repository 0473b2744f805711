//! Frames between the two processes: one message a packet over SOCK_SEQPACKET, with descriptors.
//!
//! Never blocks, never signals SIGPIPE. An empty packet and the end of the other process look
//! alike, so none is sent.

use std::io::{self, IoSlice};
use std::mem::{self, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, getsockopt, sockopt,
};
use thiserror::Error;

/// The child's end of the channel, after exec.
pub const CHILD_FD: RawFd = 3;

/// The most descriptors that Linux passes in one packet (SCM_MAX_FD).
pub const MAX_DESCRIPTORS: usize = 253;

/// Room for [`MAX_DESCRIPTORS`], and no other kind of control data: none is asked for.
const CONTROL: usize = 1032;

/// One end of the channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came in one packet.
#[derive(Debug)]
pub struct Received {
    /// How many octets of the buffer are the message; never 0.
    pub len: usize,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Why there is no message. Descriptors that came along are closed.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The other end is gone, or broke the rule against empty packets.
    #[error("channel: closed")]
    Closed,
    /// The packet is longer than the buffer, or not all its descriptors could be taken.
    #[error("channel: packet cut short")]
    Truncated,
    /// More descriptors than the message may have.
    #[error("channel: {0} descriptors in one packet")]
    TooManyDescriptors(usize),
    /// The system call failed; `WouldBlock`: nothing is there.
    #[error("channel: {0}")]
    Io(#[from] io::Error),
}

impl ReceiveError {
    /// Nothing is there now.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Aligned as the kernel's control messages want it.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Channel {
    /// Makes both ends: ours, and the one to give to the child.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self(ours), theirs))
    }

    /// Takes a socket made by [`Channel::pair`].
    pub fn adopt(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Takes the end that [`spawn`](crate::spawn::spawn) left at [`CHILD_FD`]. Error: no such
    /// socket, or taken before.
    pub fn inherited() -> io::Result<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        // SAFETY: borrowed for this question only; a closed number is answered by EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(CHILD_FD) };
        if getsockopt(&borrowed, sockopt::SockType)? != SockType::SeqPacket {
            return Err(Errno::EPROTOTYPE.into());
        }
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Errno::EBUSY.into());
        }
        // SAFETY: it is open, and the flag above makes this its only owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(CHILD_FD) }))
    }

    /// Sends one message. Without descriptors by send(2), as the child may not use sendmsg(2).
    pub fn send(&self, octets: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if octets.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let socket = self.0.as_raw_fd();
        if fds.is_empty() {
            socket::send(socket, octets, flags)?;
            return Ok(());
        }
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        socket::sendmsg::<()>(socket, &[IoSlice::new(octets)], &rights, flags, None)?;
        Ok(())
    }

    /// Receives one message into `buffer`, with at most `max_fds` descriptors.
    pub fn receive(&self, buffer: &mut [u8], max_fds: usize) -> Result<Received, ReceiveError> {
        let mut control = Control([0; CONTROL]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zeroes is a valid msghdr: no address, no buffers.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control.0).cast();
        header.msg_controllen = CONTROL as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the header points to the buffers above, with their lengths; both outlive the call.
        let answer = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags) };
        let len = Errno::result(answer).map_err(io::Error::from)?;
        // Owned before anything is judged, so that a refusal closes them.
        let fds = take_descriptors(&header);
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(ReceiveError::Truncated);
        }
        if fds.len() > max_fds {
            return Err(ReceiveError::TooManyDescriptors(fds.len()));
        }
        match usize::try_from(len) {
            Ok(len) if len > 0 => Ok(Received { len, fds }),
            _ => Err(ReceiveError::Closed),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes every descriptor in the control data of a header that recvmsg(2) has just filled in.
fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the header's control buffer is alive and as long as the kernel says.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: the macros return null or a whole, aligned header within that buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the data follows the header in the same buffer.
            let data = unsafe { libc::CMSG_DATA(next) };
            let before = data.addr().saturating_sub(next.addr());
            let count = message.cmsg_len.saturating_sub(before) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: index is below the count of numbers that the kernel wrote there.
                let place = unsafe { data.add(index * size_of::<RawFd>()) };
                // SAFETY: in bounds as above; read without asking for alignment.
                let number = unsafe { ptr::read_unaligned(place.cast::<RawFd>()) };
                // SAFETY: the kernel has just opened it for this process: nobody else owns it.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: both pointers are into the same live control buffer.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    fds
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    fn ends() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::adopt(other))
    }

    fn nulls(count: usize) -> Vec<File> {
        (0..count).map(|_| File::open("/dev/null").unwrap()).collect()
    }

    fn send_with(from: &Channel, files: &[File]) -> io::Result<()> {
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        from.send(b"x", &fds)
    }

    /// How many of this process's descriptors lead to `path`.
    fn open_on(path: &std::path::Path) -> usize {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|link| fs::read_link(link.path()).is_ok_and(|to| to == path)).count()
    }

    #[test]
    fn keeps_message_borders() {
        let (one, other) = ends();
        one.send(b"first", &[]).unwrap();
        one.send(b"second", &[]).unwrap();
        let mut buffer = [0; 16];
        for want in [b"first".as_slice(), b"second"] {
            let got = other.receive(&mut buffer, 0).unwrap();
            assert_eq!((&buffer[..got.len], got.fds.len()), (want, 0));
        }
        let error = other.receive(&mut buffer, 0).unwrap_err();
        assert!(error.would_block());
        assert!(one.send(b"", &[]).is_err());
        drop(one);
        assert!(matches!(other.receive(&mut buffer, 0), Err(ReceiveError::Closed)));
        assert_eq!(other.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn too_long_is_an_error_and_gone() {
        let (one, other) = ends();
        one.send(&[7; 17], &[]).unwrap();
        one.send(b"next", &[]).unwrap();
        let mut buffer = [0; 16];
        assert!(matches!(other.receive(&mut buffer, 0), Err(ReceiveError::Truncated)));
        assert_eq!(other.receive(&mut buffer, 0).unwrap().len, 4);
    }

    #[test]
    fn passes_every_count_of_descriptors() {
        let (one, other) = ends();
        for count in 1..=MAX_DESCRIPTORS {
            send_with(&one, &nulls(count)).unwrap();
            let got = other.receive(&mut [0; 4], MAX_DESCRIPTORS).unwrap();
            assert_eq!(got.fds.len(), count);
            let flags = fcntl(&got.fds[count - 1], FcntlArg::F_GETFD).unwrap();
            assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
        }
        assert!(send_with(&one, &nulls(MAX_DESCRIPTORS + 1)).is_err());
    }

    #[test]
    fn closes_what_it_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passed");
        fs::write(&path, b"").unwrap();
        let (one, other) = ends();
        for (octets, max) in [(&b"x"[..], 0), (&[1; 99][..], 3)] {
            let file = File::open(&path).unwrap();
            one.send(octets, &[file.as_fd(), file.as_fd()]).unwrap();
            drop(file);
            other.receive(&mut [0; 16], max).unwrap_err();
            assert_eq!(open_on(&path), 0, "{max}");
        }
        let file = File::open(&path).unwrap();
        one.send(b"x", &[file.as_fd(), file.as_fd()]).unwrap();
        let got = other.receive(&mut [0; 16], 2).unwrap();
        assert_eq!((got.fds.len(), open_on(&path)), (2, 3));
    }
}
