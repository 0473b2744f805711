//! The TUN interface, behind which the child encapsulates.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use isatapd_proto::Mtu;
use isatapd_security::sys;
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

use super::link::{MARK, link_message, no_address};
use super::prl::system_name;
use super::{IfIndex, InterfaceName, KernelError, Kind, Link, Netlink, Refusal};

/// The device of all TUN interfaces.
pub const TUN_DEVICE: &str = "/dev/net/tun";

/// Whether this kernel has TUN and lets us use it. Loads the module if it can.
pub fn has_tun() -> bool {
    open_device().is_ok()
}

fn open_device() -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(Path::new(TUN_DEVICE))
}

/// Has a TUN interface live as long as its descriptor again.
pub fn end_with_us(name: &InterfaceName, queue: &OwnedFd) -> Result<(), KernelError> {
    sys::set_tun_persistent(queue.as_fd(), false)
        .map_err(|e| KernelError::new(name, "have the TUN interface end with us", Refusal::from(e)))
}

impl Netlink {
    /// Makes a TUN interface: down, marked as ours, and such that the kernel gives it no address. It
    /// lives as long as the descriptor and its copies. `EBUSY`: the name is taken.
    pub fn create_tun(
        &mut self,
        name: &InterfaceName,
        mtu: Mtu,
    ) -> Result<(IfIndex, OwnedFd), KernelError> {
        let refused = |e: Refusal| KernelError::new(name, "create the TUN interface", e);
        let device = open_device().map_err(|e| KernelError::new(TUN_DEVICE, "open", e))?;
        sys::make_tun(device.as_fd(), &system_name(name)?).map_err(|e| refused(e.into()))?;
        let made = self.find_link(name)?.ok_or_else(|| refused(Errno::ENODEV.into()))?;
        let attributes = vec![
            LinkAttribute::IfAlias(MARK.to_owned()),
            no_address(),
            LinkAttribute::Mtu(mtu.get().into()),
        ];
        self.set_link(link_message(Some(made.index), attributes)).map_err(refused)?;
        let link = self.get_link(link_message(Some(made.index), Vec::new())).map_err(refused)?;
        if link.ours && link.kind == Kind::Tun && link.mtu == u32::from(mtu.get()) {
            Ok((made.index, device.into()))
        } else {
            Err(refused(Refusal::because(Errno::EPROTO, "the kernel has it otherwise")))
        }
    }

    /// Takes over a TUN interface of ours that was left behind. `None`: it is in somebody's hands, or
    /// of another kind than we make.
    pub fn attach_tun(&mut self, link: &Link) -> Result<Option<OwnedFd>, KernelError> {
        let Some(name) = &link.name else { return Ok(None) };
        let refused = |e: Refusal| KernelError::new(name, "take over the TUN interface", e);
        let device = open_device().map_err(|e| KernelError::new(TUN_DEVICE, "open", e))?;
        match sys::attach_tun(device.as_fd(), &system_name(name)?).map_err(Refusal::from) {
            Ok(()) => {}
            Err(Refusal { errno: Errno::EBUSY | Errno::EINVAL, .. }) => return Ok(None),
            Err(refusal) => return Err(refused(refusal)),
        }
        // It may have gone in the meantime: then this is a new one, which goes with its descriptor.
        let same = self.link(link.index)?.is_some_and(|now| now.name == link.name && now.ours);
        if !same {
            return Ok(None);
        }
        Ok(Some(device.into()))
    }

    /// Gives our tunnel another MTU.
    pub fn set_mtu(&mut self, index: IfIndex, mtu: Mtu) -> Result<(), KernelError> {
        self.change_own(index, LinkAttribute::Mtu(mtu.get().into()), "set the MTU")
    }

    /// Has the kernel give our tunnel no address of its own.
    pub fn give_no_address(&mut self, index: IfIndex) -> Result<(), KernelError> {
        self.change_own(index, no_address(), "have the kernel give it no address")
    }

    /// Gives our tunnel, which is down, another name. `EEXIST`: it is taken.
    pub fn rename(&mut self, index: IfIndex, name: &InterfaceName) -> Result<(), KernelError> {
        self.change_own(index, LinkAttribute::IfName(name.to_string()), "rename")
    }

    fn change_own(
        &mut self,
        index: IfIndex,
        attribute: LinkAttribute,
        action: &'static str,
    ) -> Result<(), KernelError> {
        self.own(index)
            .and_then(|()| self.set_link(link_message(Some(index), vec![attribute])))
            .map_err(|e| KernelError::new(index, action, e))
    }
}
