//! Which of our IPv4 addresses is the locator (RFC 5214 section 3), by what the kernel's routing
//! says of each router.
//!
//! The kernel keeps one IPv4 route for all destinations of its ISATAP tunnel (net/ipv6/sit.c, since
//! Linux 5.3), so there all routers in use must have the same next hop: the others are left out.

use std::net::Ipv4Addr;

use isatapd_proto::{Backend, RouterWish, UnicastV4};

use crate::kernel::{IfIndex, OwnAddress, Path, PathKind};

/// What the tunnel is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Our end.
    pub locator: UnicastV4,
    /// The routers that are reached from there; with the kernel's tunnel, by the same next hop.
    pub routers: Vec<RouterWish>,
    /// The others.
    pub left_out: Vec<(UnicastV4, LeftOut)>,
}

/// Why a router is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// The kernel has no way there.
    #[error("no route to it")]
    NoRoute,
    /// It is one of our own addresses.
    #[error("it is this host itself")]
    Ourselves,
    /// A broadcast address, or one that is routed nowhere.
    #[error("no host has this address")]
    NotUnicast,
    /// It is reached from another of our addresses than the routers before it.
    #[error("it is reached from {0}, the routers before it from another address")]
    OtherLocator(Ipv4Addr),
    /// It is reached by another next hop than the routers before it.
    #[error("it is reached by another IPv4 next hop than the routers before it")]
    OtherNextHop,
}

impl Choice {
    /// Whether all routers that can be reached are reached from the locator by the same next hop.
    pub fn has_one_next_hop(&self) -> bool {
        !self
            .left_out
            .iter()
            .any(|(_, why)| matches!(why, LeftOut::OtherNextHop | LeftOut::OtherLocator(_)))
    }
}

/// Chooses among `routers`, each with the kernel's path to it; the locator in use stays as long as
/// any router is reached from it. `Err` says why each is out of reach.
pub fn choose(
    routers: &[(RouterWish, Option<Path>)],
    in_use: Option<UnicastV4>,
    backend: Backend,
) -> Result<Choice, Vec<(UnicastV4, LeftOut)>> {
    let usable: Vec<_> = routers.iter().map(|(wish, path)| (*wish, usable(*path))).collect();
    let paths = || usable.iter().filter_map(|(_, path)| path.ok());
    let chosen = paths().find(|(_, locator)| Some(*locator) == in_use).or_else(|| paths().next());
    let mut left_out = Vec::new();
    let mut members = Vec::new();
    for (wish, path) in &usable {
        match (path, chosen) {
            (Err(why), _) => left_out.push((wish.router, *why)),
            (Ok((path, locator)), Some((best, source))) => {
                if backend == Backend::Tun {
                    // From our locator, whichever address the kernel would prefer.
                    members.push(*wish);
                } else if *locator != source {
                    left_out.push((wish.router, LeftOut::OtherLocator(locator.get())));
                } else if (path.oif, path.gateway) == (best.oif, best.gateway) {
                    members.push(*wish);
                } else {
                    left_out.push((wish.router, LeftOut::OtherNextHop));
                }
            }
            (Ok(_), None) => {}
        }
    }
    match chosen {
        Some((_, locator)) => Ok(Choice { locator, routers: members, left_out }),
        None => Err(left_out),
    }
}

fn usable(path: Option<Path>) -> Result<(Path, UnicastV4), LeftOut> {
    let path = path.ok_or(LeftOut::NoRoute)?;
    match path.kind {
        PathKind::Unicast => {}
        PathKind::Local => return Err(LeftOut::Ourselves),
        PathKind::Other => return Err(LeftOut::NotUnicast),
    }
    let locator = UnicastV4::try_from(path.source).map_err(|_| LeftOut::NoRoute)?;
    Ok((path, locator))
}

/// A router's locator, which no other router decides: the `wanted` one if it is an address of this
/// host, and of `link` if that is given; else the first address of the link; else `towards_default`,
/// the source of what goes to the IPv4 default route; else the first global address. `None`: none.
pub fn own_locator(
    wanted: Option<UnicastV4>,
    addresses: &[OwnAddress],
    link: Option<IfIndex>,
    towards_default: Option<Ipv4Addr>,
) -> Option<UnicastV4> {
    let candidates = addresses.iter().filter(|own| link.is_none_or(|link| own.index == link));
    let mut candidates = candidates.filter_map(|own| {
        UnicastV4::try_from(own.address).ok().map(|address| (address, own.global))
    });
    if wanted.is_some() {
        return candidates.map(|(address, _)| address).find(|address| Some(*address) == wanted);
    }
    if link.is_some() {
        return candidates.next().map(|(address, _)| address);
    }
    let towards_default = towards_default.and_then(|address| UnicastV4::try_from(address).ok());
    towards_default.or_else(|| candidates.find(|(_, global)| *global).map(|(address, _)| address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(slot: u8, last: u8) -> RouterWish {
        let router = Ipv4Addr::new(10, 0, 0, last).try_into().unwrap();
        RouterWish { slot: slot.try_into().unwrap(), router }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the kernel answers")]
    fn path(kind: PathKind, source: u8, gateway: Option<u8>) -> Option<Path> {
        let address = |last| Ipv4Addr::new(10, 0, 0, last);
        let gateway = gateway.map(|last| address(last).into());
        let oif = IfIndex::new(2).unwrap();
        Some(Path { kind, oif, gateway, source: address(source) })
    }

    #[test]
    fn the_first_router_decides_unless_another_locator_is_in_use() {
        let direct = path(PathKind::Unicast, 2, None);
        let routers = [
            (router(0, 101), None),
            (router(1, 102), direct),
            (router(2, 2), path(PathKind::Local, 2, None)),
            (router(3, 255), path(PathKind::Other, 2, None)),
            (router(4, 103), path(PathKind::Unicast, 3, None)),
            (router(5, 104), path(PathKind::Unicast, 2, Some(1))),
            (router(6, 105), direct),
        ];
        let choice = choose(&routers, None, Backend::Kernel).unwrap();
        assert!(!choice.has_one_next_hop());
        assert_eq!(choice.locator.get(), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(choice.routers, [router(1, 102), router(6, 105)]);
        let why: Vec<_> = choice.left_out.iter().map(|(_, why)| *why).collect();
        assert_eq!(
            why,
            [
                LeftOut::NoRoute,
                LeftOut::Ourselves,
                LeftOut::NotUnicast,
                LeftOut::OtherLocator(Ipv4Addr::new(10, 0, 0, 3)),
                LeftOut::OtherNextHop
            ]
        );
        let choose = |in_use: Option<u8>, backend| {
            let in_use = in_use.map(|last| Ipv4Addr::new(10, 0, 0, last).try_into().unwrap());
            choose(&routers, in_use, backend).unwrap()
        };
        let stays = choose(Some(3), Backend::Kernel);
        assert_eq!(stays.routers, [router(4, 103)]);
        assert_eq!(choose(Some(9), Backend::Kernel), choice);
        // The child's own data path takes them all.
        let tun = choose(None, Backend::Tun);
        assert_eq!(tun.routers, [router(1, 102), router(4, 103), router(5, 104), router(6, 105)]);
        assert!(!choice.has_one_next_hop() && tun.left_out.len() == 3);
    }

    #[test]
    fn nothing_reachable_is_said_of_each() {
        let routers = [(router(0, 101), None), (router(1, 2), path(PathKind::Local, 2, None))];
        let why = choose(&routers, None, Backend::Tun).unwrap_err();
        assert_eq!(
            why.iter().map(|w| w.1).collect::<Vec<_>>(),
            [LeftOut::NoRoute, LeftOut::Ourselves]
        );
    }

    #[test]
    fn a_router_is_where_it_was_told_to_be() {
        let own = |index, address: [u8; 4], global| OwnAddress {
            index: IfIndex::new(index).unwrap(),
            address: address.into(),
            broadcast: None,
            global,
        };
        let host = [
            own(1, [127, 0, 0, 1], false),
            own(2, [169, 254, 0, 2], false),
            own(2, [10, 0, 0, 2], true),
            own(3, [10, 1, 0, 2], true),
        ];
        let [first, second, link_local] =
            [[10, 0, 0, 2], [10, 1, 0, 2], [169, 254, 0, 2]].map(Ipv4Addr::from);
        for (wanted, link, default, expected) in [
            (None, None, None, Some(first)),
            (None, None, Some(second), Some(second)),
            (None, None, Some(Ipv4Addr::LOCALHOST), Some(first)),
            (None, Some(3), Some(first), Some(second)),
            (None, Some(2), None, Some(link_local)),
            (None, Some(1), None, None),
            (Some(second), None, Some(first), Some(second)),
            (Some(second), Some(2), None, None),
            (Some(Ipv4Addr::new(10, 0, 0, 9)), None, Some(first), None),
        ] {
            let case = (wanted, link, default);
            let wanted = wanted.map(|address| address.try_into().unwrap());
            let chosen = own_locator(wanted, &host, link.and_then(IfIndex::new), default);
            assert_eq!(chosen.map(UnicastV4::get), expected, "{case:?}");
        }
        assert_eq!(own_locator(None, &[], None, None), None);
    }
}
