//! The router role: hosts that solicit are answered, each by unicast; nothing else is ever sent but
//! to those (RFC 5214 section 8.2, RFC 4861 section 6.2). A router learns nothing of others.

mod answer;
mod check;
mod clients;
mod compare;
mod goodbye;
mod message;

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::isatap;
use isatapd_proto::{Advertise, Backend, HostName, Level, Link, UnicastV4};

use self::answer::Answers;
use self::clients::Client;
use self::compare::Others;
use self::goodbye::Goodbye;
use crate::context::Context;
use crate::counters::Counter;
use crate::text::{Count, Left};
use crate::wire::build;
use crate::wire::icmp6::{self, Opened};
use crate::wire::router_advert::RouterAdvert;
use crate::{Action, Instant};

/// How long hosts are told to forget what is no longer advertised: as long as they keep an address
/// after that (RFC 4862 section 5.5.3 (e)).
const WITHDRAWAL: Duration = Duration::from_hours(2);

/// The router role, as far as there is one.
#[derive(Debug, Default)]
pub(crate) struct Advertiser {
    config: Option<Advertise>,
    locator: Option<UnicastV4>,
    /// The last one: as whom the hosts know us.
    known_as: Option<UnicastV4>,
    forwards: bool,
    /// The end is near: all lifetimes as router are zero.
    stops: bool,
    /// What is advertised by the configuration.
    ours: RouterAdvert,
    /// What was advertised before, and until when that is taken back.
    before: Option<(Instant, RouterAdvert)>,
    /// All of it, as octets.
    messages: Vec<Vec<u8>>,
    answers: Answers,
    /// What is said at the end, as long as it lasts.
    goodbye: Option<Goodbye>,
    others: Others,
    /// It was said that we do not forward.
    said_still: bool,
    /// It was said that our locator is not among the addresses of the names.
    said_unlisted: bool,
}

impl Advertiser {
    /// Whether there is a router role.
    pub(crate) const fn is_on(&self) -> bool {
        self.config.is_some()
    }

    /// What is configured.
    pub(crate) const fn config(&self) -> Option<&Advertise> {
        self.config.as_ref()
    }

    /// Hosts that wait for an answer, and those answered lately.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.answers.counts()
    }

    /// What to advertise from now on; hosts that are known are told of the change.
    pub(crate) fn configure(&mut self, cx: &mut Context, config: Option<Advertise>) {
        if self.config == config {
            return;
        }
        if self.is_on() {
            let mut before = std::mem::take(&mut self.ours);
            if let Some((_, older)) = &self.before {
                message::withdraw(older, &mut before);
            }
            self.before = Some((cx.now.after(WITHDRAWAL), before));
        }
        self.goodbye = None;
        if config.is_none() {
            self.say_goodbye(cx);
            self.answers.clear();
            self.messages.clear();
        }
        self.stops = false;
        self.config = config;
        self.others.clear();
        if let Some(config) = &self.config {
            self.ours = message::contents(config, true);
            let lifetime = config.lifetime.secs();
            let prefixes = Count(config.prefixes.len(), "prefix", "es");
            cx.log(
                Level::Notice,
                format_args!("router: advertises {prefixes}, lifetime {lifetime} s"),
            );
        }
        self.renew(cx);
    }

    /// The state of the tunnel, and whether we forward. Whether this router has got another end.
    pub(crate) fn follow(&mut self, cx: &mut Context, link: &Link) -> bool {
        // Only the data path brings solicitations.
        let by_path = link.tunnel.filter(|tunnel| tunnel.backend == Backend::Tun);
        let locator = by_path.map(|tunnel| tunnel.locator);
        let moved = locator != self.locator;
        // After a while without any, they still know us.
        if locator.is_some() && locator != self.known_as {
            self.answers.clear();
            self.goodbye = None;
            self.said_unlisted = false;
            self.known_as = locator;
        }
        self.locator = locator;
        self.forwards = link.forwarding;
        self.renew(cx);
        moved && locator.is_some() && self.is_on()
    }

    /// Writes the messages anew; whether they are others than before.
    fn write(&mut self) -> bool {
        let Some(config) = &self.config else { return false };
        let mut advert = message::contents(config, self.forwards && !self.stops);
        if let Some((_, before)) = &self.before {
            message::withdraw(before, &mut advert);
        }
        let messages = build::router_advertisements(&advert);
        let changed = messages != self.messages;
        self.messages = messages;
        changed
    }

    /// Something may have changed: then hosts are told.
    fn renew(&mut self, cx: &mut Context) {
        if self.write() {
            self.answers.tell_all();
        }
        let still = self.is_on() && self.locator.is_some() && !self.forwards;
        if still && !self.said_still {
            cx.log(
                Level::Warning,
                format_args!("router: advertises lifetime 0, as this host does not forward IPv6"),
            );
        }
        self.said_still = still;
    }

    /// What claims to be a Router Solicitation came from `from`.
    pub(crate) fn solicited(&mut self, cx: &mut Context, from: Ipv4Addr, opened: &Opened<'_>) {
        let (Some(config), Some(locator)) = (&self.config, self.locator) else {
            return cx.counters.count(Counter::SolicitNoRouter);
        };
        let asked = check::check(config, locator, from, opened).and_then(|(host, client)| {
            let new = self.answers.ask(cx.now, &mut cx.rng, host, client)?;
            Ok((host, new))
        });
        match asked {
            Ok((host, true)) => cx.log(Level::Debug, format_args!("host {host}: solicits")),
            Ok((_, false)) => {}
            Err(counter) => cx.counters.count(counter),
        }
    }

    /// Does what is due. Only with a data path: without, hosts are told when it is back.
    pub(crate) fn tick(&mut self, cx: &mut Context) {
        if self.before.take_if(|(until, _)| *until <= cx.now).is_some() {
            // All who heard of it have been told long ago.
            self.write();
        }
        let Some(locator) = self.locator else { return };
        if let Some(goodbye) = &mut self.goodbye {
            // Who waits for an answer comes later: the channel has no room for both.
            let now = cx.now;
            let tell = |host, client, message: &[u8]| send(cx, locator, host, client, message);
            if goodbye.say(now, tell) {
                self.goodbye = None;
            }
        }
        while self.goodbye.is_none()
            && let Some((host, client, nth)) = self.answers.next(cx.now, self.messages.len())
        {
            if let Some(message) = self.messages.get(nth) {
                send(cx, locator, host, client, message);
            }
        }
    }

    /// The end is near: all who were answered lately are told from now on (RFC 4861 section 6.2.5).
    /// Once, not MAX_FINAL_RTR_ADVERTISEMENTS times: there is no time for more.
    pub(crate) fn say_goodbye(&mut self, cx: &mut Context) {
        self.stops = true;
        self.renew(cx);
        let hosts = self.answers.take_recent();
        if !hosts.is_empty() {
            self.goodbye = Some(Goodbye::new(cx.now, hosts, self.messages.clone()));
        }
    }

    /// Whether nobody is still to be told of the end.
    pub(crate) const fn has_said_goodbye(&self) -> bool {
        self.goodbye.is_none()
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let before = self.before.as_ref().map(|(until, _)| *until);
        let next = match &self.goodbye {
            Some(goodbye) => Some(goodbye.due()),
            None => self.answers.deadline(),
        };
        next.into_iter().chain(before).min()
    }

    /// Another router of the link advertises this.
    pub(crate) fn compare(&mut self, cx: &mut Context, router: UnicastV4, advert: &RouterAdvert) {
        self.others.compare(cx, router, &self.ours, advert);
    }

    /// Of the PRL, the others; `names` are the names of it and their addresses, empty while unknown.
    /// Hosts that look there are to find us (RFC 6964 section 2).
    pub(crate) fn others(
        &mut self,
        cx: &mut Context,
        names: &[(&HostName, &[UnicastV4])],
        wanted: &mut Vec<UnicastV4>,
    ) {
        let Some(locator) = self.locator.filter(|_| self.is_on()) else { return };
        wanted.retain(|router| *router != locator);
        self.others.retain(wanted);
        let known = names.iter().filter(|(_, addresses)| !addresses.is_empty());
        let unlisted = known.clone().count() > 0
            && !known.clone().any(|(_, addresses)| addresses.contains(&locator));
        if unlisted && !self.said_unlisted {
            let names: Vec<_> = known.map(|(name, _)| name.as_str()).collect();
            let names = names.join(" ");
            cx.log(
                Level::Warning,
                format_args!(
                    "router: locator {locator} is not among the addresses of {names}, where hosts \
                     look for routers"
                ),
            );
        }
        self.said_unlisted = unlisted;
    }

    /// For the operator.
    pub(crate) fn describe(&self) -> Vec<String> {
        let Some(config) = &self.config else { return Vec::new() };
        let lifetime = Left(isatapd_proto::Lifetime::of(Some(self.advertised_lifetime())));
        let (wait, recent) = self.counts();
        let prefixes = Count(config.prefixes.len(), "prefix", "es");
        vec![
            format!("router: advertises {prefixes}, lifetime {lifetime}"),
            format!("router: {} answered lately, {wait} wait", Count(recent, "host", "s")),
        ]
    }

    /// Whether hosts are told not to send by us, against the configuration: we do not forward.
    pub(crate) const fn is_held_back(&self) -> bool {
        self.is_on() && !self.forwards && !self.ours.router_lifetime.is_zero()
    }

    /// AdvDefaultLifetime, or zero while we do not forward.
    pub(crate) fn advertised_lifetime(&self) -> Duration {
        if self.forwards && !self.stops { self.ours.router_lifetime } else { Duration::ZERO }
    }
}

fn send(cx: &mut Context, locator: UnicastV4, host: UnicastV4, client: Client, message: &[u8]) {
    let packet = icmp6::packet(isatap::link_local(locator, client.form), client.address, message);
    cx.counters.count(Counter::AdvertsSent);
    cx.act(Action::Transmit { to: host.get(), packet });
}
