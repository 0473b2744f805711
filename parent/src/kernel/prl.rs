//! The kernel's Potential Router List: no netlink, but ioctls.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use isatapd_security::sys;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{InterfaceName, KernelError, Refusal};

/// The Potential Router Lists of the tunnels.
pub struct Prl(OwnedFd);

impl Prl {
    /// In the network namespace of the calling thread.
    pub fn open() -> Result<Self, KernelError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Inet, SockType::Datagram, flags, None)
            .map(Self)
            .map_err(|e| KernelError::new("router list", "open a socket", e))
    }

    /// Has the tunnel accept the router; `Ok` if it does already.
    pub fn add(&self, tunnel: &InterfaceName, router: Ipv4Addr) -> Result<(), KernelError> {
        sys::prl_add(self.0.as_fd(), &system_name(tunnel)?, router)
            .or_else(|e| Refusal::from(e).unless(&[Errno::EEXIST]))
            .map_err(|e| KernelError::new(tunnel, "add a router", e))
    }

    /// Has the tunnel accept the router no more; `Ok` if it does not.
    pub fn delete(&self, tunnel: &InterfaceName, router: Ipv4Addr) -> Result<(), KernelError> {
        sys::prl_delete(self.0.as_fd(), &system_name(tunnel)?, router)
            .or_else(|e| Refusal::from(e).unless(&[Errno::ENXIO]))
            .map_err(|e| KernelError::new(tunnel, "delete a router", e))
    }

    /// The routers of the tunnel, the first [`sys::MAX_PRL`] of them.
    pub fn list(&self, tunnel: &InterfaceName) -> Result<Vec<Ipv4Addr>, KernelError> {
        sys::prl_list(self.0.as_fd(), &system_name(tunnel)?)
            .map_err(|e| KernelError::new(tunnel, "list the routers", e))
    }
}

/// The name for an ioctl.
pub(super) fn system_name(tunnel: &InterfaceName) -> Result<sys::InterfaceName, KernelError> {
    sys::InterfaceName::new(tunnel.as_str())
        .ok_or_else(|| KernelError::new(tunnel, "use the name", Errno::EINVAL))
}
