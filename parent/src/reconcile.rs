//! The kernel's state is looked at, and the tunnel follows: locator, PRL, the child's sockets.

use std::time::{Duration, Instant};

use isatapd_proto::isatap::{self, UBit};
use isatapd_proto::{Event, Level, RouterWish, UnicastV4};
use log::{error, info, warn};

use crate::exit::{Exit, Fatal};
use crate::kernel::{IfIndex, KernelError, TunnelSpec};
use crate::locator::{Choice, LeftOut, choose};
use crate::run::Daemon;
use crate::sockets;
use crate::tunnel::{Found, Tunnel};

/// After an error the kernel's state is looked at again by itself, besides when it changes.
const AGAIN_AFTER_ERROR: Duration = Duration::from_secs(10);

/// What keeps the tunnel from having a locator.
enum Lack {
    /// Something that will come: this is said, and waited for.
    Waits(String),
    /// The kernel said no.
    Error(KernelError),
}

impl From<KernelError> for Lack {
    fn from(error: KernelError) -> Self {
        Self::Error(error)
    }
}

impl Daemon<'_> {
    /// Looks at the kernel's state and follows it. Only an error that ends the start is an error.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), Fatal> {
        (self.look_at, self.looked) = (None, Some(now));
        if std::mem::take(&mut self.network_changed) {
            self.tell_link();
        }
        if self.routers.list().is_empty() {
            // There is nothing to reach yet; but a link that is not there is said at once.
            if let Err(Lack::Waits(what)) = self.underlay() {
                self.say_waits(what, now);
            }
            return Ok(());
        }
        match self.follow(now) {
            Ok(()) => {
                self.said.waits = None;
                self.failed = false;
                self.ready()
            }
            Err(lack) => {
                self.lose_locator();
                match lack {
                    Lack::Waits(what) => {
                        self.say_waits(what, now);
                        self.ready()
                    }
                    Lack::Error(error) if !self.started => {
                        Err(Fatal::new(Exit::CannotCreate, error.to_string()))
                    }
                    Lack::Error(error) => {
                        let seconds = AGAIN_AFTER_ERROR.as_secs();
                        error!("{error}; tried again in {seconds} s, or when something changes");
                        self.failed = true;
                        self.look_at = now.checked_add(AGAIN_AFTER_ERROR);
                        Ok(())
                    }
                }
            }
        }
    }

    fn say_waits(&mut self, what: String, now: Instant) {
        if self.said.waits.as_ref() != Some(&what) {
            let line = format!("{}: waits: {what}", self.options.name);
            self.log.caused(Level::Warning, &line, now);
            self.said.waits = Some(what);
        }
    }

    fn lose_locator(&mut self) {
        if self.located {
            self.located = false;
            self.sockets.clear();
            self.tell_link();
        }
    }

    fn follow(&mut self, now: Instant) -> Result<(), Lack> {
        let only = self.underlay()?;
        let choice = self.choose(only)?;
        self.say_left_out(&choice, now);
        let spec = TunnelSpec {
            name: self.options.name.clone(),
            local: choice.locator,
            link: only,
            ttl: self.options.ttl,
            pmtudisc: self.options.pmtu_discovery,
            mtu: self.options.mtu,
        };
        let changed = self.follow_tunnel(spec, now)?;
        if changed {
            // What was on it is gone or of no use: the child is to tell all anew.
            self.lose_locator();
        }
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.set_routers(&mut self.with.netlink, &self.with.prl, &choice.routers)?;
        }
        if !self.located {
            self.located = true;
            self.sockets.clear();
            self.tell_link();
        }
        self.follow_sockets(&choice.routers)?;
        Ok(())
    }

    /// The link of `--link`.
    fn underlay(&mut self) -> Result<Option<IfIndex>, Lack> {
        let Some(name) = &self.options.link else { return Ok(None) };
        match self.with.netlink.find_link(name)? {
            None => Err(Lack::Waits(format!("--link {name}: no such link"))),
            Some(link) if !link.up => Err(Lack::Waits(format!("--link {name}: the link is down"))),
            Some(link) => Ok(Some(link.index)),
        }
    }

    fn choose(&mut self, only: Option<IfIndex>) -> Result<Choice, Lack> {
        let mut paths = Vec::new();
        for wish in self.routers.list() {
            paths.push((*wish, self.with.netlink.path(wish.router.get(), only)?));
        }
        let in_use = self.tunnel.as_ref().map(|tunnel| tunnel.spec().local);
        choose(&paths, in_use).map_err(|left_out| Lack::Waits(list(&left_out)))
    }

    fn say_left_out(&mut self, choice: &Choice, now: Instant) {
        let lines: Vec<_> = choice.left_out.iter().map(line).collect();
        if self.said.left_out != lines {
            for line in &lines {
                self.log.caused(Level::Warning, &format!("{line}; it is not used"), now);
            }
            self.said.left_out = lines;
        }
    }

    /// True if the tunnel is new, has another locator, or has lost what was on it.
    fn follow_tunnel(&mut self, spec: TunnelSpec, now: Instant) -> Result<bool, KernelError> {
        let netlink = &mut self.with.netlink;
        if let Some(tunnel) = &mut self.tunnel {
            let found = tunnel.restore(netlink)?;
            if found != Found::Gone {
                if *tunnel.spec() == spec {
                    return Ok(found == Found::Emptied);
                }
                let line = format!("{}: the locator is {} now", spec.name, spec.local);
                tunnel.change(netlink, spec)?;
                self.log.caused(Level::Notice, &line, now);
                return Ok(true);
            }
            warn!("{}: was deleted by somebody; made again", self.options.name);
            self.tunnel = None;
            self.with.monitor.set_tunnel(None);
        }
        let (name, locator) = (self.options.name.clone(), spec.local);
        // What is there under this name is of a predecessor that was killed, or somebody else's.
        let (tunnel, how) = match netlink.find_link(&name)? {
            Some(link) if link.is_our_tunnel() => {
                (Tunnel::adopt(netlink, &self.with.prl, &link, spec)?, "taken over")
            }
            _ => (Tunnel::create(netlink, spec)?, "made"),
        };
        let mtu = tunnel.state().mtu.get();
        info!("{name}: tunnel {how}, locator {locator}, MTU {mtu}");
        self.with.monitor.set_tunnel(Some(tunnel.index()));
        self.tunnel = Some(tunnel);
        Ok(true)
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
