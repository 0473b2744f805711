//! From IPv4 to the TUN interface.

use crate::{Counter, Inbound, Instant, Path};

impl Path {
    /// Judges an IPv4 packet as a raw socket of protocol 41 gives it: header first, reassembled.
    pub fn inbound(&mut self, _now: Instant, _datagram: &mut [u8]) -> Inbound {
        Inbound::Drop(Counter::Received)
    }
}
