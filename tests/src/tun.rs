//! What the parent makes for the data path: a TUN interface and two sockets of protocol 41.

use std::ffi::CString;
use std::fs::File;
use std::mem::size_of_val;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use isatapd_security::sys;
use nix::sys::socket::{SockaddrIn, bind};

/// Linux/if_tun.h: `_IOW('T', 202, int)`.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// Makes a TUN interface of this name, which is gone with the last descriptor.
pub fn open(name: &str) -> File {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let tun = options.open("/dev/net/tun").expect("/dev/net/tun");
    // struct ifreq: the name, then flags.
    let mut request = [0_u8; 40];
    let name = CString::new(name).expect("a name");
    request[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
    let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("flags");
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is as long as the kernel's struct, and lives here.
    let answer = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    tun
}

/// Two raw sockets bound to `locator`: one never fragments, and receives packets and what became of
/// those that either sent; the other the reverse.
pub fn sockets(locator: Ipv4Addr) -> [OwnedFd; 2] {
    [libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_DONT].map(|discover| {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no memory is involved.
        let number = unsafe { libc::socket(libc::AF_INET, kind, libc::IPPROTO_IPV6) };
        assert!(number >= 0, "these tests run as root");
        // SAFETY: just opened, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        if discover == libc::IP_PMTUDISC_DONT {
            let code = u16::try_from(libc::BPF_RET | libc::BPF_K).expect("a code");
            let nothing = libc::sock_filter { code, jt: 0, jf: 0, k: 0 };
            sys::attach_locked_filter(socket.as_fd(), &[nothing]).expect("a filter");
        }
        let hears = i32::from(discover == libc::IP_PMTUDISC_DO);
        for (option, value) in [(libc::IP_MTU_DISCOVER, discover), (libc::IP_RECVERR, hears)] {
            let length = libc::socklen_t::try_from(size_of_val(&value)).expect("4");
            let place = (&raw const value).cast();
            // SAFETY: the value is an int, which lives here.
            let answer =
                unsafe { libc::setsockopt(number, libc::IPPROTO_IP, option, place, length) };
            assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        }
        sys::set_receive_buffer_force(socket.as_fd(), 1 << 20).expect("CAP_NET_ADMIN");
        bind(number, &SockaddrIn::from(SocketAddrV4::new(locator, 0))).expect("our address");
        socket
    })
}
