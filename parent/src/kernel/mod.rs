//! What the parent asks of the kernel: links, addresses, routes, PRL, per-interface settings.

mod addr;
mod driver;
mod link;
mod monitor;
mod name;
mod prl;
mod route;
mod sit;
mod surroundings;
mod sysctl;
mod tun;

use std::fmt;
use std::num::NonZeroU32;

use nix::errno::Errno;
use thiserror::Error;

pub use addr::{Address, Origin};
pub use driver::Netlink;
pub use link::{Kind, Link};
pub use monitor::{Changes, Monitor};
pub use name::InterfaceName;
pub use prl::Prl;
pub use route::{Path, PathKind, Route};
pub use sit::{Sit, TunnelSpec};
pub use surroundings::{AnyRoute, FORWARDING, OwnAddress, forwards};
pub use sysctl::{hold_still, ipv6_is_off};
pub use tun::{TUN_DEVICE, end_with_us, has_tun};

/// The number of an interface, unique while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(NonZeroU32);

impl IfIndex {
    /// `None` for zero, which means no interface.
    pub fn new(index: u32) -> Option<Self> {
        NonZeroU32::new(index).map(Self)
    }

    /// As the kernel has it.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The same, as it cannot be zero.
    pub const fn nonzero(self) -> NonZeroU32 {
        self.0
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {}", self.0)
    }
}

/// What the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{object}: cannot {action}: {}{}{}", errno.desc(), if hint.is_empty() { "" } else { ": " }, hint)]
pub struct KernelError {
    /// What it was about: an interface, an address, a route.
    pub object: String,
    /// What was to be done with it.
    pub action: &'static str,
    /// Why not. `EPROTO` if the kernel did something else instead.
    pub errno: Errno,
    /// What the kernel says further (`NLMSGERR_ATTR_MSG`); may be empty.
    pub hint: String,
}

impl KernelError {
    fn new(object: impl fmt::Display, action: &'static str, refusal: impl Into<Refusal>) -> Self {
        let Refusal { errno, hint } = refusal.into();
        Self { object: object.to_string(), action, errno, hint }
    }

    /// Whether it says nothing but that the kernel's state changed while it was read.
    pub fn is_passing(&self) -> bool {
        self.errno == Errno::EAGAIN
    }
}

/// What the kernel refused, before it is known what for.
#[derive(Clone, Debug)]
struct Refusal {
    errno: Errno,
    hint: String,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, hint: String::new() }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)).into()
    }
}

impl Refusal {
    fn because(errno: Errno, hint: impl Into<String>) -> Self {
        Self { errno, hint: hint.into() }
    }

    /// `Ok` if it was for one of `harmless`.
    fn unless(self, harmless: &[Errno]) -> Result<(), Self> {
        if harmless.contains(&self.errno) { Ok(()) } else { Err(self) }
    }
}
