//! The kernel's ISATAP tunnel: a `sit` interface in ISATAP mode (net/ipv6/sit.c).

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use isatapd_proto::{Mtu, UnicastV4};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoData, InfoIpTunnel, InfoKind, LinkAttribute, LinkInfo};
use netlink_packet_route::{IpProtocol, RouteNetlinkMessage};
use nix::errno::Errno;

use super::link::{MARK, link_message, no_address};
use super::{IfIndex, InterfaceName, KernelError, Kind, Netlink, Refusal};

/// `IFLA_IPTUN_FLAGS` of linux/if_tunnel.h.
const IFLA_IPTUN_FLAGS: u16 = 8;
/// That the tunnel is in ISATAP mode: a plain u16 in the host's byte order.
const SIT_ISATAP: u16 = 1;

/// What the tunnel is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSpec {
    /// Its name.
    pub name: InterfaceName,
    /// Our end of it.
    pub local: UnicastV4,
    /// The only interface that it may use; `None`: whichever leads to the router.
    pub link: Option<IfIndex>,
    /// TTL of the outer packets; `None`: the inner hop limit.
    pub ttl: Option<NonZeroU8>,
    /// Whether the path MTU is searched for. With a `ttl` the kernel does so regardless.
    pub pmtudisc: bool,
    /// MTU; `None`: what the kernel makes of the link's.
    pub mtu: Option<Mtu>,
}

/// The parameters of a `sit` tunnel as the kernel tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sit {
    /// Whether it is in ISATAP mode.
    pub isatap: bool,
    /// Our end.
    pub local: Option<Ipv4Addr>,
    /// The other end; none in ISATAP mode.
    pub remote: Option<Ipv4Addr>,
    /// The only interface that it uses.
    pub link: Option<IfIndex>,
    /// TTL of the outer packets; `None`: the inner hop limit.
    pub ttl: Option<NonZeroU8>,
    /// Whether the path MTU is searched for.
    pub pmtudisc: bool,
    /// The protocol inside; 0 for any.
    pub protocol: u8,
}

impl Sit {
    /// The first parameter that is not what `spec` asks for.
    pub fn differs_from(&self, spec: &TunnelSpec) -> Option<&'static str> {
        let pairs = [
            (self.isatap, "isatap"),
            (self.local == Some(spec.local.get()), "local"),
            (self.remote.is_none(), "remote"),
            (self.link == spec.link, "link"),
            (self.ttl == spec.ttl, "ttl"),
            (self.pmtudisc == (spec.pmtudisc || spec.ttl.is_some()), "pmtudisc"),
            (self.protocol == u8::from(IpProtocol::Ipv6), "proto"),
        ];
        pairs.iter().find(|(same, _)| !same).map(|(_, name)| *name)
    }
}

impl Netlink {
    /// Whether this kernel has `sit`; loads the module if it can. Asks for a tunnel that no driver
    /// makes (protocol 255), so none comes of it.
    pub fn probe_sit(&mut self) -> Result<bool, KernelError> {
        let data = vec![InfoIpTunnel::Protocol(IpProtocol::Raw)];
        let message = link_message(None, vec![sit_info(data)]);
        match self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(Refusal { errno: Errno::EINVAL, .. }) => Ok(true),
            Err(Refusal { errno: Errno::EOPNOTSUPP, .. }) => Ok(false),
            Err(refusal) => Err(KernelError::new("sit", "look for the driver", refusal)),
            Ok(_) => Err(KernelError::new("sit", "look for the driver", Errno::EPROTO)),
        }
    }

    /// Makes the tunnel: down, marked as ours, and such that the kernel gives it no address.
    /// `EEXIST`: the name is taken, or another tunnel has the same local address and link.
    pub fn create_tunnel(&mut self, spec: &TunnelSpec) -> Result<IfIndex, KernelError> {
        let refused = |e| KernelError::new(&spec.name, "create the tunnel", e);
        let attributes =
            vec![LinkAttribute::IfName(spec.name.to_string()), sit_info(tunnel_data(spec))];
        let message = link_message(None, attributes);
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(refused)?;
        let marked = self.mark_tunnel(spec);
        if marked.is_err() {
            // Made a moment ago by nobody else, so ours, marked or not.
            let made = LinkAttribute::IfName(spec.name.to_string());
            let _ = self.request(RouteNetlinkMessage::DelLink(link_message(None, vec![made])), 0);
        }
        marked
    }

    /// Says what cannot be said in the message that creates the tunnel.
    fn mark_tunnel(&mut self, spec: &TunnelSpec) -> Result<IfIndex, KernelError> {
        let refused = |e| KernelError::new(&spec.name, "create the tunnel", e);
        let made = self.find_link(&spec.name)?.ok_or_else(|| refused(Errno::ENODEV.into()))?;
        let mut attributes = vec![LinkAttribute::IfAlias(MARK.to_owned()), no_address()];
        attributes.extend(spec.mtu.map(|mtu| LinkAttribute::Mtu(mtu.get().into())));
        self.set_link(link_message(Some(made.index), attributes))
            .and_then(|()| self.verify(made.index, spec))
            .map_err(refused)?;
        Ok(made.index)
    }

    /// Gives the tunnel other parameters in place: number, PRL, addresses and routes stay. It must
    /// be ours, which is checked by its mark first.
    pub fn change_tunnel(&mut self, index: IfIndex, spec: &TunnelSpec) -> Result<(), KernelError> {
        let refused = |e| KernelError::new(&spec.name, "change the tunnel", e);
        // What is left out would go back to its default.
        let mut attributes = vec![sit_info(tunnel_data(spec))];
        attributes.extend(spec.mtu.map(|mtu| LinkAttribute::Mtu(mtu.get().into())));
        let message = link_message(Some(index), attributes);
        self.own(index).map_err(refused)?;
        self.request(RouteNetlinkMessage::NewLink(message), 0).map_err(refused)?;
        self.verify(index, spec).map_err(refused)
    }

    /// Errors if the kernel made another tunnel of `spec`: attributes that it does not know or reads
    /// otherwise it ignores without a word.
    fn verify(&mut self, index: IfIndex, spec: &TunnelSpec) -> Result<(), Refusal> {
        let link = self.get_link(link_message(Some(index), Vec::new()))?;
        let wrong = match link.kind {
            Kind::Sit(sit) => sit.differs_from(spec),
            Kind::Tun | Kind::Other => Some("kind"),
        };
        let wrong_mtu = spec.mtu.is_some_and(|mtu| link.mtu != u32::from(mtu.get()));
        let wrong = wrong.or(wrong_mtu.then_some("mtu")).or((!link.ours).then_some("alias"));
        wrong.map_or(Ok(()), |what| {
            Err(Refusal::because(Errno::EPROTO, format!("the kernel has it with another {what}")))
        })
    }
}

fn sit_info(data: Vec<InfoIpTunnel>) -> LinkAttribute {
    let data = LinkInfo::Data(InfoData::IpTunnel(data));
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::SitTun), data])
}

fn tunnel_data(spec: &TunnelSpec) -> Vec<InfoIpTunnel> {
    vec![
        InfoIpTunnel::Local(IpAddr::V4(spec.local.get())),
        InfoIpTunnel::Link(spec.link.map_or(0, IfIndex::get)),
        InfoIpTunnel::Ttl(spec.ttl.map_or(0, NonZeroU8::get)),
        InfoIpTunnel::PMtuDisc(spec.pmtudisc),
        // With protocol 0 the tunnel would take IPv4 in IPv4 too, from any source.
        InfoIpTunnel::Protocol(IpProtocol::Ipv6),
        // The typed Ipv6SitFlags is written big-endian, which the kernel reads as another flag.
        InfoIpTunnel::Other(DefaultNla::new(IFLA_IPTUN_FLAGS, SIT_ISATAP.to_ne_bytes().to_vec())),
    ]
}

impl Sit {
    pub(super) fn parse(info: &[LinkInfo]) -> Self {
        let mut sit = Self::default();
        let data = info.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::IpTunnel(data)) => Some(data.as_slice()),
            _ => None,
        });
        let given = |address: IpAddr| match address {
            IpAddr::V4(v4) if !v4.is_unspecified() => Some(v4),
            _ => None,
        };
        for attribute in data.unwrap_or_default() {
            match *attribute {
                InfoIpTunnel::Local(address) => sit.local = given(address),
                InfoIpTunnel::Remote(address) => sit.remote = given(address),
                InfoIpTunnel::Link(index) => sit.link = IfIndex::new(index),
                InfoIpTunnel::Ttl(ttl) => sit.ttl = NonZeroU8::new(ttl),
                InfoIpTunnel::PMtuDisc(on) => sit.pmtudisc = on,
                InfoIpTunnel::Protocol(protocol) => sit.protocol = protocol.into(),
                // Read as big-endian, but it is in the host's order.
                InfoIpTunnel::Ipv6SitFlags(flags) => sit.isatap = flags.to_be() & SIT_ISATAP != 0,
                _ => {}
            }
        }
        sit
    }
}
