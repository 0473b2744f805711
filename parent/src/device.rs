//! What carries the tunnel's packets: the kernel, or the child behind a TUN interface.

use std::os::fd::OwnedFd;

use isatapd_proto::{Backend, DataPath, Mtu, MtuMethod};

use crate::kernel::TunnelSpec;

/// MTU of a tunnel of the static method unless told otherwise (RFC 4213 section 3.2.1).
const STATIC_MTU: u16 = 1280;
/// The most that it may have.
pub(crate) const MAX_STATIC_MTU: u16 = 1480;
/// Octets of the IPv4 header.
const IPV4_HEADER: u32 = 20;

/// The tunnel's packets are carried by:
pub enum Device {
    /// The kernel: a `sit` interface.
    Sit,
    /// The child. The interface's queue is kept here too, so that packets wait while it is replaced.
    Tun(OwnedFd),
}

impl Device {
    /// Who encapsulates.
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Sit => Backend::Kernel,
            Self::Tun(_) => Backend::Tun,
        }
    }
}

/// How the child is to send.
pub const fn data_path(spec: &TunnelSpec) -> DataPath {
    DataPath { ttl: spec.ttl, mtu_method: mtu_method(spec.pmtudisc) }
}

/// Which method of RFC 4213 section 3.2 it is.
pub const fn mtu_method(pmtudisc: bool) -> MtuMethod {
    if pmtudisc { MtuMethod::Dynamic } else { MtuMethod::Static }
}

/// The MTU of a TUN interface (RFC 4213 section 3.2): what was asked for, within 1280 and 1480 if
/// it holds for all destinations; else 1280, or what the link of `link_mtu` octets leaves.
pub fn tun_mtu(wanted: Option<Mtu>, method: MtuMethod, link_mtu: u32) -> Mtu {
    let octets = match (method, wanted) {
        (MtuMethod::Static, None) => STATIC_MTU,
        (MtuMethod::Static, Some(mtu)) => mtu.get().min(MAX_STATIC_MTU),
        (MtuMethod::Dynamic, Some(mtu)) => mtu.get(),
        (MtuMethod::Dynamic, None) => {
            u16::try_from(link_mtu.saturating_sub(IPV4_HEADER)).unwrap_or(u16::MAX)
        }
    };
    Mtu::try_from(octets).unwrap_or(Mtu::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mtus_are_those_of_rfc_4213() {
        use MtuMethod::{Dynamic, Static};
        for (wanted, method, link, mtu) in [
            (None, Static, 1500, 1280),
            (Some(1400), Static, 1500, 1400),
            (Some(9000), Static, 9000, 1480),
            (None, Dynamic, 1500, 1480),
            (None, Dynamic, 9000, 8980),
            (None, Dynamic, 1299, 1280),
            (None, Dynamic, 0, 1280),
            (None, Dynamic, 65_536, 65_516),
            (None, Dynamic, u32::MAX, 65_535),
            (Some(1400), Dynamic, 9000, 1400),
            (Some(9000), Dynamic, 1500, 9000),
        ] {
            let wanted = wanted.map(|octets: u16| octets.try_into().unwrap());
            assert_eq!(tun_mtu(wanted, method, link).get(), mtu, "{wanted:?} {method:?} {link}");
        }
    }
}
