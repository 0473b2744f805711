//! What the engine wants done.

use std::net::Ipv4Addr;
use std::sync::Arc;

use isatapd_datapath::Table;
use isatapd_proto::isatap::UBit;
use isatapd_proto::{DnsId, Slot, Up};

/// Something to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to the parent.
    Send(Up),
    /// Kernel backend: send these octets (a Router or Neighbor Solicitation without checksum) on the
    /// socket of `slot` and `form`; the kernel fills in the checksum.
    Solicit {
        /// Which router.
        slot: Slot,
        /// Which form.
        form: UBit,
        /// From the ICMPv6 type on.
        bytes: Vec<u8>,
    },
    /// TUN backend: send this IPv6 packet, checksum and all, to that IPv4 address.
    Transmit {
        /// The outer destination.
        to: Ipv4Addr,
        /// From the IPv6 header on.
        packet: Vec<u8>,
    },
    /// TUN backend: what the data path goes by from now on.
    Publish(Arc<Table>),
    /// TUN backend: have the data path tell of the next packet to each of these routers, a bit for each
    /// slot, once; of no other.
    Watch(u64),
    /// Close the sockets of this slot: its router has left the PRL.
    CloseRouter(Slot),
    /// Send this DNS message on that socket (TCP: the I/O adds the length prefix).
    SendDns {
        /// Which socket.
        id: DnsId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Close that socket.
    CloseDns(DnsId),
}
