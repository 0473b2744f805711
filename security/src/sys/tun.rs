//! The TUN device (linux/if_tun.h): an interface is made or attached to, and left behind.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_short, c_ulong};
use nix::errno::Errno;

use super::InterfaceName;

/// One IPv6 packet in each read and write, nothing before it.
const FLAGS: c_int = libc::IFF_TUN | libc::IFF_NO_PI;

/// Makes a TUN interface of this name, down, that lives as long as `device` (/dev/net/tun) and its
/// copies. Errors: `ResourceBusy` if there is an interface of this name; `InvalidInput` if
/// `device` has one already.
pub fn make_tun(device: BorrowedFd<'_>, name: &InterfaceName) -> io::Result<()> {
    set_interface(device, name, FLAGS | libc::IFF_TUN_EXCL)
}

/// Attaches `device` to the TUN interface of this name that nobody is attached to; makes one if
/// there is none. Errors: `ResourceBusy` if somebody is; `InvalidInput` if it is of another kind, or
/// `device` has one already.
pub fn attach_tun(device: BorrowedFd<'_>, name: &InterfaceName) -> io::Result<()> {
    set_interface(device, name, FLAGS)
}

/// Whether the interface of `device` outlives it.
pub fn set_tun_persistent(device: BorrowedFd<'_>, persistent: bool) -> io::Result<()> {
    let argument = c_ulong::from(persistent);
    // SAFETY: the argument is a number, no memory.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETPERSIST, argument) };
    Errno::result(answer)?;
    Ok(())
}

fn set_interface(device: BorrowedFd<'_>, name: &InterfaceName, flags: c_int) -> io::Result<()> {
    let flags =
        c_short::from_ne_bytes(u16::try_from(flags).map_err(io::Error::other)?.to_ne_bytes());
    let mut argument = libc::ifreq {
        ifr_name: name.chars(),
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the kernel reads and writes this one structure, which outlives the call.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut argument) };
    Errno::result(answer)?;
    Ok(())
}
