//! Interfaces.

use netlink_packet_core::Nla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use super::{IfIndex, InterfaceName, KernelError, Netlink, Refusal, Sit};

/// Of linux/if_link.h: the user and the group that may attach to a TUN interface.
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_GROUP: u16 = 2;

/// The alias of an interface that we made (`IFLA_IFALIAS`). It lives and dies with the interface.
pub(super) const MARK: &str = "isatapd";

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: IfIndex,
    /// Its name; `None` if it is one that we never use.
    pub name: Option<InterfaceName>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its MTU in octets.
    pub mtu: u32,
    /// Whether we made it, in this or an earlier run.
    pub ours: bool,
    /// What it is.
    pub kind: Kind,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `sit` tunnel.
    Sit(Sit),
    /// A TUN or TAP interface that no user but root may attach to.
    Tun,
    /// Anything else.
    Other,
}

impl Netlink {
    /// Sets an interface up.
    pub fn set_up(&mut self, index: IfIndex) -> Result<(), KernelError> {
        self.set_flags(index, LinkFlags::Up).map_err(|e| KernelError::new(index, "set up", e))
    }

    /// Sets our tunnel down.
    pub fn set_down(&mut self, index: IfIndex) -> Result<(), KernelError> {
        self.own(index)
            .and_then(|()| self.set_flags(index, LinkFlags::empty()))
            .map_err(|e| KernelError::new(index, "set down", e))
    }

    fn set_flags(&mut self, index: IfIndex, up: LinkFlags) -> Result<(), Refusal> {
        let mut message = link_message(Some(index), Vec::new());
        message.header.flags = up;
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message)
    }

    /// Deletes our tunnel, addresses and routes with it. `Ok` if it is gone already; never another's.
    pub fn delete_link(&mut self, index: IfIndex) -> Result<(), KernelError> {
        let message = RouteNetlinkMessage::DelLink(link_message(Some(index), Vec::new()));
        self.own(index)
            .and_then(|()| self.request(message, 0).map(drop))
            .or_else(|e| e.unless(&[Errno::ENODEV]))
            .map_err(|e| KernelError::new(index, "delete", e))
    }

    /// The interface of this name.
    pub fn find_link(&mut self, name: &InterfaceName) -> Result<Option<Link>, KernelError> {
        let attributes = vec![LinkAttribute::IfName(name.to_string())];
        match self.get_link(link_message(None, attributes)) {
            Ok(link) => Ok(Some(link)),
            Err(Refusal { errno: Errno::ENODEV, .. }) => Ok(None),
            Err(refusal) => Err(KernelError::new(name, "look up", refusal)),
        }
    }

    /// The interface of this number.
    pub fn link(&mut self, index: IfIndex) -> Result<Option<Link>, KernelError> {
        match self.get_link(link_message(Some(index), Vec::new())) {
            Ok(link) => Ok(Some(link)),
            Err(Refusal { errno: Errno::ENODEV, .. }) => Ok(None),
            Err(refusal) => Err(KernelError::new(index, "look up", refusal)),
        }
    }

    pub(super) fn get_link(&mut self, message: LinkMessage) -> Result<Link, Refusal> {
        let answers = self.request(RouteNetlinkMessage::GetLink(message), 0)?;
        Ok(answers.into_iter().find_map(Link::from_answer).ok_or(Errno::EPROTO)?)
    }

    pub(super) fn set_link(&mut self, message: LinkMessage) -> Result<(), Refusal> {
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }

    /// Refuses an interface that is not a tunnel of ours.
    pub(super) fn own(&mut self, index: IfIndex) -> Result<(), Refusal> {
        let link = self.get_link(link_message(Some(index), Vec::new()))?;
        if link.is_our_tunnel() {
            Ok(())
        } else {
            Err(Refusal::because(Errno::EPERM, "it is not ours"))
        }
    }
}

fn has_owner(info: &[LinkInfo]) -> bool {
    let Some(data) = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Tun(data)) => Some(data),
        _ => None,
    }) else {
        return false;
    };
    data.iter().any(|nla| [IFLA_TUN_OWNER, IFLA_TUN_GROUP].contains(&nla.kind()))
}

/// That the kernel gives an interface no address of its own.
pub(super) fn no_address() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

pub(super) fn link_message(
    index: Option<IfIndex>,
    mut attributes: Vec<LinkAttribute>,
) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index.map_or(0, IfIndex::get);
    message.attributes.append(&mut attributes);
    message
}

impl Link {
    /// Whether it is a tunnel that we made.
    pub fn is_our_tunnel(&self) -> bool {
        self.ours && matches!(self.kind, Kind::Sit(_) | Kind::Tun)
    }

    fn from_answer(answer: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = answer else { return None };
        let mut link = Self {
            index: IfIndex::new(message.header.index)?,
            name: None,
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            ours: false,
            kind: Kind::Other,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name.parse().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::IfAlias(alias) => link.ours = alias == MARK,
                LinkAttribute::LinkInfo(info)
                    if info.contains(&LinkInfo::Kind(InfoKind::SitTun)) =>
                {
                    link.kind = Kind::Sit(Sit::parse(&info));
                }
                LinkAttribute::LinkInfo(info) if info.contains(&LinkInfo::Kind(InfoKind::Tun)) => {
                    // One that a user may attach to is not of our making, whatever its alias.
                    link.kind = if has_owner(&info) { Kind::Other } else { Kind::Tun };
                }
                _ => {}
            }
        }
        Some(link)
    }
}
