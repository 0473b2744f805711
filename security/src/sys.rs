//! Socket calls, options and ioctls that nix lacks, as functions that cannot be called wrongly.

mod datagrams;
mod prl;
mod socket;
mod tun;

use std::io;

use nix::errno::Errno;

pub use datagrams::{BATCH, Datagram, receive_datagrams, send_datagrams};
pub use prl::{InterfaceName, MAX_PRL, prl_add, prl_delete, prl_list};
pub use socket::{
    Fragments, advert_filter, attach_filter, attach_locked_filter, bind_to_interface,
    ipv6_inside_filter, nothing_filter, packet_socket, raw_protocol_41, routed_out_filter,
    set_fragments, set_icmp6_filter_adverts, set_receive_buffer_force,
};
pub use tun::{attach_tun, make_tun, set_tun_persistent};

/// 32 octets that nobody can guess (getrandom(2)). May wait for the system's first entropy.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    // SAFETY: the kernel writes at most the 32 octets that are there.
    let answer = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    // Up to 256 octets come whole (getrandom(2)).
    if usize::try_from(Errno::result(answer)?) == Ok(seed.len()) {
        Ok(seed)
    } else {
        Err(Errno::EIO.into())
    }
}
