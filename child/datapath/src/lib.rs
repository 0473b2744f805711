//! What isatapd does with each packet of its own tunnel: bytes in, verdict and bytes out.
//!
//! No I/O, no clock. [`Path::outbound`] is given what the kernel wrote to the TUN interface,
//! [`Path::inbound`] what came in by IPv4 (protocol 41), [`Path::failed`] what became of a packet
//! that was sent. What to do by is a [`Table`], published whole by the engine. Nothing is copied or
//! allocated for a packet that passes.

mod bucket;
mod counters;
mod failed;
mod header;
mod icmp6;
mod inbound;
mod loops;
mod next_hop;
mod offload;
mod outbound;
mod pmtu;
mod table;
mod time;
mod traffic;

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use isatapd_proto::Slot;
use pmtu::PathMtus;

pub use bucket::Bucket;
pub use counters::{Counter, Counters};
pub use failed::Consequence;
pub use offload::Segments;
pub use table::{Role, Route, Source, Table};
pub use time::Instant;
pub use traffic::Traffic;

/// The longest packet either way: an IPv4 packet.
pub const LONGEST: usize = 65_535;
/// Octets of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Octets of the longest ICMPv6 error that is made (RFC 4443 section 2.4 (c)).
pub const LONGEST_ERROR: usize = 1280;

/// What to do with a packet from the TUN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Send it as it is, by IPv4.
    Send(Outer),
    /// Do not send it; write the error that was made of it to the TUN interface: so many octets. It
    /// is counted already.
    Answer(usize),
    /// Nothing. It is counted already.
    Drop(Counter),
}

/// What the outer IPv4 header says that the socket's settings do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Destination.
    pub to: Ipv4Addr,
    /// TOS octet: DSCP 0, ECN of the inner packet (RFC 6040 section 4.1, normal mode).
    pub tos: u8,
    /// TTL; `None`: that of the socket.
    pub ttl: Option<u8>,
    /// By the socket that lets the packet be fragmented (DF not set).
    pub fragment: bool,
}

/// What to do with a packet from IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Write these octets of it to the TUN interface; the ECN field and the checksum may have been
    /// changed in place.
    Deliver(Range<usize>),
    /// The same for each segment that this makes of it.
    Cut(Segments),
    /// Hand these octets (an IPv6 packet with a Router Solicitation or Advertisement, or the Neighbor
    /// Advertisement of a router) to the engine; never to the kernel, which would act on it or has not
    /// asked for it.
    Engine {
        /// The outer source.
        from: Ipv4Addr,
        /// Where the IPv6 packet is.
        packet: Range<usize>,
    },
    /// Nothing. It is counted already.
    Drop(Counter),
}

/// What IPv4 says of a packet that was sent: an entry of the socket's error queue (ip(7),
/// IP_RECVERR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Where the packet was to go.
    pub to: Ipv4Addr,
    /// Who says so.
    pub origin: Origin,
    /// What is left of the IPv6 packet.
    pub quoted: &'a [u8],
}

/// Who says that a packet did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This host: the packet is longer than the path MTU, which is this.
    TooLong {
        /// In octets, of the IPv4 packet.
        mtu: u32,
    },
    /// An ICMPv4 message of this type and code; `mtu` of type 3 code 4.
    Icmp {
        /// ICMPv4 type.
        kind: u8,
        /// ICMPv4 code.
        code: u8,
        /// Next-hop MTU (RFC 1191); 0 if the router does not say.
        mtu: u32,
    },
    /// This host, otherwise: no route, no neighbour.
    Local,
}

/// The state of the data path: the table, path MTUs, budgets. It counts what it drops;
/// what passes is counted by who sends and writes.
#[derive(Debug)]
pub struct Path {
    table: Arc<Table>,
    counters: Arc<Counters>,
    traffic: Arc<Traffic>,
    /// Watched routers that packets went to, a bit each.
    went: u64,
    paths: PathMtus,
    errors: Bucket,
    too_big: Bucket,
    heard: Bucket,
    suspects: Bucket,
}

impl Path {
    /// Knows nothing yet: all packets are dropped.
    pub fn new(counters: Arc<Counters>, traffic: Arc<Traffic>) -> Self {
        Self {
            table: Arc::default(),
            counters,
            traffic,
            went: 0,
            paths: PathMtus::default(),
            errors: icmp6::ERRORS,
            too_big: icmp6::ERRORS,
            heard: inbound::HEARD,
            suspects: failed::SUSPECTS,
        }
    }

    /// Goes by another table from now on.
    pub fn publish(&mut self, table: Arc<Table>) {
        // From another address packets take other paths.
        if table.locator != self.table.locator {
            self.paths = PathMtus::default();
        }
        self.table = table;
    }

    /// The watched routers, a bit each, that packets went to since this was asked.
    pub const fn take_went(&mut self) -> u64 {
        std::mem::replace(&mut self.went, 0)
    }

    /// A packet goes by this router of the list.
    fn goes_by(&mut self, slot: Option<Slot>) {
        self.went |= slot.map_or(0, |slot| self.traffic.sent(slot));
    }
}
