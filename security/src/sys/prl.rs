//! The Potential Router List of a sit interface: ioctls on any AF_INET datagram socket
//! (linux/if_tunnel.h, net/ipv6/sit.c). The kernel checks next to nothing, so this does.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{Ioctl, c_char, c_void};
use nix::errno::Errno;

/// The longest list that [`prl_list`] reads.
pub const MAX_PRL: usize = 128;

const SIOCGETPRL: Ioctl = 0x89f4;
const SIOCADDPRL: Ioctl = 0x89f5;
const SIOCDELPRL: Ioctl = 0x89f6;

/// The name of an interface as calls take it: 1 to 15 octets, no NUL, and no `%`, which would make it a
/// pattern. What else is no name finds no interface, and the kernel makes none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceName([u8; libc::IFNAMSIZ]);

impl InterfaceName {
    /// `None` if it is not such a name.
    pub fn new(name: &str) -> Option<Self> {
        let mut octets = [0; libc::IFNAMSIZ];
        let (place, _terminator) = octets.split_at_mut_checked(name.len())?;
        place.copy_from_slice(name.as_bytes());
        let whole = !name.is_empty() && name.len() < libc::IFNAMSIZ;
        (whole && !name.contains(['\0', '%'])).then_some(Self(octets))
    }

    /// As C has it: signed or not, as the architecture has it.
    pub(super) fn chars(&self) -> [c_char; libc::IFNAMSIZ] {
        self.0.map(|octet| c_char::from_ne_bytes([octet]))
    }
}

/// `struct ip_tunnel_prl`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    /// Network order; 0 in a deletion empties the list, so none has it.
    address: [u8; 4],
    flags: u16,
    reserved: u16,
    /// Of a request to read: octets of room after this entry, then octets written.
    data_length: u32,
    reserved_2: u32,
}

/// The flag of a router that solicitations may be sent to.
const PRL_DEFAULT: u16 = 1;

/// Adds a router. Errors: `AlreadyExists`; `InvalidInput` for 0.0.0.0.
pub fn prl_add(socket: BorrowedFd<'_>, name: &InterfaceName, router: Ipv4Addr) -> io::Result<()> {
    change(socket, SIOCADDPRL, name, router)
}

/// Deletes a router. Errors: ENXIO if it is not there; `InvalidInput` for 0.0.0.0, by which the
/// kernel would delete them all.
pub fn prl_delete(
    socket: BorrowedFd<'_>,
    name: &InterfaceName,
    router: Ipv4Addr,
) -> io::Result<()> {
    change(socket, SIOCDELPRL, name, router)
}

fn change(
    socket: BorrowedFd<'_>,
    request: Ioctl,
    name: &InterfaceName,
    router: Ipv4Addr,
) -> io::Result<()> {
    if router.is_unspecified() {
        return Err(Errno::EINVAL.into());
    }
    let entry = Entry { address: router.octets(), flags: PRL_DEFAULT, ..Entry::default() };
    ask(socket, request, name, &mut [entry])
}

/// The first [`MAX_PRL`] routers of the list.
pub fn prl_list(socket: BorrowedFd<'_>, name: &InterfaceName) -> io::Result<Vec<Ipv4Addr>> {
    let mut entries = [Entry::default(); MAX_PRL + 1];
    let size = size_of::<Entry>();
    let [request, ..] = &mut entries;
    request.data_length = u32::try_from(MAX_PRL * size).map_err(io::Error::other)?;
    ask(socket, SIOCGETPRL, name, &mut entries)?;
    let [answer, list @ ..] = entries;
    let count = usize::try_from(answer.data_length).unwrap_or_default() / size;
    Ok(list.iter().take(count).map(|entry| Ipv4Addr::from(entry.address)).collect())
}

/// One of the three requests. The first entry of a request to read says how many follow it.
fn ask(
    socket: BorrowedFd<'_>,
    request: Ioctl,
    name: &InterfaceName,
    entries: &mut [Entry],
) -> io::Result<()> {
    let data: *mut c_void = entries.as_mut_ptr().cast();
    let mut argument = libc::ifreq {
        ifr_name: name.chars(),
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data.cast::<c_char>() },
    };
    // SAFETY: the kernel reads the argument and the first entry, and writes no more entries than
    // that one says; `prl_list` has as many. All outlive the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut argument) };
    Errno::result(answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn names() {
        for good in ["is0", "a", "isatap-eth0.100", "123456789012345"] {
            assert!(InterfaceName::new(good).is_some(), "{good}");
        }
        for bad in ["", "a\0", "\0", "is%d", "1234567890123456"] {
            assert!(InterfaceName::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn no_address_is_never_sent() {
        let socket =
            socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
        let name = InterfaceName::new("lo").unwrap();
        for call in [prl_add, prl_delete] {
            let error = call(socket.as_fd(), &name, Ipv4Addr::UNSPECIFIED).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            // Not a sit interface: the kernel was asked, and does not know the request.
            let error = call(socket.as_fd(), &name, Ipv4Addr::LOCALHOST).unwrap_err();
            assert_ne!(error.raw_os_error(), Some(libc::EINVAL));
        }
        assert!(prl_list(socket.as_fd(), &name).is_err());
    }
}
