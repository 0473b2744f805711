//! What the parent tells.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::isatap::UBit;
use crate::{
    Advertise, Bounded, DnsId, HostName, Level, MAX_FOREIGN, MAX_NAME_SERVERS, MAX_ROUTER_SPECS,
    Mtu, Outcome, RouterTimeout, Seq, Slot, Text, UnicastV4,
};

/// One message down. Each carries as many descriptors as it says, in the order of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// First of all: the version of the parent's build. The child ends if it is another.
    Startup {
        /// `CARGO_PKG_VERSION` of the parent.
        version: Text<32>,
    },
    /// What to do: once to each child, before the request `StartupDone` is due.
    Config(Config),
    /// The name servers; again whenever one of the files changes.
    Resolver(Resolver),
    /// The present state of the tunnel. Without one, or with another locator than before, all
    /// router sockets are void. Told again, even if it is the same, when the host's IPv4 network has
    /// changed: names that had no answer may have one now.
    Link(Link),
    /// TUN backend. One descriptor: the TUN queue. It replaces the one before. The sockets of
    /// protocol 41, which the child has from its start on, are bound to the locator now. After
    /// `Link`.
    DataPath(DataPath),
    /// TUN backend: what else the host has that the data path goes by; again when it changes.
    Surroundings(Surroundings),
    /// One descriptor: a listening socket (SOCK_SEQPACKET) for the operator's tools.
    Control,
    /// Kernel backend. One descriptor: raw ICMPv6, bound to the tunnel and connected to the link-local address of
    /// the router at `slot`, in this form. It replaces the one of the same slot and form.
    Router {
        /// Which router, of the last `SetRouters`.
        slot: Slot,
        /// Its address there: what the child believes of `slot` may be newer.
        router: UnicastV4,
        /// Which of its two link-local addresses.
        form: UBit,
    },
    /// One descriptor: connected to the name server that `OpenDns` asked for. TCP may still be
    /// connecting.
    Dns {
        /// The id given in the request.
        id: DnsId,
    },
    /// The answer to the request of this number.
    Done {
        /// Which request.
        seq: Seq,
        /// What became of it.
        outcome: Outcome,
    },
    /// What the operator asks for by a signal.
    Command(Command),
    /// To be answered by `Request::Pong`: all that was told before has been heard.
    Ping,
    /// Kernel backend: a packet has gone by a router since `WatchTraffic`.
    Traffic,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where the Potential Router List comes from, in the operator's order.
    pub routers: Bounded<RouterSpec, MAX_ROUTER_SPECS>,
    /// Time between solicitations of a router that answers; `None`: by the lifetimes it advertises
    /// (0.9.7: `--interval auto`).
    pub solicit_interval: Option<Duration>,
    /// PrlRefreshInterval (RFC 5214 section 8.3.1); `None`: names are never looked up again once
    /// they are known (0.9.7: `--check-dns 0`).
    pub prl_refresh: Option<Duration>,
    /// What is worth sending to the log.
    pub level: Level,
    /// Router role: what is advertised. The members of the PRL are then the site's other routers.
    pub advertise: Option<Advertise>,
    /// How soon traffic leaves a router that has died.
    pub router_timeout: RouterTimeout,
}

/// One source of the PRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouterSpec {
    /// A router itself.
    Address(UnicastV4),
    /// A name whose A records are routers.
    Name(HostName),
}

/// The resolver's state; descriptors: resolv.conf if `resolv_conf`, then hosts if `hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// The name servers, in order, as text for the log; `ServerIndex` counts them.
    pub servers: Bounded<Text<64>, MAX_NAME_SERVERS>,
    /// Whether there is a resolv.conf.
    pub resolv_conf: bool,
    /// Whether there is a hosts file.
    pub hosts: bool,
}

/// The present state of the tunnel. By default there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `None` while there is no locator.
    pub tunnel: Option<Tunnel>,
    /// The interface's name.
    pub name: Text<16>,
    /// Why it has this backend; without a tunnel, what it waits for.
    pub reason: Text<200>,
    /// Whether the host forwards IPv6 (net.ipv6.conf.all.forwarding).
    pub forwarding: bool,
}

/// A tunnel that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Our end.
    pub locator: UnicastV4,
    /// The MTU of the interface.
    pub mtu: Mtu,
    /// Who encapsulates.
    pub backend: Backend,
}

/// Who encapsulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A `sit` interface in ISATAP mode.
    Kernel,
    /// The child's data path, behind a TUN interface.
    Tun,
}

/// How the data path sends. Its locator and MTU are those of the last `Link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPath {
    /// TTL of the outer header; `None`: the inner hop limit. The sockets have it set if it is fixed.
    pub ttl: Option<NonZeroU8>,
    /// Which MTU method of RFC 4213 section 3.2.
    pub mtu_method: MtuMethod,
}

/// How packets fit the IPv4 path (RFC 4213 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MtuMethod {
    /// One MTU for all destinations; DF is never set.
    Static,
    /// The path MTU of each destination; DF is set unless it is below 1300.
    Dynamic,
}

/// What else the host has, by its administrator or other programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// The host's IPv4 addresses, the locator too.
    pub own: Bounded<Ipv4Addr, MAX_FOREIGN>,
    /// The broadcast addresses of its IPv4 networks.
    pub broadcasts: Bounded<Ipv4Addr, MAX_FOREIGN>,
    /// IPv6 addresses on the tunnel that are not ours.
    pub addresses: Bounded<Ipv6Addr, MAX_FOREIGN>,
    /// IPv6 routes through the tunnel that are not ours.
    pub routes: Bounded<ForeignRoute, MAX_FOREIGN>,
}

/// A route through the tunnel that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRoute {
    /// What it reaches.
    pub destination: Ipv6Net,
    /// The IPv4 address that its gateway embeds; `None`: it has no gateway.
    pub next_hop: Option<UnicastV4>,
    /// Whether its metric is above those of ours.
    pub behind: bool,
}

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Look all names up again and solicit all routers (0.9.7: SIGHUP).
    Reload,
    /// Write the state to the log, and tell it by `Request::Dump` (rtsold: SIGUSR1).
    Dump,
    /// The end is near: a router says so to its hosts, then reports `State::Finished`.
    Stop,
}
