//! The kernel's state is looked at, and the tunnel follows: locator, backend, PRL, the child's sockets.

use std::io;
use std::time::{Duration, Instant};

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{Backend, Event, Level, Mtu, RouterWish};
use log::{error, info, warn};
use nix::errno::Errno;

use crate::decide::Lack;
use crate::exit::{Exit, Fatal};
use crate::kernel::{KernelError, Kind, Link, TunnelSpec, forwards, ipv6_is_off};
use crate::run::Daemon;
use crate::sockets::{self, Protocol41};
use crate::tunnel::{Found, Tunnel};

/// After an error the kernel's state is looked at again by itself, besides when it changes.
const AGAIN_AFTER_ERROR: Duration = Duration::from_secs(10);

impl Daemon<'_> {
    /// Looks at the kernel's state and follows it. Only an error that ends the start is an error.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), Fatal> {
        (self.look_at, self.looked) = (None, Some(now));
        self.looks.take(now);
        self.keep_forwarding(now);
        if std::mem::take(&mut self.network_changed) || self.forwarding != forwards() {
            self.tell_link();
        }
        if self.routers.list().is_empty() && !self.is_router() {
            self.failed = false;
            // There is nothing to reach yet; but a link that is not there is said at once.
            match self.underlay() {
                Err(Lack::Waits(what)) => self.say_waits(what, now),
                Err(_) => {}
                Ok(_) => self.lacks(None),
            }
            return Ok(());
        }
        match self.follow(now) {
            Ok(found) => {
                self.lacks(None);
                self.said.error = None;
                self.failed = found != Found::Whole;
                self.ready()
            }
            Err(lack) => match lack {
                // That says nothing of what there is.
                Lack::Error(error) | Lack::Stays(error) if error.is_passing() => {
                    self.look_soon(now);
                    Ok(())
                }
                Lack::Waits(what) => {
                    self.failed = false;
                    self.say_waits(what, now);
                    self.lose_locator();
                    self.ready()
                }
                Lack::Error(error) if !self.started => {
                    Err(Fatal::new(Exit::CannotCreate, error.to_string()))
                }
                Lack::Error(error) => {
                    self.lacks(Some(error.to_string()));
                    self.lose_locator();
                    self.try_again(&error, now);
                    Ok(())
                }
                Lack::Stays(error) => {
                    self.try_again(&error, now);
                    self.ready()
                }
            },
        }
    }

    fn try_again(&mut self, error: &KernelError, now: Instant) {
        let seconds = AGAIN_AFTER_ERROR.as_secs();
        let line = error.to_string();
        if self.said.error.as_ref() != Some(&line) {
            error!("{line}; tried again each {seconds} s, and when something changes");
            self.said.error = Some(line);
        }
        self.failed = true;
        self.look_by(now.checked_add(AGAIN_AFTER_ERROR));
    }

    fn say_waits(&mut self, what: String, now: Instant) {
        if self.said.waits.as_ref() != Some(&what) {
            let line = format!("{}: waits: {what}", self.options.name);
            self.log.caused(Level::Warning, &line, now);
            self.lacks(Some(what));
        }
    }

    /// Tells others what keeps the tunnel from having a locator; `None`: nothing.
    fn lacks(&mut self, what: Option<String>) {
        if self.said.waits != what {
            let is_told = what.is_none() || self.located;
            self.said.waits = what;
            self.say_status();
            if !is_told {
                self.tell_link();
            }
        }
    }

    fn lose_locator(&mut self) {
        if self.located {
            self.located = false;
            if let Some(Err(error)) = self.with.sockets.as_ref().map(Protocol41::park) {
                error!("{error}");
            }
            self.forget_sockets();
            self.tell_link();
        }
    }

    /// What others had done to the tunnel.
    fn follow(&mut self, now: Instant) -> Result<Found, Lack> {
        let only = self.underlay()?;
        let (choice, backend, ways) = self.choose(only, now)?;
        self.say_left_out(&choice, now);
        let link_mtu = self.link_mtu(&choice, &ways)?;
        self.say_link_mtu(link_mtu);
        let mtu = match backend {
            Backend::Kernel => self.options.mtu,
            Backend::Tun => {
                let mtu = self.tun_mtu(link_mtu);
                self.say_mtu(mtu);
                Some(mtu)
            }
        };
        let spec = TunnelSpec {
            name: self.options.name.clone(),
            local: choice.locator,
            link: only,
            ttl: self.options.ttl,
            pmtudisc: self.options.pmtu_discovery,
            mtu,
        };
        let (changed, found) = self.follow_tunnel(spec, backend, now)?;
        if changed {
            // What was on it is gone or of no use: the child is to tell all anew.
            self.lose_locator();
        }
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.set_routers(&mut self.with.netlink, &self.with.prl, &choice.routers)?;
            self.routers_are_new = false;
        }
        if found == Found::Mended {
            self.tell_link();
        }
        if !self.located {
            self.located = true;
            self.forget_sockets();
            self.tell_link();
        }
        match backend {
            Backend::Kernel => self.follow_sockets(&choice.routers)?,
            Backend::Tun => {
                self.follow_path()?;
                match self.follow_surroundings() {
                    Ok(()) => {}
                    Err(error) if error.is_passing() => self.look_soon(now),
                    Err(error) => {
                        // The tunnel works without.
                        self.log.caused(Level::Warning, &error.to_string(), now);
                        self.look_by(now.checked_add(AGAIN_AFTER_ERROR));
                    }
                }
                self.say_sit()?;
            }
        }
        Ok(found)
    }

    /// True if the tunnel is new, has another locator, or has lost what was on it; and what others
    /// had done to it.
    fn follow_tunnel(
        &mut self,
        spec: TunnelSpec,
        backend: Backend,
        now: Instant,
    ) -> Result<(bool, Found), Lack> {
        let netlink = &mut self.with.netlink;
        let mut was = Found::Whole;
        if let Some(tunnel) = &mut self.tunnel {
            let found = tunnel.restore(netlink, self.tunnel_changed)?;
            if found == Found::Off {
                let name = tunnel.name().to_string();
                return Err(self.ipv6_is_off(&name, now));
            }
            self.tunnel_changed = false;
            if found != Found::Gone && backend == Backend::Tun && !tunnel.is_tun() {
                return Ok((self.move_to_tun(spec, found)?, found));
            }
            if found != Found::Gone {
                return Ok((self.change_tunnel(spec, found, now)?, found));
            }
            warn!("{}: was deleted by somebody; made again", self.options.name);
            self.tunnel = None;
            self.with.monitor.set_tunnel(None);
            was = found;
        }
        let (name, locator) = (self.options.name.clone(), spec.local);
        // What is there under this name a predecessor left, or it is somebody else's.
        let left = netlink.find_link(&name)?.filter(Link::is_our_tunnel);
        let stays = |link: &&Link| {
            matches!(
                (&link.kind, backend),
                (Kind::Sit(_), Backend::Kernel) | (Kind::Tun, Backend::Tun)
            )
        };
        let interface = left.as_ref().filter(stays).map_or("default", |_| name.as_str());
        if ipv6_is_off(interface) {
            return Err(self.ipv6_is_off(interface, now));
        }
        let netlink = &mut self.with.netlink;
        let taken_over = match &left {
            Some(link) => Tunnel::adopt(netlink, &self.with.prl, link, spec.clone(), backend)?,
            None => None,
        };
        let (tunnel, how) = if let Some(tunnel) = taken_over {
            (tunnel, "taken over")
        } else {
            // Of the other kind, or a TUN interface whose owner is about to end.
            if let Some(link) = left {
                netlink.delete_link(link.index)?;
            }
            let create = match backend {
                Backend::Kernel => Tunnel::create_sit,
                Backend::Tun => Tunnel::create_tun,
            };
            (create(netlink, spec)?, "made")
        };
        let mtu = tunnel.state().mtu.get();
        info!("{name}: tunnel {how}, locator {locator}, MTU {mtu}");
        self.with.monitor.set_tunnel(Some(tunnel.index()));
        self.tunnel = Some(tunnel);
        Ok((true, was))
    }

    /// Nothing tells when it is on again.
    fn ipv6_is_off(&mut self, interface: &str, now: Instant) -> Lack {
        self.look_by(now.checked_add(AGAIN_AFTER_ERROR));
        Lack::Waits(format!("IPv6 is switched off: net.ipv6.conf.{interface}.disable_ipv6 is set"))
    }

    /// True if what was on it is gone or of no use.
    fn change_tunnel(
        &mut self,
        spec: TunnelSpec,
        found: Found,
        now: Instant,
    ) -> Result<bool, KernelError> {
        let Some(tunnel) = &mut self.tunnel else { return Ok(true) };
        let before = tunnel.spec().clone();
        if before == spec {
            return Ok(found == Found::Emptied);
        }
        let TunnelSpec { name, local, mtu, .. } = spec.clone();
        tunnel.change(&mut self.with.netlink, spec.clone())?;
        if (TunnelSpec { mtu: before.mtu, ..spec }) == before {
            info!("{name}: the MTU is {} now", mtu.map_or(0, Mtu::get));
            self.tell_link();
            return Ok(found == Found::Emptied);
        }
        let line = format!("{name}: the locator is {local} now");
        self.log.caused(Level::Notice, &line, now);
        Ok(true)
    }

    /// True if the locator is another too, or something was lost.
    fn move_to_tun(&mut self, spec: TunnelSpec, found: Found) -> Result<bool, Lack> {
        let Some(tunnel) = &mut self.tunnel else { return Ok(true) };
        let same_locator = tunnel.spec().local == spec.local;
        let moved = match tunnel.move_to_tun(&mut self.with.netlink, spec) {
            Err(error) if !tunnel.is_tun() && found != Found::Emptied && self.located => {
                return Err(Lack::Stays(error));
            }
            moved => moved,
        };
        self.with.monitor.set_tunnel(Some(tunnel.index()));
        let kept = same_locator && moved? == Found::Whole && found != Found::Emptied;
        if kept {
            // Addresses and routes are there: there was never a time without a tunnel.
            self.forget_sockets();
            self.tell_link();
        }
        Ok(!kept)
    }

    /// Has the child's sockets of protocol 41 follow the tunnel, and gives it the interface's queue.
    pub(crate) fn follow_path(&mut self) -> Result<(), KernelError> {
        let (Some(tunnel), Some(sockets)) = (&self.tunnel, &self.with.sockets) else {
            return Ok(());
        };
        if self.has_path {
            return Ok(());
        }
        if let Some(path) = tunnel.data_path() {
            sockets.point(tunnel.spec().local, tunnel.spec().link)?;
            let (path, queue) = path.map_err(|error| copy_failed(&error))?;
            self.tell(&Event::DataPath(path), vec![queue]);
            self.has_path = true;
        }
        Ok(())
    }

    /// Gives the child a socket for each router in each of its two forms.
    fn follow_sockets(&mut self, routers: &[RouterWish]) -> Result<(), KernelError> {
        let Some(index) = self.tunnel.as_ref().map(Tunnel::index) else { return Ok(()) };
        self.sockets.retain(|wish| routers.contains(wish));
        for wish in routers {
            if !self.sockets.insert(*wish) {
                continue;
            }
            let RouterWish { slot, router } = *wish;
            for form in UBit::BOTH {
                let socket = sockets::router_socket(index, isatap::link_local(router, form))?;
                self.tell(&Event::Router { slot, router, form }, vec![socket]);
            }
        }
        Ok(())
    }
}

fn copy_failed(error: &io::Error) -> KernelError {
    KernelError {
        object: "data path".to_owned(),
        action: "copy the descriptor",
        errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        hint: String::new(),
    }
}
