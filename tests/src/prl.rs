//! The kernel's Potential Router List of a tunnel: ip(8) shows fifteen of it at most.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use isatapd_proto::MAX_ROUTERS;

use crate::netns::within;

/// linux/if_tunnel.h: SIOCDEVPRIVATE + 4.
const SIOCGETPRL: libc::Ioctl = 0x89f4;
/// As many as are asked for: more than there may be.
const ROOM: usize = 2 * MAX_ROUTERS;

/// struct ip_tunnel_prl of linux/if_tunnel.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    address: u32,
    flags: u16,
    reserved: u16,
    length: u32,
    reserved2: u32,
}

/// struct ifreq with a pointer in it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    entries: *mut Entry,
    rest: [u8; 16],
}

/// The routers in the list, in numeric order; none if there is no such tunnel.
pub fn routers(namespace: &str, tunnel: &str) -> Vec<Ipv4Addr> {
    let mut routers = within(namespace, || read(tunnel)).unwrap_or_default();
    routers.sort();
    routers
}

fn read(tunnel: &str) -> io::Result<Vec<Ipv4Addr>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let size = u32::try_from(size_of::<Entry>()).expect("a small size");
    let mut entries = [Entry::default(); 1 + ROOM];
    entries[0].length = size * u32::try_from(ROOM).expect("a small number");
    let mut request = Request { name: [0; _], entries: entries.as_mut_ptr(), rest: [0; 16] };
    request.name[..tunnel.len()].copy_from_slice(tunnel.as_bytes());
    // SAFETY: the kernel reads and writes a struct ifreq there, which `Request` is as long as, and at
    // `entries` as many octets after the first entry as that one says, which it has.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGETPRL, &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(entries[0].length / size).expect("a small number");
    // In network order in memory.
    let addresses =
        entries.iter().skip(1).take(count).map(|e| Ipv4Addr::from(e.address.to_ne_bytes()));
    Ok(addresses.collect())
}
