//! What packets go by, published whole by the engine.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use isatapd_proto::{Mtu, MtuMethod, OnLinkPrefix, Preference, Slot, UnicastV4};

/// All that the data path knows. Without a locator nothing passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Nothing to go by yet: what the host sends waits in the TUN queue.
    pub hold: bool,
    /// Our end.
    pub locator: Option<UnicastV4>,
    /// Host or router.
    pub role: Role,
    /// The MTU of the TUN interface.
    pub mtu: Option<Mtu>,
    /// How packets fit the IPv4 path.
    pub mtu_method: Option<MtuMethod>,
    /// Whether the outer TTL is the inner hop limit.
    pub inherit_ttl: bool,
    /// The IPv6 addresses of the tunnel, link-local ones in both forms too.
    pub own: Vec<Ipv6Addr>,
    /// The host's IPv4 addresses, the locator too.
    pub own_v4: Vec<Ipv4Addr>,
    /// The broadcast addresses of the host's IPv4 networks.
    pub broadcasts: Vec<Ipv4Addr>,
    /// Prefixes whose addresses are neighbours, besides fe80::/64.
    pub on_link: Vec<OnLinkPrefix>,
    /// Routes: the longest prefix first.
    pub routes: Vec<Route>,
    /// The Potential Router List, in order, each with its place there.
    pub routers: Vec<(UnicastV4, Slot)>,
    /// Which routers advertise which prefix of our addresses (RFC 8028).
    pub sources: Vec<Source>,
    /// The source of the ICMPv6 errors that we make: a global address if there is one.
    pub error_source: Option<Ipv6Addr>,
}

/// What the tunnel is to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes what is for itself.
    #[default]
    Host,
    /// Forwards.
    Router,
}

/// A route by a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it reaches.
    pub destination: Ipv6Net,
    /// The IPv4 address of the next hop; `None`: the destination is a neighbour.
    pub next_hop: Option<UnicastV4>,
    /// The router's place in the PRL; `None` for a route of the administrator.
    pub slot: Option<Slot>,
    /// RFC 4191.
    pub preference: Preference,
    /// Whether the router is not known to be unreachable.
    pub reachable: bool,
}

/// Who advertises the prefix of one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The prefix.
    pub prefix: OnLinkPrefix,
    /// A bit for each slot of the PRL.
    pub advertisers: u64,
}
