//! What the engine is told.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatapd_proto::isatap::UBit;
use isatapd_proto::{
    Command, Config, DataPath, DnsId, Link, Outcome, Seq, Slot, Surroundings, UnicastV4,
};

use crate::Instant;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// What to do: the first input, told once. Another would replace it.
    Config(Config),
    /// The number of name servers, and the files as they are now (empty if there is none).
    Resolver {
        /// How many name servers there are; `OpenDns` names them by index.
        servers: u8,
        /// resolv.conf: search list and options. Foreign bytes.
        resolv_conf: &'a [u8],
        /// The hosts file. Foreign bytes.
        hosts: &'a [u8],
    },
    /// The present state of the tunnel. With none, or another locator or backend, all router sockets
    /// and the data path are gone. Told again when the host's IPv4 network has changed.
    Link(Link),
    /// Kernel backend: there is now a socket to this router in this form.
    RouterSocket {
        /// Its place in the PRL as the parent knew it.
        slot: Slot,
        /// Its address there: a socket whose slot has another router by now is to be ignored.
        router: UnicastV4,
        /// Which of its two link-local addresses.
        form: UBit,
    },
    /// Kernel backend: an ICMPv6 message came in on the socket of `slot` and `form`. The kernel has
    /// verified its checksum; everything else is foreign.
    Packet {
        /// Whose socket.
        slot: Slot,
        /// Which form that socket is connected to.
        form: UBit,
        /// The IPv6 source address.
        source: Ipv6Addr,
        /// The IPv6 hop limit; `None` if the kernel did not say.
        hop_limit: Option<u8>,
        /// From the ICMPv6 type on.
        bytes: &'a [u8],
    },
    /// TUN backend: there is a data path, or another one; this is how it sends.
    DataPath(DataPath),
    /// TUN backend: what else the host has.
    Surroundings(Surroundings),
    /// TUN backend: an IPv6 packet with a Router Solicitation or Advertisement, or with a router's
    /// Neighbor Advertisement, came in by IPv4. It
    /// has passed the checks of the data path; everything else is foreign, its checksum too.
    Tunnelled {
        /// The outer source.
        from: Ipv4Addr,
        /// From the IPv6 header on.
        packet: &'a [u8],
    },
    /// Packets go by these routers, a bit for each slot, or by some of them.
    Traffic(u64),
    /// TUN backend: when a packet last came from each router; told before [`Input::Timer`].
    Heard(&'a [(Slot, Instant)]),
    /// TUN backend: the way to this router may have failed, says IPv4 (RFC 5214 section 7.2), or
    /// somebody who forges what it says.
    Suspect(Ipv4Addr),
    /// The last solicitation to this router in this form could not be sent.
    SolicitFailed {
        /// Which router.
        slot: Slot,
        /// Which form.
        form: UBit,
        /// What the system says.
        error: String,
    },
    /// A DNS socket is there, connected (TCP: connecting) to the name server asked for.
    DnsReady(DnsId),
    /// A whole DNS message came in on that socket (TCP: without its length prefix). Foreign bytes.
    DnsReply {
        /// Which socket.
        id: DnsId,
        /// The message.
        bytes: &'a [u8],
    },
    /// That socket failed (refused, unreachable, closed early, too long a message).
    DnsFailed {
        /// Which socket.
        id: DnsId,
        /// What the system says.
        error: String,
    },
    /// The parent's answer to the request of this number.
    Done {
        /// Which request.
        seq: Seq,
        /// What became of it.
        outcome: Outcome,
    },
    /// The operator's wish.
    Command(Command),
    /// A deadline has been reached (or not: calling early does no harm).
    Timer,
}
