//! A tunnel may outlive its isatapd, left on purpose or by a crash: the next start takes it over.

use std::io;
use std::os::fd::AsFd;

use isatapd_proto::{Backend, Mtu, MtuMethod};
use isatapd_security::sys;

use super::{Tunnel, hold_still_if_possible, key};
use crate::device::{Device, tun_mtu};
use crate::kernel::{
    IfIndex, KernelError, Kind, Link, Netlink, Origin, Prl, Sit, TunnelSpec, end_with_us,
};
use crate::policy::Rank;

/// The MTU of a link that the kernel takes for granted below a tunnel bound to none.
const ETHERNET: u32 = 1500;

impl Tunnel {
    /// Takes over the tunnel that a predecessor left, whatever its locator was. `None`: it is of the
    /// other kind, or a TUN interface that somebody still has in hand.
    pub fn adopt(
        netlink: &mut Netlink,
        prl: &Prl,
        link: &Link,
        spec: TunnelSpec,
        backend: Backend,
    ) -> Result<Option<Self>, KernelError> {
        match (&link.kind, backend) {
            (Kind::Sit(sit), Backend::Kernel) => {
                Self::adopt_sit(netlink, prl, (link, sit), spec).map(Some)
            }
            (Kind::Tun, Backend::Tun) => Self::adopt_tun(netlink, link, spec),
            _ => Ok(None),
        }
    }

    fn adopt_sit(
        netlink: &mut Netlink,
        prl: &Prl,
        (link, sit): (&Link, &Sit),
        spec: TunnelSpec,
    ) -> Result<Self, KernelError> {
        // A change that changes nothing costs packets: the kernel takes the tunnel out of its table
        // for a moment.
        if sit.differs_from(&spec).is_some() {
            netlink.change_tunnel(link.index, &spec)?;
        }
        let mtu = match spec.mtu {
            Some(mtu) => mtu,
            None => default_mtu(netlink, spec.link)?,
        };
        let now = netlink.link(link.index)?.map(|link| link.mtu);
        if now != Some(mtu.get().into()) {
            netlink.set_mtu(link.index, mtu)?;
        }
        let mut tunnel = Self::begun(netlink, link.index, spec)?;
        tunnel.routers = prl.list(&tunnel.name)?;
        tunnel.inherit(netlink)?;
        Ok(tunnel)
    }

    fn adopt_tun(
        netlink: &mut Netlink,
        link: &Link,
        spec: TunnelSpec,
    ) -> Result<Option<Self>, KernelError> {
        let Some(queue) = netlink.attach_tun(link)? else { return Ok(None) };
        let mtu = spec.mtu.unwrap_or(Mtu::MIN);
        if link.mtu != u32::from(mtu.get()) {
            netlink.set_mtu(link.index, mtu)?;
        }
        hold_still_if_possible(&spec.name)?;
        let mut tunnel = Self { device: Device::Tun(queue), ..Self::bare(link.index, spec) };
        tunnel.start(netlink)?;
        tunnel.inherit(netlink)?;
        // Last: until all is taken over, an error leaves it for the next look.
        if let Device::Tun(queue) = &tunnel.device {
            end_with_us(&tunnel.name, queue)?;
        }
        Ok(Some(tunnel))
    }

    /// What we made on it is ours from now on, but for the addresses of another locator, which go.
    fn inherit(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let found = netlink.addresses(self.index)?;
        // Before Linux 5.18 the kernel does not keep whose they are: then all are taken for ours.
        let keeps = found.iter().any(|address| address.origin == Origin::LinkLocal);
        for address in found.into_iter().filter(|a| !keeps || a.origin != Origin::Other) {
            self.addresses.entry(address.address).or_insert(address);
        }
        self.routes = netlink.routes(self.index)?.into_iter().map(|r| (key(&r), r)).collect();
        let rank = self.routes.values().find_map(|route| Rank::of(route.metric));
        self.rank = rank.unwrap_or_default();
        self.keep_addresses_of_locator(netlink)?;
        self.hand_down();
        Ok(())
    }

    /// Leaves it for the next start, with all that is on it.
    pub fn leave(self) -> io::Result<()> {
        match &self.device {
            Device::Sit => Ok(()),
            Device::Tun(queue) => sys::set_tun_persistent(queue.as_fd(), true),
        }
    }
}

/// What the kernel gives a `sit` tunnel when it is made.
fn default_mtu(netlink: &mut Netlink, link: Option<IfIndex>) -> Result<Mtu, KernelError> {
    let link = link.map(|link| netlink.link(link)).transpose()?.flatten();
    Ok(tun_mtu(None, MtuMethod::Dynamic, link.map_or(ETHERNET, |link| link.mtu)))
}
