//! What others do to the tunnel is found and put right.

use std::time::{Duration, Instant};

use isatapd_proto::{Lifetime, Mtu};
use log::warn;
use nix::errno::Errno;

use super::{Tunnel, hold_still_if_possible, key};
use crate::device::Device;
use crate::kernel::{KernelError, Link, Netlink, Origin, hold_still, ipv6_is_off};

/// The kernel removes what has expired a little before or after its time.
const ABOUT: Duration = Duration::from_secs(2);

/// What became of the tunnel without our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Whole,
    /// Another name or MTU.
    Mended,
    /// It has lost addresses or routes.
    Emptied,
    /// It was deleted, or is ours no more.
    Gone,
    /// IPv6 was switched off on it.
    Off,
}

impl Tunnel {
    /// Looks whether it is still there and up, with its MTU; with `closely`, also whether what is on
    /// it is there still. Puts it right but for what the child is to wish for again.
    pub fn restore(&mut self, netlink: &mut Netlink, closely: bool) -> Result<Found, KernelError> {
        let link = netlink.link(self.index)?;
        let Some(link) = link.filter(Link::is_our_tunnel) else { return Ok(Found::Gone) };
        let renamed = self.follow_name(&link)?;
        let other_mtu = link.mtu != u32::from(self.mtu.get());
        let lost = (closely || other_mtu || !link.up) && self.forget_lost(netlink)?;
        if link.up && !lost {
            if other_mtu {
                warn!("{}: its MTU was changed; set back to {}", self.name, self.mtu.get());
                netlink.set_mtu(self.index, self.mtu)?;
            }
            return Ok(if renamed || other_mtu { Found::Mended } else { Found::Whole });
        }
        if ipv6_is_off(self.name.as_str()) {
            return Ok(Found::Off);
        }
        warn!("{}: was set down or has lost addresses or routes; all is set anew", self.name);
        if link.mtu < Mtu::MIN.get().into() {
            // The kernel has forgotten its settings too, and would go by others when it is up.
            netlink.set_down(self.index)?;
        }
        if other_mtu {
            netlink.set_mtu(self.index, self.mtu)?;
        }
        match self.device {
            Device::Sit => hold_still(&self.name)?,
            Device::Tun(_) => drop(hold_still_if_possible(&self.name)?),
        }
        self.set_link_local(netlink)?;
        // This makes an event, so it comes after what may fail again and again.
        netlink.give_no_address(self.index)?;
        netlink.set_up(self.index)?;
        Ok(Found::Emptied)
    }

    /// Settings and the PRL are reached by name only; a stranger may have the one that was ours. True
    /// if the name is another.
    pub(super) fn follow_name(&mut self, link: &Link) -> Result<bool, KernelError> {
        let Some(name) = &link.name else {
            let hint = "somebody gave it one that isatapd does not use".to_owned();
            let object = self.name.to_string();
            return Err(KernelError { object, action: "use its name", errno: Errno::EINVAL, hint });
        };
        let renamed = *name != self.name;
        if renamed {
            warn!("{}: was renamed; it is served as {name}", self.name);
            self.name = name.clone();
        }
        Ok(renamed)
    }

    /// What is not in the kernel is no longer ours: who comes to have it is not to lose it to us.
    /// True if something is gone before its time.
    fn forget_lost(&mut self, netlink: &mut Netlink) -> Result<bool, KernelError> {
        let addresses = netlink.addresses(self.index)?;
        let routes = netlink.routes(self.index)?;
        let now = Instant::now();
        let is_early = |lifetime: Lifetime, told: Instant| {
            let left = lifetime.duration().map(|d| d.saturating_sub(now.duration_since(told)));
            left.is_none_or(|left| left > ABOUT)
        };
        let mut lost = false;
        let (addresses_at, routes_at) = (self.addresses_at, self.routes_at);
        self.addresses.retain(|address, held| {
            let there = addresses.iter().any(|found| found.address == *address);
            lost |= !there && is_early(held.valid, addresses_at);
            there
        });
        self.routes.retain(|at, held| {
            let there = routes.iter().any(|r| key(r) == *at && r.gateway == held.gateway);
            lost |= !there && is_early(held.lifetime, routes_at);
            there
        });
        // The first attempt to set it again may have failed.
        let own = self.addresses.values().any(|held| held.origin == Origin::LinkLocal);
        Ok(lost || !own)
    }
}
