//! Who encapsulates, and why: the kernel only where that is safe (since Linux 5.3 its `sit` keeps one
//! IPv4 route for all destinations), the child behind a TUN interface everywhere else.

use isatapd_proto::Backend;
use thiserror::Error;

use crate::cli::BackendChoice;

/// What this kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Has {
    /// The `sit` driver; not looked for, as that loads it, where it is not wanted.
    pub sit: bool,
    /// /dev/net/tun.
    pub tun: bool,
    /// Settings that can be changed: without, the kernel of a `sit` tunnel goes by advertisements.
    pub settings: bool,
}

/// What the choice rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What was asked for.
    pub wanted: BackendChoice,
    /// What there is.
    pub has: Has,
    /// Whether this is a router.
    pub router: bool,
    /// Whether all routers are reached by the same IPv4 next hop.
    pub one_next_hop: bool,
    /// Whether the tunnel is a TUN interface already: there is no way back.
    pub on_tun: bool,
}

/// Why there can be no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lacks {
    /// `sit`, which was asked for.
    #[error(
        "--backend kernel: this kernel has no ISATAP tunnels: load the module sit, or use a kernel \
         that has it (CONFIG_IPV6_SIT)"
    )]
    Sit,
    /// TUN, which was asked for or which a router needs.
    #[error(
        "{0}: cannot open /dev/net/tun: load the module tun, or use a kernel that has it (CONFIG_TUN)"
    )]
    Tun(&'static str),
    /// Either.
    #[error(
        "this kernel has neither /dev/net/tun nor ISATAP tunnels: load the module tun or the module \
         sit"
    )]
    Both,
    /// A router cannot do with `sit`.
    #[error("--backend kernel: the kernel's tunnel is for hosts only, a router needs TUN")]
    Router,
}

/// Who is to encapsulate, and the reason for people.
pub const fn choose(facts: Facts) -> Result<(Backend, &'static str), Lacks> {
    let Has { sit, tun, settings } = facts.has;
    let (backend, reason) = match facts.wanted {
        BackendChoice::Kernel if facts.router => return Err(Lacks::Router),
        BackendChoice::Kernel if !sit => return Err(Lacks::Sit),
        BackendChoice::Kernel => (Backend::Kernel, "--backend kernel asks for it"),
        BackendChoice::Tun if !tun => return Err(Lacks::Tun("--backend tun")),
        BackendChoice::Tun => (Backend::Tun, "--backend tun asks for it"),
        BackendChoice::Auto if facts.router && !tun => return Err(Lacks::Tun("a router")),
        BackendChoice::Auto if facts.router => (Backend::Tun, "a router needs it"),
        BackendChoice::Auto if !sit && !tun => return Err(Lacks::Both),
        BackendChoice::Auto if !sit => (Backend::Tun, "the kernel has no sit"),
        BackendChoice::Auto if !tun => (Backend::Kernel, "there is no /dev/net/tun"),
        BackendChoice::Auto if !settings => (Backend::Tun, "/proc/sys is read-only"),
        BackendChoice::Auto if !facts.one_next_hop => (
            Backend::Tun,
            "the routers have different IPv4 next hops: the kernel's sit loses packets",
        ),
        BackendChoice::Auto if facts.on_tun => {
            (Backend::Tun, "the tunnel is one already, and stays one until it is deleted")
        }
        BackendChoice::Auto => (Backend::Kernel, "all routers have the same IPv4 next hop"),
    };
    Ok((backend, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case() {
        use BackendChoice::{Auto, Kernel, Tun};
        const KERNEL: Result<Backend, Lacks> = Ok(Backend::Kernel);
        const TUN: Result<Backend, Lacks> = Ok(Backend::Tun);
        // Columns: sit and TUN; sit; TUN; neither.
        let has = [(true, true), (true, false), (false, true), (false, false)];
        let no_sit = Err(Lacks::Sit);
        let no_tun = Err(Lacks::Tun("--backend tun"));
        let router = Err(Lacks::Tun("a router"));
        let never = Err(Lacks::Router);
        for (wanted, role, one, on_tun, expected) in [
            (Auto, false, true, false, [KERNEL, KERNEL, TUN, Err(Lacks::Both)]),
            (Auto, false, true, true, [TUN, KERNEL, TUN, Err(Lacks::Both)]),
            (Auto, false, false, false, [TUN, KERNEL, TUN, Err(Lacks::Both)]),
            (Auto, false, false, true, [TUN, KERNEL, TUN, Err(Lacks::Both)]),
            (Auto, true, true, false, [TUN, router, TUN, router]),
            (Kernel, false, true, false, [KERNEL, KERNEL, no_sit, no_sit]),
            (Kernel, false, false, false, [KERNEL, KERNEL, no_sit, no_sit]),
            (Kernel, true, true, false, [never, never, never, never]),
            (Tun, false, true, false, [TUN, no_tun, TUN, no_tun]),
            (Tun, true, false, true, [TUN, no_tun, TUN, no_tun]),
        ] {
            for ((sit, tun), expected) in has.into_iter().zip(expected) {
                let has = Has { sit, tun, settings: true };
                let facts = Facts { wanted, has, router: role, one_next_hop: one, on_tun };
                assert_eq!(choose(facts).map(|(backend, _)| backend), expected, "{facts:?}");
            }
        }
    }

    #[test]
    fn settings_that_stay_are_a_reason() {
        for (wanted, expected) in
            [(BackendChoice::Auto, Backend::Tun), (BackendChoice::Kernel, Backend::Kernel)]
        {
            let has = Has { sit: true, tun: true, settings: false };
            let facts = Facts { wanted, has, router: false, one_next_hop: true, on_tun: false };
            assert_eq!(choose(facts).map(|(backend, _)| backend), Ok(expected));
        }
    }
}
