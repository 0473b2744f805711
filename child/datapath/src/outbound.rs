//! From the TUN interface to IPv4.

use std::net::Ipv4Addr;

use crate::{Counter, Instant, Outbound, Path};

impl Path {
    /// Judges a packet that the kernel wrote to the TUN interface. An error that is made of it is
    /// put into `answer`.
    pub fn outbound(&mut self, _now: Instant, _packet: &[u8], _answer: &mut [u8]) -> Outbound {
        Outbound::Drop(Counter::Sent)
    }

    /// How to send a packet of the engine's own (a solicitation, an advertisement) to `to`.
    pub fn own(&self, _to: Ipv4Addr, _packet: &[u8]) -> Outbound {
        Outbound::Drop(Counter::Sent)
    }
}
