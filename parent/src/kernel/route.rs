//! IPv6 routes through the tunnel, and the IPv4 paths below it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use isatapd_proto::{Lifetime, Mtu, Preference};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RoutePreference,
    RouteProtocol, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::{IfIndex, KernelError, Netlink};

/// An IPv6 route of ours: in the main table, with protocol `ra`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface that it leads through.
    pub index: IfIndex,
    /// What it reaches.
    pub destination: Ipv6Net,
    /// By whom; `None`: it is on the link.
    pub gateway: Option<Ipv6Addr>,
    /// Lower is better. Routes of one destination need different ones: the kernel would merge them.
    pub metric: u32,
    /// RFC 4191.
    pub preference: Preference,
    /// Time left; not zero when set. The kernel removes the route then.
    pub lifetime: Lifetime,
    /// MTU towards there; `None`: the interface's.
    pub mtu: Option<Mtu>,
    /// Hop limit towards there; `None`: the interface's.
    pub hop_limit: Option<u8>,
}

/// Where an IPv4 packet would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Out of this interface.
    pub oif: IfIndex,
    /// To this neighbour; `None`: to the target itself.
    pub gateway: Option<IpAddr>,
    /// From this address of ours.
    pub source: Ipv4Addr,
    /// What the target is.
    pub kind: PathKind,
}

/// What the kernel says of a target that no packet reaches: no route, no such interface; an
/// unreachable, a prohibit, a blackhole route.
const NOWHERE: [Errno; 5] =
    [Errno::ENETUNREACH, Errno::ENODEV, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL];

/// What the target of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Another host.
    Unicast,
    /// This host.
    Local,
    /// A broadcast address, a multicast group, …
    Other,
}

impl Netlink {
    /// Adds the route, or replaces it if it is `held`. `EEXIST`: it is not, and there is one of the
    /// same destination and metric: the kernel would replace that one, whosever it is.
    pub fn set_route(&mut self, route: &Route, held: bool) -> Result<(), KernelError> {
        let how = if held { NLM_F_REPLACE } else { NLM_F_EXCL };
        let mut message = route_message(route);
        let preference = match route.preference {
            Preference::Low => RoutePreference::Low,
            Preference::Medium => RoutePreference::Medium,
            Preference::High => RoutePreference::High,
        };
        message.attributes.push(RouteAttribute::Preference(preference));
        let lifetime = route.lifetime;
        message
            .attributes
            .extend(lifetime.duration().map(|_| RouteAttribute::Expires(lifetime.secs())));
        let mtu = route.mtu.map(|mtu| RouteMetric::Mtu(mtu.get().into()));
        let hop_limit = route.hop_limit.map(|limit| RouteMetric::Hoplimit(limit.into()));
        let metrics: Vec<_> = mtu.into_iter().chain(hop_limit).collect();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        self.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | how)
            .map_err(|e| KernelError::new(route.destination, "set the route", e))?;
        Ok(())
    }

    /// Deletes the route; `Ok` if it, or the interface, is gone already.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), KernelError> {
        self.request(RouteNetlinkMessage::DelRoute(route_message(route)), 0)
            .map(drop)
            .or_else(|e| e.unless(&[Errno::ESRCH, Errno::ENODEV]))
            .map_err(|e| KernelError::new(route.destination, "delete the route", e))
    }

    /// The routes through the interface that are of our kind; none if it is gone.
    pub fn routes(&mut self, index: IfIndex) -> Result<Vec<Route>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet6;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Ra;
        message.attributes.push(RouteAttribute::Oif(index.get()));
        let answers = self
            .dump(&RouteNetlinkMessage::GetRoute(message))
            .or_else(|e| e.unless(&[Errno::ENODEV]).map(|()| Vec::new()))
            .map_err(|e| KernelError::new(index, "list the routes", e))?;
        let routes = answers.into_iter().filter_map(parse_route);
        Ok(routes.filter(|route| route.index == index).collect())
    }

    /// Where a packet to `target` would go, if nowhere else than out of `only` and from no other
    /// address than `from`; `None`: nowhere.
    pub fn path(
        &mut self,
        target: Ipv4Addr,
        only: Option<IfIndex>,
        from: Option<Ipv4Addr>,
    ) -> Result<Option<Path>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(target)));
        message.attributes.extend(only.map(|index| RouteAttribute::Oif(index.get())));
        if let Some(from) = from {
            message.header.source_prefix_length = 32;
            message.attributes.push(RouteAttribute::Source(RouteAddress::Inet(from)));
        }
        self.request(RouteNetlinkMessage::GetRoute(message), 0)
            .or_else(|e| e.unless(&NOWHERE).map(|()| Vec::new()))
            .map(|answers| answers.into_iter().find_map(|answer| parse_path(answer, from)))
            .map_err(|e| KernelError::new(target, "look up the route", e))
    }
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet6,
        destination_prefix_length: route.destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Ra,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let gateway = route.gateway.map(|g| RouteAttribute::Gateway(RouteAddress::Inet6(g)));
    message.attributes.extend(gateway);
    message.attributes.extend([
        RouteAttribute::Destination(RouteAddress::Inet6(route.destination.network())),
        RouteAttribute::Oif(route.index.get()),
        RouteAttribute::Priority(route.metric),
    ]);
    message
}

fn parse_route(answer: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let (mut index, mut destination, mut gateway) = (None, Ipv6Addr::UNSPECIFIED, None);
    let (mut metric, mut preference, mut lifetime) = (0, Preference::Medium, Lifetime::INFINITE);
    let (mut mtu, mut hop_limit) = (None, None);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = IfIndex::new(oif),
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => destination = to,
            RouteAttribute::Gateway(RouteAddress::Inet6(via)) => gateway = Some(via),
            RouteAttribute::Priority(priority) => metric = priority,
            RouteAttribute::Preference(RoutePreference::Low) => preference = Preference::Low,
            RouteAttribute::Preference(RoutePreference::High) => preference = Preference::High,
            // In hundredths of a second (USER_HZ), zero for never.
            RouteAttribute::CacheInfo(cache) if cache.expires != 0 => {
                lifetime = Lifetime::from_secs(cache.expires / 100);
            }
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Mtu(value) => mtu = mtu_of(value),
                        RouteMetric::Hoplimit(value) => hop_limit = u8::try_from(value).ok(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let ours = message.header.protocol == RouteProtocol::Ra
        && message.header.table == RouteHeader::RT_TABLE_MAIN;
    let destination = Ipv6Net::new(destination, message.header.destination_prefix_length).ok()?;
    let index = index.filter(|_| ours)?;
    Some(Route { index, destination, gateway, metric, preference, lifetime, mtu, hop_limit })
}

fn mtu_of(value: u32) -> Option<Mtu> {
    u16::try_from(value).ok().and_then(|mtu| mtu.try_into().ok())
}

/// The kernel tells no preferred source if it is the one that was asked for.
fn parse_path(answer: RouteNetlinkMessage, from: Option<Ipv4Addr>) -> Option<Path> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let (mut interface, mut gateway, mut source) = (None, None, from);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => interface = IfIndex::new(oif),
            RouteAttribute::Gateway(RouteAddress::Inet(via)) => gateway = Some(IpAddr::V4(via)),
            RouteAttribute::Via(RouteVia::Inet6(via)) => gateway = Some(IpAddr::V6(via)),
            RouteAttribute::PrefSource(RouteAddress::Inet(from)) => source = Some(from),
            _ => {}
        }
    }
    let kind = match message.header.kind {
        RouteType::Unicast => PathKind::Unicast,
        RouteType::Local => PathKind::Local,
        _ => PathKind::Other,
    };
    Some(Path { oif: interface?, gateway, source: source?, kind })
}
