//! What we made in the kernel, and how it is brought to what is wanted: first all that is new, then
//! what is no longer wanted goes.

mod adopt;
mod inherited;
mod restore;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Instant;

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{DataPath, Lifetime, Mtu, RouterWish};
use log::{info, warn};
use nix::errno::Errno;

use crate::device::{Device, data_path};
use crate::kernel::{
    Address, AnyRoute, IfIndex, InterfaceName, KernelError, Netlink, Origin, Prl, Route,
    TunnelSpec, hold_still,
};
use crate::policy::{self, Addresses, METRIC_BASE, Rank, Routers, Routes};

use inherited::Inherited;
pub use restore::Found;

/// As the kernel tells routes apart: destination and metric.
type Key = (ipnet::Ipv6Net, u32);

/// The tunnel, and all of ours on it.
pub struct Tunnel {
    index: IfIndex,
    /// What it is called at present: others may rename it.
    name: InterfaceName,
    spec: TunnelSpec,
    device: Device,
    mtu: Mtu,
    /// The kernel's PRL; of a TUN interface, those that routes may lead to.
    routers: Vec<Ipv4Addr>,
    /// Valid for no time: it may be there or not.
    addresses: BTreeMap<Ipv6Addr, Address>,
    /// When the lifetimes of all of them were told.
    addresses_at: Instant,
    routes: BTreeMap<Key, Route>,
    routes_at: Instant,
    /// Which metrics they have.
    rank: Rank,
    inherited: Inherited,
}

impl Tunnel {
    /// Makes a `sit` tunnel. It comes up only when the kernel can no longer configure it by itself.
    pub fn create_sit(netlink: &mut Netlink, spec: TunnelSpec) -> Result<Self, KernelError> {
        let index = netlink.create_tunnel(&spec)?;
        let begun = Self::begun(netlink, index, spec);
        if begun.is_err() {
            // Nothing is left of what did not come to be.
            drop(netlink.delete_link(index));
        }
        begun
    }

    /// Makes a TUN interface in the same way. Its MTU is that of `spec`.
    pub fn create_tun(netlink: &mut Netlink, spec: TunnelSpec) -> Result<Self, KernelError> {
        let name = spec.name.clone();
        let mut tunnel = Self::tun_under(netlink, &name, spec)?;
        tunnel.start(netlink)?;
        Ok(tunnel)
    }

    /// A TUN interface that is still down.
    fn tun_under(
        netlink: &mut Netlink,
        name: &InterfaceName,
        spec: TunnelSpec,
    ) -> Result<Self, KernelError> {
        let mtu = spec.mtu.unwrap_or(Mtu::MIN);
        // It goes with its descriptor if what follows fails.
        let (index, queue) = netlink.create_tun(name, mtu)?;
        if !hold_still_if_possible(name)? {
            warn!(
                "{name}: /proc/sys is read-only, so accept_ra stays as it is: the kernel itself would \
                 act on an advertisement that a child let through"
            );
        }
        Ok(Self { name: name.clone(), device: Device::Tun(queue), mtu, ..Self::bare(index, spec) })
    }

    /// A TUN interface takes the place of this tunnel: addresses and routes are the same, and there
    /// is never a time without the addresses. After an error it is a TUN interface, or as it was.
    /// `Emptied`: not all routes could be kept.
    pub fn move_to_tun(
        &mut self,
        netlink: &mut Netlink,
        spec: TunnelSpec,
    ) -> Result<Found, KernelError> {
        let same_locator = self.spec.local == spec.local;
        let mut tun = Self::tun_under(netlink, &temporary(&self.name)?, spec)?;
        for address in self.addresses.values().filter(|a| same_locator && !a.valid.is_zero()) {
            netlink.set_address(tun.index, address)?;
            tun.addresses.insert(address.address, *address);
        }
        netlink.delete_link(self.index)?;
        let before = std::mem::replace(self, tun);
        (self.routers, self.inherited, self.rank) = (before.routers, before.inherited, before.rank);
        netlink.rename(self.index, &before.name)?;
        self.name = before.name;
        self.start(netlink)?;
        let mut found = Found::Whole;
        for route in before.routes.values().filter(|r| same_locator && !r.lifetime.is_zero()) {
            let route = Route { index: self.index, ..*route };
            match netlink.set_route(&route, false) {
                Ok(()) => drop(self.routes.insert(key(&route), route)),
                Err(error) => {
                    warn!("{error}");
                    found = Found::Emptied;
                }
            }
        }
        Ok(found)
    }

    fn begun(netlink: &mut Netlink, index: IfIndex, spec: TunnelSpec) -> Result<Self, KernelError> {
        hold_still(&spec.name)?;
        let mut tunnel = Self::bare(index, spec);
        tunnel.start(netlink)?;
        Ok(tunnel)
    }

    fn bare(index: IfIndex, spec: TunnelSpec) -> Self {
        let now = Instant::now();
        Self {
            index,
            name: spec.name.clone(),
            spec,
            device: Device::Sit,
            mtu: Mtu::MIN,
            routers: Vec::new(),
            addresses: BTreeMap::new(),
            addresses_at: now,
            routes: BTreeMap::new(),
            routes_at: now,
            rank: Rank::default(),
            inherited: Inherited::default(),
        }
    }

    fn start(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        self.set_link_local(netlink)?;
        netlink.set_up(self.index)?;
        self.read_mtu(netlink)
    }

    /// Its number.
    pub const fn index(&self) -> IfIndex {
        self.index
    }

    /// What it is called at present.
    pub const fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// What it is.
    pub const fn spec(&self) -> &TunnelSpec {
        &self.spec
    }

    /// How others see it.
    pub const fn state(&self) -> isatapd_proto::Tunnel {
        let backend = self.device.backend();
        isatapd_proto::Tunnel { locator: self.spec.local, mtu: self.mtu, backend }
    }

    /// Whether the child encapsulates.
    pub const fn is_tun(&self) -> bool {
        matches!(self.device, Device::Tun(_))
    }

    /// Of a TUN interface: how the child is to send, and the queue for it.
    pub fn data_path(&self) -> Option<io::Result<(DataPath, OwnedFd)>> {
        let Device::Tun(queue) = &self.device else { return None };
        Some(queue.try_clone().map(|queue| (data_path(&self.spec), queue)))
    }

    /// Gives it another locator, link or MTU, in place: routes and PRL stay, addresses of the old
    /// locator go.
    pub fn change(&mut self, netlink: &mut Netlink, spec: TunnelSpec) -> Result<(), KernelError> {
        match (&self.device, spec.mtu) {
            (Device::Sit, _) => netlink.change_tunnel(self.index, &spec)?,
            (Device::Tun(_), Some(mtu)) => netlink.set_mtu(self.index, mtu)?,
            (Device::Tun(_), None) => {}
        }
        let before = std::mem::replace(&mut self.spec, spec);
        let changed = self
            .set_link_local(netlink)
            .and_then(|()| self.keep_addresses_of_locator(netlink))
            .and_then(|()| self.read_mtu(netlink));
        if changed.is_err() {
            // So that all of it is done again.
            self.spec = before;
        }
        changed
    }

    /// The PRL in the kernel: new routers first. Routes by a router that goes, go before it.
    pub fn set_routers(
        &mut self,
        netlink: &mut Netlink,
        prl: &Prl,
        wanted: &[RouterWish],
    ) -> Result<(), KernelError> {
        let mut wanted: Vec<Ipv4Addr> = wanted.iter().map(|wish| wish.router.get()).collect();
        self.inherited.begin();
        wanted.extend(self.inherited_routers().filter(|router| self.routers.contains(router)));
        wanted.sort_unstable();
        wanted.dedup();
        let in_kernel = matches!(self.device, Device::Sit);
        if in_kernel && let Some(link) = netlink.link(self.index)? {
            self.follow_name(&link)?;
        }
        for router in &wanted {
            if !self.routers.contains(router) {
                if in_kernel {
                    prl.add(&self.name, *router)?;
                }
                self.routers.push(*router);
            }
        }
        self.keep_routes(netlink, |route| is_by(&wanted, route.gateway))?;
        for router in self.routers.iter().filter(|r| in_kernel && !wanted.contains(r)) {
            prl.delete(&self.name, *router)?;
        }
        self.routers = wanted;
        Ok(())
    }

    /// All addresses but the link-local one. After an error with one of them the others are set.
    pub fn set_addresses(
        &mut self,
        netlink: &mut Netlink,
        wanted: &Addresses,
    ) -> Result<(), KernelError> {
        let wanted = wanted.list().iter().map(|wish| Address {
            address: Addresses::formed(wish.prefix, self.spec.local),
            prefix_len: if wish.on_link { 64 } else { 128 },
            valid: wish.valid,
            preferred: wish.preferred,
            origin: Origin::Advertised,
        });
        let wanted: BTreeMap<_, _> = wanted.map(|a| (a.address, a)).collect();
        self.addresses_at = Instant::now();
        let set = first_error(wanted.values().map(|address| {
            let set = netlink.set_address(self.index, address);
            // Ours even if that fails: the old one may be there still.
            let valid = if set.is_ok() { address.valid } else { Lifetime::ZERO };
            self.addresses.insert(address.address, Address { valid, ..*address });
            set
        }));
        // Also after an error: or what is there would grow with every list that fails.
        self.inherited.claim_addresses(wanted.keys());
        let inherited = std::mem::take(&mut self.inherited);
        let kept = self.keep_addresses(netlink, |a| {
            a.origin == Origin::LinkLocal
                || wanted.contains_key(&a.address)
                || inherited.has_address(&a.address)
        });
        self.inherited = inherited;
        kept?;
        set
    }

    /// All routes, but for those by a router that is not in the PRL: the kernel would take them.
    /// After an error with one of them the others are set. Their metrics are the first, from those in
    /// use on, of which none is somebody else's.
    pub fn set_routes(
        &mut self,
        netlink: &mut Netlink,
        wanted: &Routes,
    ) -> Result<(), KernelError> {
        self.routes_at = Instant::now();
        let before = self.rank;
        let mut set = self.add_routes(netlink, wanted);
        while is_taken(&set)
            && let Some(next) = self.rank.next()
        {
            self.rank = next;
            set = self.add_routes(netlink, wanted);
        }
        if is_taken(&set) {
            self.rank = before;
            set = self.add_routes(netlink, wanted);
        } else if self.rank != before {
            let (name, more) = (&self.name, self.rank.offset());
            info!("{name}: its metrics are {more} more, as others have routes with the first");
        }
        // Also after an error, as with addresses.
        let wanted = self.kernel_routes(wanted);
        self.inherited.claim_routes(wanted.keys());
        let inherited = std::mem::take(&mut self.inherited);
        let kept = self.keep_routes(netlink, |route| {
            wanted.contains_key(&key(route)) || inherited.has_route(&key(route))
        });
        self.inherited = inherited;
        kept?;
        set
    }

    fn add_routes(&mut self, netlink: &mut Netlink, wanted: &Routes) -> Result<(), KernelError> {
        let set = self.kernel_routes(wanted).into_iter().map(|(key, route)| {
            let held = self.routes.contains_key(&key);
            match netlink.set_route(&route, held) {
                // Somebody else's.
                Err(error) if error.errno == Errno::EEXIST => Err(error),
                // Ours even if that fails: the answer may have been lost.
                result => {
                    let lifetime = if result.is_ok() { route.lifetime } else { Lifetime::ZERO };
                    self.routes.insert(key, Route { lifetime, ..route });
                    result
                }
            }
        });
        let mut set: Vec<_> = set.collect();
        // That one is taken tells of all: other metrics are tried.
        match set.iter().position(is_taken) {
            Some(at) => set.swap_remove(at),
            None => first_error(set.into_iter()),
        }
    }

    fn kernel_routes(&self, wanted: &Routes) -> BTreeMap<Key, Route> {
        let usable = |route: &&policy::Route| is_by(&self.routers, route.gateway());
        let routes = wanted.list().iter().filter(usable).map(|route| Route {
            index: self.index,
            destination: route.destination().net(),
            gateway: route.gateway(),
            metric: route.metric(self.rank),
            preference: route.preference(),
            lifetime: route.lifetime(),
            mtu: route.mtu(),
            hop_limit: route.hop_limit(),
        });
        routes.map(|route| (key(&route), route)).collect()
    }

    /// Removes routes by routers that are not in `routers`.
    pub fn drop_routes_but_by(
        &mut self,
        netlink: &mut Netlink,
        routers: &Routers,
    ) -> Result<(), KernelError> {
        let mut routers: Vec<_> = routers.list().iter().map(|wish| wish.router.get()).collect();
        self.inherited.begin();
        routers.extend(self.inherited_routers());
        self.keep_routes(netlink, |route| is_by(&routers, route.gateway))
    }

    /// The least metric of its routes by routers.
    pub fn least_metric(&self) -> u32 {
        METRIC_BASE.saturating_add(self.rank.offset())
    }

    /// Addresses on it that are not ours.
    pub fn foreign_addresses(&self, netlink: &mut Netlink) -> Result<Vec<Ipv6Addr>, KernelError> {
        let all = netlink.addresses(self.index)?.into_iter().map(|address| address.address);
        Ok(all.filter(|address| !self.addresses.contains_key(address)).collect())
    }

    /// Routes through it that are not ours, nor come with our link-local address.
    pub fn foreign_routes(&self, netlink: &mut Netlink) -> Result<Vec<AnyRoute>, KernelError> {
        let ours = |route: &AnyRoute| self.routes.contains_key(&(route.destination, route.metric));
        let is_other = |route: &AnyRoute| !route.destination.addr().is_unicast_link_local();
        let all = netlink.all_routes(self.index)?.into_iter();
        Ok(all.filter(|route| is_other(route) && !ours(route)).collect())
    }

    fn keep_routes(
        &mut self,
        netlink: &mut Netlink,
        keep: impl Fn(&Route) -> bool,
    ) -> Result<(), KernelError> {
        for route in self.routes.values().filter(|r| !keep(r)) {
            netlink.delete_route(route)?;
        }
        self.routes.retain(|_, r| keep(r));
        Ok(())
    }

    fn set_link_local(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let locator = self.spec.local;
        let own = Address {
            address: isatap::link_local(locator, UBit::of(locator.get())),
            prefix_len: 64,
            valid: Lifetime::INFINITE,
            preferred: Lifetime::INFINITE,
            origin: Origin::LinkLocal,
        };
        netlink.set_address(self.index, &own)?;
        self.addresses.insert(own.address, own);
        Ok(())
    }

    /// Addresses that embed another locator have no meaning any more (RFC 5214 section 6.2).
    fn keep_addresses_of_locator(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let own = self.spec.local.get();
        self.keep_addresses(netlink, |a| isatap::embedded(a.address) == Some((own, UBit::of(own))))
    }

    fn keep_addresses(
        &mut self,
        netlink: &mut Netlink,
        keep: impl Fn(&Address) -> bool,
    ) -> Result<(), KernelError> {
        for address in self.addresses.values().filter(|a| !keep(a)) {
            netlink.delete_address(self.index, address)?;
        }
        self.addresses.retain(|_, a| keep(a));
        Ok(())
    }

    fn read_mtu(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let link = netlink.link(self.index)?;
        let mtu = link.and_then(|l| Mtu::try_from(u16::try_from(l.mtu).unwrap_or(u16::MAX)).ok());
        self.mtu = mtu.ok_or_else(|| KernelError {
            object: self.name.to_string(),
            action: "read the MTU",
            errno: Errno::ENODEV,
            hint: String::new(),
        })?;
        Ok(())
    }
}

/// In a container /proc/sys is read-only. A child that keeps to the rules hands the kernel no
/// advertisement and no redirect, and sends none of its solicitations, so of a TUN interface that
/// does no harm. False: it was not possible.
fn hold_still_if_possible(name: &InterfaceName) -> Result<bool, KernelError> {
    match hold_still(name) {
        Err(error) if error.errno == Errno::EROFS => Ok(false),
        result => result.map(|()| true),
    }
}

/// Goes through all of them, whatever becomes of each.
fn first_error(results: impl Iterator<Item = Result<(), KernelError>>) -> Result<(), KernelError> {
    results.fold(Ok(()), Result::and)
}

/// Whether a route failed as somebody else has one of its destination and metric.
fn is_taken(set: &Result<(), KernelError>) -> bool {
    set.as_ref().is_err_and(|error| error.errno == Errno::EEXIST)
}

/// Whether a route is on the link, or leads to one of these.
fn is_by(routers: &[Ipv4Addr], gateway: Option<Ipv6Addr>) -> bool {
    gateway.is_none_or(|gateway| {
        isatap::embedded(gateway).is_some_and(|(router, _)| routers.contains(&router))
    })
}

/// A name for a moment: the last octet of the longest is another.
fn temporary(name: &InterfaceName) -> Result<InterfaceName, KernelError> {
    let name: String = name.as_str().chars().take(14).chain(['~']).collect();
    name.parse().map_err(|_| KernelError {
        object: name.clone(),
        action: "use the name",
        errno: Errno::EINVAL,
        hint: String::new(),
    })
}

fn key(route: &Route) -> Key {
    (route.destination, route.metric)
}
