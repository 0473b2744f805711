//! The one place where what the child says is judged.
//!
//! A request that passes becomes a value of another type, which can be made nowhere else; only such
//! values reach the code that speaks to the kernel. No I/O. What a child taken over by an attacker
//! can do is what this file lets through.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use ipnet::Ipv6Net;
use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{
    AddressWish, Backend, DnsId, Lifetime, Mtu, NextHop, OnLinkPrefix, Preference, Refusal,
    RouteDestination, RouteWish, RouterWish, ServerIndex, Slot, Transport, Tunnel, UnicastV4,
};

use crate::bucket::Bucket;

/// Metric of a route of high preference by the router in slot 0: worse than that of the kernel and
/// of others for native routes (1024), so that the tunnel is used where nothing else is.
pub const METRIC_BASE: u32 = 2048;
/// Metric of a route to a prefix on the link.
pub const METRIC_ON_LINK: u32 = METRIC_BASE - 1;
/// Metrics of one preference: one for each slot. Routes of equal metric would be merged into one
/// multipath route with the preference of the first.
const METRIC_STEP: u32 = 64;

/// What is added for a router that is lost: more than all preferences.
const METRIC_LOST: u32 = 3 * METRIC_STEP;

/// Metrics of one tunnel, with room to spare; those of the next rank begin after them.
const METRICS: u32 = 512;

/// What the judgement rests on: the parent's own knowledge, none of it the child's.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The PRL as last approved.
    pub routers: &'a [RouterWish],
    /// The tunnel, if there is one.
    pub tunnel: Option<Tunnel>,
}

/// A DNS socket to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsSocket {
    id: DnsId,
    server: SocketAddr,
    transport: Transport,
}

/// That the next packet by a router is to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficWatch(());

/// A PRL to use: neither a slot nor a router twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routers(Vec<RouterWish>);

/// Addresses to have: no prefix twice, lifetimes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(Vec<AddressWish>);

/// Routes to have, each by a router of the PRL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

/// One route to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    destination: RouteDestination,
    gateway: Option<Ipv6Addr>,
    metric: u32,
    preference: Preference,
    lifetime: Lifetime,
    mtu: Option<Mtu>,
    hop_limit: Option<u8>,
}

impl DnsSocket {
    /// Judges `OpenDns`; `bucket` bounds how many sockets the child is given.
    pub fn judge(
        (id, server, transport): (DnsId, ServerIndex, Transport),
        servers: &[SocketAddr],
        bucket: &mut Bucket,
        now: Instant,
    ) -> Result<Self, Refusal> {
        let server = servers.get(usize::from(server.get())).ok_or(Refusal::NoSuchServer)?;
        if !bucket.take(now) {
            return Err(Refusal::TooMany);
        }
        Ok(Self { id, server: *server, transport })
    }

    /// The child's name for it.
    pub const fn id(&self) -> DnsId {
        self.id
    }

    /// Where it leads.
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Datagram or stream.
    pub const fn transport(&self) -> Transport {
        self.transport
    }
}

impl TrafficWatch {
    /// Judges `WatchTraffic`. What passes by the child itself it sees anyway.
    pub fn judge(facts: Facts<'_>) -> Result<Self, Refusal> {
        let tunnel = facts.tunnel.ok_or(Refusal::NoTunnel)?;
        if tunnel.backend == Backend::Kernel { Ok(Self(())) } else { Err(Refusal::NoTunnel) }
    }
}

impl Routers {
    /// Judges `SetRouters`. The count and each address are right by their types.
    pub fn judge(wishes: &[RouterWish]) -> Result<Self, Refusal> {
        all_different(wishes.iter().map(|w| w.slot))?;
        all_different(wishes.iter().map(|w| w.router))?;
        Ok(Self(wishes.to_vec()))
    }

    /// The list.
    pub fn list(&self) -> &[RouterWish] {
        &self.0
    }
}

impl Addresses {
    /// Judges `SetAddresses`.
    pub fn judge(wishes: &[AddressWish], facts: Facts<'_>) -> Result<Self, Refusal> {
        let tunnel = facts.tunnel.ok_or(Refusal::NoTunnel)?;
        all_different(wishes.iter().map(|w| w.prefix))?;
        for wish in wishes {
            if wish.valid.is_zero() || wish.preferred > wish.valid {
                return Err(Refusal::BadLifetime);
            }
            refuse_loop(wish.prefix.net(), tunnel.locator)?;
        }
        Ok(Self(wishes.to_vec()))
    }

    /// The list: prefixes, of which the parent forms the addresses.
    pub fn list(&self) -> &[AddressWish] {
        &self.0
    }

    /// The address of `prefix` at `locator`: the child has no say in it.
    pub fn formed(prefix: OnLinkPrefix, locator: UnicastV4) -> Ipv6Addr {
        isatap::address(prefix.into(), locator, UBit::of(locator.get()))
    }
}

impl Routes {
    /// Judges `SetRoutes`.
    pub fn judge(wishes: &[RouteWish], facts: Facts<'_>) -> Result<Self, Refusal> {
        let tunnel = facts.tunnel.ok_or(Refusal::NoTunnel)?;
        all_different(wishes.iter().map(|w| (w.destination, w.next_hop.map(|hop| hop.slot))))?;
        let judged = wishes.iter().map(|wish| Route::judge(wish, tunnel, facts.routers));
        Ok(Self(judged.collect::<Result<_, _>>()?))
    }

    /// The list.
    pub fn list(&self) -> &[Route] {
        &self.0
    }
}

impl Route {
    fn judge(wish: &RouteWish, tunnel: Tunnel, routers: &[RouterWish]) -> Result<Self, Refusal> {
        let (gateway, metric) = match wish.next_hop {
            Some(NextHop { slot, form }) => {
                let router =
                    routers.iter().find(|r| r.slot == slot).ok_or(Refusal::NoSuchRouter)?;
                let gateway = isatap::link_local(router.router, form);
                (Some(gateway), metric(wish, slot))
            }
            None if wish.destination.net().prefix_len() == 64 && tunnel.backend == Backend::Tun => {
                (None, METRIC_ON_LINK)
            }
            None => return Err(Refusal::NotOnLink),
        };
        if wish.lifetime.is_zero() {
            return Err(Refusal::BadLifetime);
        }
        if wish.hop_limit == Some(0) {
            return Err(Refusal::BadHopLimit);
        }
        if wish.mtu.is_some_and(|mtu| mtu > tunnel.mtu) {
            return Err(Refusal::BadMtu);
        }
        refuse_loop(wish.destination.net(), tunnel.locator)?;
        Ok(Self {
            destination: wish.destination,
            gateway,
            metric,
            preference: wish.preference,
            lifetime: wish.lifetime,
            mtu: wish.mtu,
            hop_limit: wish.hop_limit,
        })
    }

    /// What it reaches.
    pub const fn destination(&self) -> RouteDestination {
        self.destination
    }

    /// The link-local address of its router; `None`: the destination is on the link.
    pub const fn gateway(&self) -> Option<Ipv6Addr> {
        self.gateway
    }

    /// Its metric on a tunnel of this rank: no other route to the same destination has it.
    pub fn metric(&self, rank: Rank) -> u32 {
        self.metric.saturating_add(rank.offset())
    }

    /// RFC 4191.
    pub const fn preference(&self) -> Preference {
        self.preference
    }

    /// Time left.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// At most that of the tunnel.
    pub const fn mtu(&self) -> Option<Mtu> {
        self.mtu
    }

    /// Not zero.
    pub const fn hop_limit(&self) -> Option<u8> {
        self.hop_limit
    }
}

/// The metric of a route: a router that is there before one that is lost, then the better preference,
/// and no two are equal.
fn metric(wish: &RouteWish, slot: Slot) -> u32 {
    let step = match wish.preference {
        Preference::High => 0,
        Preference::Medium => METRIC_STEP,
        Preference::Low => METRIC_STEP + METRIC_STEP,
    };
    let lost = if wish.reachable { 0 } else { METRIC_LOST };
    METRIC_BASE.saturating_add(lost).saturating_add(step).saturating_add(slot.get().into())
}

/// Which metrics a tunnel's routes have: the kernel refuses a second route of the same destination and
/// metric, also by another interface, so tunnels side by side need different ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rank(u8);

impl Rank {
    /// The worst.
    const LAST: u8 = 7;

    /// That of a route with this metric.
    pub fn of(metric: u32) -> Option<Self> {
        let above = metric.checked_sub(METRIC_ON_LINK)?;
        u8::try_from(above / METRICS).ok().filter(|rank| *rank <= Self::LAST).map(Self)
    }

    /// The next one, if there is one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).filter(|rank| *rank <= Self::LAST).map(Self)
    }

    /// What it adds to a metric.
    pub fn offset(self) -> u32 {
        METRICS.saturating_mul(self.0.into())
    }
}

fn refuse_loop(net: Ipv6Net, locator: UnicastV4) -> Result<(), Refusal> {
    if isatap::own_6to4(locator).contains(&net) { Err(Refusal::Loop) } else { Ok(()) }
}

fn all_different<T: Ord>(items: impl Iterator<Item = T>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item) {
            return Err(Refusal::Duplicate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
