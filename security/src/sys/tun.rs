//! The TUN device (linux/if_tun.h).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_short};
use nix::errno::Errno;

use super::InterfaceName;

/// One IPv6 packet in each read and write, nothing before it; never an interface that is there.
const FLAGS: c_int = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;

/// Makes a TUN interface of this name, down, that lives as long as `device` (/dev/net/tun) and its
/// copies. Errors: `ResourceBusy` if there is an interface of this name; `InvalidInput` if
/// `device` has one already.
pub fn make_tun(device: BorrowedFd<'_>, name: &InterfaceName) -> io::Result<()> {
    let flags =
        c_short::from_ne_bytes(u16::try_from(FLAGS).map_err(io::Error::other)?.to_ne_bytes());
    let mut argument = libc::ifreq {
        ifr_name: name.0.map(u8::cast_signed),
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the kernel reads and writes this one structure, which outlives the call.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut argument) };
    Errno::result(answer)?;
    Ok(())
}
