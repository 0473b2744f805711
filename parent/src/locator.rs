//! Which of our IPv4 addresses is the locator (RFC 5214 section 3), by what the kernel's routing
//! says of each router.
//!
//! The kernel keeps one IPv4 route for all destinations of an ISATAP tunnel (net/ipv6/sit.c, since
//! Linux 5.3), so all routers in use must have the same next hop: the others are left out.

use std::net::Ipv4Addr;

use isatapd_proto::{RouterWish, UnicastV4};

use crate::kernel::{Path, PathKind};

/// What the tunnel is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Our end.
    pub locator: UnicastV4,
    /// The routers that are reached from there by the same next hop.
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

/// Chooses among `routers`, each with the kernel's path to it; the locator in use stays as long as
/// any router is reached from it. `Err` says why each is out of reach.
pub fn choose(
    routers: &[(RouterWish, Option<Path>)],
    in_use: Option<UnicastV4>,
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
                if *locator != source {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::IfIndex;

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
        let choice = choose(&routers, None).unwrap();
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
        let stays = choose(&routers, Some(Ipv4Addr::new(10, 0, 0, 3).try_into().unwrap())).unwrap();
        assert_eq!(stays.routers, [router(4, 103)]);
        let gone = choose(&routers, Some(Ipv4Addr::new(10, 0, 0, 9).try_into().unwrap())).unwrap();
        assert_eq!(gone, choice);
    }

    #[test]
    fn nothing_reachable_is_said_of_each() {
        let routers = [(router(0, 101), None), (router(1, 2), path(PathKind::Local, 2, None))];
        let why = choose(&routers, None).unwrap_err();
        assert_eq!(
            why.iter().map(|w| w.1).collect::<Vec<_>>(),
            [LeftOut::NoRoute, LeftOut::Ourselves]
        );
    }
}
