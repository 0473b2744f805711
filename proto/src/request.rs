//! What the child asks for.

use serde::{Deserialize, Serialize};

use crate::isatap::UBit;
use crate::{
    Bounded, DnsId, Lifetime, LogRecord, MAX_ADDRESSES, MAX_DUMP_PIECE, MAX_ROUTERS, MAX_ROUTES,
    Mtu, OnLinkPrefix, Preference, RouteDestination, Seq, ServerIndex, Slot, Text, Transport,
    UnicastV4,
};

/// One message up. It never carries a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// Above that of any request before, of those that are answered; of others it means nothing.
    pub seq: Seq,
    /// What is asked for.
    pub request: Request,
}

/// What the child asks for, or tells. What is asked for is answered by one `Done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The sandbox is in force; once, first.
    StartupDone,
    /// A socket for one DNS query. It comes as `Event::Dns`, before the `Done`.
    OpenDns {
        /// Names the socket in what follows.
        id: DnsId,
        /// Which name server, of the last `Event::Resolver`.
        server: ServerIndex,
        /// Datagram or stream.
        transport: Transport,
    },
    /// The whole Potential Router List: no slot and no address twice. The parent makes the tunnel
    /// when the first list comes that it can reach.
    SetRouters(Bounded<RouterWish, MAX_ROUTERS>),
    /// All addresses: no prefix twice.
    SetAddresses(Bounded<AddressWish, MAX_ADDRESSES>),
    /// All routes: no destination twice with the same next hop.
    SetRoutes(Bounded<RouteWish, MAX_ROUTES>),
    /// How things stand, for the parent's readiness and status.
    Report(State),
    /// A line for the log.
    Log(LogRecord),
    /// The state as text, after `Command::Dump`: lines, each with its end.
    Dump {
        /// They follow those of the pieces before.
        text: Text<MAX_DUMP_PIECE>,
        /// No piece follows.
        last: bool,
    },
    /// The answer to `Event::Ping`, once all threads have heard what came before it.
    Pong,
    /// Kernel backend: tell of the next packet that goes by a router, once, by `Event::Traffic`. Void
    /// with the sockets of the routers.
    WatchTraffic,
}

impl Request {
    /// Whether a `Done` follows.
    pub const fn is_answered(&self) -> bool {
        !matches!(
            self,
            Self::Report(_) | Self::Log(_) | Self::Dump { .. } | Self::Pong | Self::WatchTraffic
        )
    }
}

/// One entry of the PRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouterWish {
    /// Its place, kept as long as it is in the list: the route metric follows it.
    pub slot: Slot,
    /// V4ADDR(i) (RFC 5214 section 8.1).
    pub router: UnicastV4,
}

/// An address formed by the parent: this prefix and the tunnel's own interface identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressWish {
    /// Where it comes from.
    pub prefix: OnLinkPrefix,
    /// Whether neighbours with this prefix may send to us directly (PIO flag L).
    pub on_link: bool,
    /// Time left; not zero.
    pub valid: Lifetime,
    /// Time left; at most `valid`.
    pub preferred: Lifetime,
}

/// A route through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteWish {
    /// What it reaches.
    pub destination: RouteDestination,
    /// Where it leads; `None`: the destination is on the link. Then it is a /64, and the backend TUN.
    pub next_hop: Option<NextHop>,
    /// RFC 4191.
    pub preference: Preference,
    /// Time left; not zero.
    pub lifetime: Lifetime,
    /// The MTU that the router advertised, if any.
    pub mtu: Option<Mtu>,
    /// The Cur Hop Limit that the router advertised, if any; not zero.
    pub hop_limit: Option<u8>,
    /// Whether its router is not known to be unreachable.
    pub reachable: bool,
}

/// Where a route leads: the parent makes the gateway of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextHop {
    /// A router of the last `SetRouters`.
    pub slot: Slot,
    /// The form of the link-local address that it advertises from.
    pub form: UBit,
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// No router is known yet: the names have no answer.
    AwaitingNames,
    /// Routers are known, none has answered.
    AwaitingRouters,
    /// At least one router has answered; of a router: it advertises.
    Working,
    /// After `Command::Stop`: all is said.
    Finished,
}
