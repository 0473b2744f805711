//! What the tunnel is to be: its locator, the routers that are used, who encapsulates, its MTU.

use std::net::Ipv4Addr;
use std::time::Instant;

use isatapd_proto::{Backend, Level, Mtu, RouterWish, UnicastV4};
use log::warn;
use nix::errno::Errno;

use crate::backend;
use crate::device::{mtu_method, tun_mtu};
use crate::kernel::{IfIndex, KernelError, Kind, Path, PathKind};
use crate::locator::{Choice, LeftOut, choose, own_locator};
use crate::run::Daemon;
use crate::tunnel::Tunnel;

/// An address that no network has (RFC 5737): the way to it is the default route.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A packet of 1280 octets, the least MTU of IPv6, in IPv4.
const LEAST_LINK_MTU: u32 = 1300;

/// A router with the kernel's way to it.
pub(crate) type Way = (RouterWish, Option<Path>);

/// What keeps the tunnel from having a locator.
pub(crate) enum Lack {
    /// Something that will come: this is said, and waited for.
    Waits(String),
    /// The kernel said no.
    Error(KernelError),
    /// The kernel said no to something better; the tunnel works as it was.
    Stays(KernelError),
}

impl From<KernelError> for Lack {
    fn from(error: KernelError) -> Self {
        Self::Error(error)
    }
}

impl Daemon<'_> {
    /// The link of `--link`.
    pub(crate) fn underlay(&mut self) -> Result<Option<IfIndex>, Lack> {
        let Some(name) = &self.options.link else { return Ok(None) };
        match self.with.netlink.find_link(name)? {
            None => Err(Lack::Waits(format!("--link {name}: no such link"))),
            Some(link) if !link.up => Err(Lack::Waits(format!("--link {name}: the link is down"))),
            Some(link) => Ok(Some(link.index)),
        }
    }

    pub(crate) fn choose(
        &mut self,
        only: Option<IfIndex>,
        now: Instant,
    ) -> Result<(Choice, Backend, Vec<Way>), Lack> {
        let fixed = self.fixed_locator(only)?;
        let mut ways = Vec::new();
        for wish in self.routers.list() {
            let from = fixed.map(UnicastV4::get);
            ways.push((*wish, self.with.netlink.path(wish.router.get(), only, from)?));
        }
        let in_use = self.tunnel.as_ref().map(|tunnel| tunnel.spec().local);
        let is_router = self.is_router();
        let choose = |backend| match (choose(&ways, fixed.or(in_use), backend), fixed) {
            (Ok(choice), _) => Ok(choice),
            // A router has its place without others.
            (Err(left_out), Some(locator)) if is_router => {
                Ok(Choice { locator, routers: Vec::new(), left_out })
            }
            (Err(left_out), _) => Err(Lack::Waits(list(&left_out))),
        };
        let choice = choose(Backend::Kernel)?;
        let one_next_hop = choice.has_one_next_hop();
        let facts = backend::Facts {
            wanted: self.options.backend,
            has: self.with.has,
            router: is_router,
            one_next_hop,
            on_tun: self.is_on_tun()?,
        };
        let (backend, reason) =
            backend::choose(facts).map_err(|lacks| Lack::Waits(lacks.to_string()))?;
        let choice = if backend == Backend::Tun { choose(backend)? } else { choice };
        self.say_backend(backend, reason, now);
        Ok((choice, backend, ways))
    }

    /// Whether the tunnel, or else the one that was left for us, is a TUN interface.
    fn is_on_tun(&mut self) -> Result<bool, KernelError> {
        if let Some(tunnel) = &self.tunnel {
            return Ok(tunnel.is_tun());
        }
        let left = self.with.netlink.find_link(&self.options.name)?;
        Ok(left.is_some_and(|link| link.is_our_tunnel() && link.kind == Kind::Tun))
    }

    /// The locator where no way to a router decides it: the one that was asked for, and a router's.
    fn fixed_locator(&mut self, only: Option<IfIndex>) -> Result<Option<UnicastV4>, Lack> {
        let wanted = self.options.locator;
        if wanted.is_none() && !self.is_router() {
            return Ok(None);
        }
        let netlink = &mut self.with.netlink;
        let addresses = netlink.own_addresses()?;
        let in_use = self.tunnel.as_ref().map(|tunnel| tunnel.spec().local);
        let kept = in_use.filter(|_| wanted.is_none());
        if let Some(locator) = kept.and_then(|it| own_locator(Some(it), &addresses, only, None)) {
            return Ok(Some(locator));
        }
        let default = netlink.path(NOWHERE, None, None)?;
        let default = default.filter(|path| path.kind == PathKind::Unicast).map(|p| p.source);
        match (own_locator(wanted, &addresses, only, default), wanted) {
            (Some(locator), _) => Ok(Some(locator)),
            (None, Some(wanted)) => {
                Err(Lack::Waits(format!("--locator {wanted}: no link has this address")))
            }
            (None, None) => Err(Lack::Waits("there is no IPv4 address".to_owned())),
        }
    }

    /// The least MTU of the links that lead to the routers; without any, of our own.
    pub(crate) fn link_mtu(&mut self, choice: &Choice, ways: &[Way]) -> Result<u32, KernelError> {
        let netlink = &mut self.with.netlink;
        let used = ways.iter().filter(|(wish, _)| choice.routers.contains(wish));
        let mut links: Vec<_> = used.filter_map(|(_, path)| path.map(|path| path.oif)).collect();
        if links.is_empty() {
            let own = netlink.own_addresses()?.into_iter();
            links.extend(own.filter(|own| own.address == choice.locator.get()).map(|o| o.index));
        }
        links.sort_unstable();
        links.dedup();
        let mut least = None;
        for index in &links {
            let mtu = netlink.link(*index)?.map(|link| link.mtu);
            least = least.into_iter().chain(mtu).min();
        }
        if least.is_none() && !links.is_empty() {
            // It has gone since: that is looked at again.
            return Err(KernelError {
                object: "link".to_owned(),
                action: "read the MTU",
                errno: Errno::EAGAIN,
                hint: String::new(),
            });
        }
        Ok(least.unwrap_or_default())
    }

    /// Of a TUN interface, where the links have this MTU.
    pub(crate) fn tun_mtu(&self, link_mtu: u32) -> Mtu {
        tun_mtu(self.options.mtu, mtu_method(self.options.pmtu_discovery), link_mtu)
    }

    /// Says so if a link is too small for the least packet that IPv6 must carry, when that is news.
    pub(crate) fn say_link_mtu(&mut self, link_mtu: u32) {
        let is_small = link_mtu < LEAST_LINK_MTU;
        if is_small && !self.said.small_link {
            let name = &self.options.name;
            warn!(
                "{name}: a link to the routers has an MTU of {link_mtu}: packets of IPv6 up to 1280 \
                 octets are sent in IPv4 fragments"
            );
        }
        self.said.small_link = is_small;
    }

    fn say_backend(&mut self, backend: Backend, reason: &'static str, now: Instant) {
        self.reason = reason;
        let word = match backend {
            Backend::Kernel => "kernel",
            Backend::Tun => "tun",
        };
        let line = format!("{}: backend {word}: {reason}", self.options.name);
        // Why a TUN interface stays one is no news.
        let is_news = self.said.backend.as_ref() != Some(&line)
            && !self.tunnel.as_ref().is_some_and(Tunnel::is_tun);
        if is_news {
            self.log.caused(Level::Notice, &line, now);
            self.said.backend = Some(line);
        }
    }

    /// Says once what was asked for and does not fit a TUN interface of this MTU.
    pub(crate) fn say_mtu(&mut self, mtu: Mtu) {
        if std::mem::replace(&mut self.said.mtu, true) {
            return;
        }
        let (name, octets) = (&self.options.name, mtu.get());
        if let Some(wanted) = self.options.mtu.filter(|wanted| *wanted > mtu) {
            let wanted = wanted.get();
            warn!("{name}: the MTU is {octets}, not {wanted}: it is the most with --nopmtudisc");
        }
        let told = self.options.advertise.as_ref().and_then(|advertise| advertise.mtu);
        if let Some(told) = told.filter(|told| *told > mtu) {
            let told = told.get();
            warn!("{name}: AdvLinkMTU={told} is above the MTU of the tunnel, {octets}");
        }
    }

    /// The driver takes what is the child's, if it is let; once.
    pub(crate) fn say_sit(&mut self) -> Result<(), KernelError> {
        if self.said.sit {
            return Ok(());
        }
        self.said.sit = true;
        let Ok(name) = "sit0".parse() else { return Ok(()) };
        match self.with.netlink.find_link(&name)? {
            Some(link) if matches!(link.kind, Kind::Sit(_)) && link.up => warn!(
                "sit0 is up: the kernel takes IPv6 out of IPv4 from anybody, past the checks of \
                 isatapd; set it down"
            ),
            Some(link) if matches!(link.kind, Kind::Sit(_)) => warn!(
                "the module sit is loaded: the kernel answers the tunnel's packets too, by ICMP port \
                 unreachable, and their senders may take that seriously; unload it"
            ),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn is_router(&self) -> bool {
        self.options.advertise.is_some()
    }

    pub(crate) fn say_left_out(&mut self, choice: &Choice, now: Instant) {
        // A router is in its site's list, as it should be.
        let is_router = self.is_router();
        let said = choice.left_out.iter().filter(|l| !(is_router && l.1 == LeftOut::Ourselves));
        let lines: Vec<_> = said.map(line).collect();
        if self.said.left_out != lines {
            for line in &lines {
                self.log.caused(Level::Warning, &format!("{line}; it is not used"), now);
            }
            self.said.left_out = lines;
        }
    }
}

fn line((router, why): &(UnicastV4, LeftOut)) -> String {
    format!("router {router}: {why}")
}

/// The first few: the log line is for people.
fn list(left_out: &[(UnicastV4, LeftOut)]) -> String {
    const SHOWN: usize = 4;
    let mut text = left_out.iter().take(SHOWN).map(line).collect::<Vec<_>>().join(", ");
    if left_out.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
