//! Path MTUs, and what IPv4 says of packets that did not pass.

use std::net::Ipv4Addr;

use crate::{Failure, Instant, Path};

/// What follows of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// Octets of an ICMPv6 error in the buffer, to be written to the TUN interface.
    pub answer: Option<usize>,
    /// The way to this neighbour may have failed: a hint for the engine (RFC 5214 section 7.2).
    pub suspect: Option<Ipv4Addr>,
}

impl Path {
    /// Takes in what became of a packet that was sent.
    pub fn failed(
        &mut self,
        _now: Instant,
        _failure: &Failure<'_>,
        _answer: &mut [u8],
    ) -> Consequence {
        Consequence::default()
    }
}
