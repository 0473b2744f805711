//! What isatapd decides: bytes, events and the time go in, actions come out.
//!
//! No I/O, no clock, no randomness of its own: [`Engine::handle`] is given the time and a seed was
//! given to [`Engine::new`].

mod accept;
mod action;
mod addrconf;
mod advertise;
mod asked;
mod context;
mod counters;
mod input;
mod learnt;
mod lifetime;
mod prl;
mod reach;
mod resolve;
mod rng;
mod show;
mod solicit;
mod table;
mod text;
mod tunnelled;
mod view;
mod watch;
pub mod wire;
mod wish;

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_datapath::Role;
use isatapd_proto::{
    Advertise, Backend, Command, Config, DataPath, HostName, Level, Link, Outcome, Request,
    RouterSpec, Seq, State, Tunnel, UnicastV4,
};

use self::accept::{Gate, Packet, Reason};
use self::addrconf::Prefixes;
use self::advertise::Advertiser;
use self::context::Context;
use self::counters::Counter;
use self::learnt::Learnt;
use self::prl::Prl;
use self::resolve::Resolver;
use self::show::Facts;
use self::table::{Known, Tables};
use self::watch::Watch;
use self::wire::icmp6;
use self::wire::neighbour::NEIGHBOUR_ADVERTISEMENT;
use self::wire::router_solicit::ROUTER_SOLICITATION;
use self::wish::Wishes;

pub use action::Action;
pub use input::Input;
pub use isatapd_datapath::{Instant, Table, Traffic};

/// All that is known, and what follows from it.
#[derive(Debug)]
pub struct Engine {
    cx: Context,
    /// Where the PRL comes from; `None` before the first configuration.
    routers: Option<Vec<RouterSpec>>,
    solicit_interval: Option<Duration>,
    tunnel: Option<Tunnel>,
    tables: Tables,
    facts: Facts,
    resolver: Resolver,
    prl: Prl,
    gate: Gate,
    watch: Watch,
    prefixes: Prefixes,
    wishes: Wishes,
    advertiser: Advertiser,
    reported: Option<State>,
    /// The end is reported when all has been said.
    stopping: bool,
}

impl Engine {
    /// Knows nothing yet. All randomness comes of `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            cx: Context::new(seed),
            routers: None,
            solicit_interval: None,
            tunnel: None,
            tables: Tables::default(),
            facts: Facts::default(),
            resolver: Resolver::default(),
            prl: Prl::default(),
            gate: Gate::default(),
            watch: Watch::default(),
            prefixes: Prefixes::default(),
            wishes: Wishes::default(),
            advertiser: Advertiser::default(),
            reported: None,
            stopping: false,
        }
    }

    /// Takes in what happened and does what is due: what is to be done, in order. `now` never goes
    /// back.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Action> {
        self.cx.now = now.max(self.cx.now);
        self.expire();
        self.take(input);
        if self.routers.is_some() {
            self.settle();
        }
        self.stop();
        self.cx.take_actions()
    }

    /// When [`Input::Timer`] is due; later than the last `now`. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        self.routers.as_ref()?;
        let routers = self.prl.iter().filter_map(|(_, router)| router.learnt.deadline());
        let wishes = self.tunnel.and_then(|_| self.wishes.deadline());
        routers
            .chain(self.resolver.deadline(&self.prl))
            .chain(self.prl.deadline())
            .chain(Watch::deadline(&self.prl))
            .chain(self.prefixes.deadline())
            .chain(self.tables.deadline())
            .chain(self.advertiser.deadline().filter(|_| self.tables.is_open()))
            .chain(wishes)
            .min()
    }

    fn take(&mut self, input: Input<'_>) {
        let by_path = self.tunnel.is_some_and(|tunnel| tunnel.backend == Backend::Tun);
        let cx = &mut self.cx;
        match input {
            Input::Config(config) => self.configure(config),
            Input::Resolver { servers, resolv_conf, hosts } => {
                self.resolver.files(cx, servers, resolv_conf, hosts);
            }
            Input::Link(link) => {
                let moved = self.advertiser.follow(cx, &link);
                self.follow(link);
                if moved {
                    self.choose_routers();
                }
            }
            Input::RouterSocket { slot, router, form } => {
                let known = self.prl.get_mut(slot).filter(|known| known.address == router);
                if let Some(router) = known.filter(|_| !by_path) {
                    router.schedule.socket(cx.now, form);
                }
            }
            Input::Packet { slot, form, source, hop_limit, bytes } => {
                self.hear(&Packet { slot, form, source, hop_limit, bytes });
            }
            Input::SolicitFailed { slot, error, .. } => {
                cx.counters.count(Counter::SolicitationsFailed);
                if let Some(router) = self.prl.get_mut(slot)
                    && router.schedule.failed(&error)
                {
                    let router = router.address;
                    cx.log(Level::Warning, format_args!("router {router}: not asked, {error}"));
                }
            }
            Input::DnsReady(id) => self.resolver.ready(cx, id),
            Input::DnsReply { id, bytes } => self.resolver.replied(cx, id, bytes),
            Input::DnsFailed { id, .. } => self.resolver.failed(cx, id),
            Input::Done { seq, outcome } => self.done(seq, outcome),
            Input::Command(Command::Reload) => {
                self.resolver.reload(cx);
                self.prl.restart(cx.now);
                self.prl.retry(cx);
            }
            Input::Command(Command::Dump) => view::dump(self),
            Input::Command(Command::Stop) => {
                self.advertiser.say_goodbye(cx);
                self.stopping = true;
            }
            Input::DataPath(path) if by_path => self.open(path),
            Input::Surroundings(surroundings) => self.tables.surroundings = surroundings,
            Input::Tunnelled { from, packet } => self.tunnelled(from, packet),
            Input::Suspect(router) => self.prl.suspect(cx.now, router),
            Input::Traffic(slots) => self.watch.traffic(cx.now, &mut self.prl, by_path, slots),
            Input::Heard(routers) => {
                for (slot, at) in routers {
                    if let Some(router) = self.prl.get_mut(*slot) {
                        router.reach.heard(*at);
                    }
                }
            }
            Input::DataPath(_) | Input::Timer => {}
        }
    }

    fn configure(&mut self, config: Config) {
        let Config { routers, solicit_interval, prl_refresh, level, advertise, router_timeout } =
            config;
        self.watch.configure(router_timeout);
        self.cx.level = level;
        self.solicit_interval = solicit_interval;
        if self.routers.replace(routers.to_vec()).is_none() {
            self.cx.send(Request::StartupDone);
        }
        self.take_role(advertise);
        let names = routers.iter().filter_map(name_of).cloned();
        self.resolver.configure(&mut self.cx, names.collect::<Vec<HostName>>(), prl_refresh);
    }

    /// Host or router. What a router is itself is its configuration, not what others advertise.
    fn take_role(&mut self, advertise: Option<Advertise>) {
        if advertise.is_some() || self.advertiser.is_on() {
            self.prefixes = advertise.as_ref().map(Prefixes::advertised).unwrap_or_default();
            self.prl.iter_mut().for_each(|(_, router)| router.learnt = Learnt::default());
            self.wishes.touch();
        }
        self.advertiser.configure(&mut self.cx, advertise);
    }

    /// The state of the tunnel, as often as it is told: the same again if the host's network has
    /// changed.
    fn follow(&mut self, link: Link) {
        let tunnel = link.tunnel;
        self.facts.link = link;
        self.resolver.network_changed(&mut self.cx);
        let before = std::mem::replace(&mut self.tunnel, tunnel);
        if tunnel == before {
            if tunnel.is_some() {
                self.prl.hurry();
            }
            return;
        }
        let cx = &mut self.cx;
        let end = |tunnel: Option<Tunnel>| tunnel.map(|t| (t.locator, t.backend));
        if end(tunnel) == end(before) {
            // Another MTU.
            self.wishes.touch();
            return;
        }
        self.watch.close(cx.now, &mut self.prl);
        self.prl.close();
        self.tables.close();
        self.prl.retry(cx);
        self.wishes.renew();
        match tunnel {
            Some(Tunnel { locator, mtu, .. }) => {
                self.prl.follow(locator);
                let mtu = mtu.get();
                cx.log(Level::Notice, format_args!("tunnel: up, locator {locator}, MTU {mtu}"));
            }
            None => cx.log(Level::Notice, format_args!("tunnel: down, no locator")),
        }
    }

    /// There is a data path. What was sent by the one before may be lost.
    fn open(&mut self, path: DataPath) {
        self.tables.open(self.cx.now, path);
        self.watch.close(self.cx.now, &mut self.prl);
        self.prl.close();
    }

    /// What came by the data path.
    fn tunnelled(&mut self, from: Ipv4Addr, packet: &[u8]) {
        let cx = &mut self.cx;
        let opened = match icmp6::open(packet) {
            Ok(opened) => opened,
            Err(why) => return self.gate.refuse(cx, from, Reason::Broken(why)),
        };
        if opened.message.first() == Some(&ROUTER_SOLICITATION) {
            return self.advertiser.solicited(cx, from, &opened);
        }
        match tunnelled::advertisement(&self.prl, self.tables.own(), from, &opened) {
            Ok(packet) => self.hear(&packet),
            Err(reason) => self.gate.refuse(cx, opened.source, reason),
        }
    }

    /// What a router says of itself.
    fn hear(&mut self, packet: &Packet<'_>) {
        if packet.bytes.first() == Some(&NEIGHBOUR_ADVERTISEMENT) {
            return self.hear_answer(packet);
        }
        let locator = self.locator_of_path();
        let cx = &mut self.cx;
        let Some(advert) = self.gate.pass(cx, &mut self.prl, packet) else { return };
        let Some(router) = self.prl.get_mut(packet.slot) else { return };
        let awaited = router.schedule.awaits();
        if !awaited {
            cx.counters.count(Counter::Unsolicited);
        }
        let address = router.address;
        let back = awaited && router.reach.confirm(cx.now);
        if !awaited {
            // It says nothing of the way there, but is a reason to ask.
            router.reach.heard(cx.now);
            router.reach.hurry(cx.now);
        }
        if router.learnt.heard.is_none() {
            cx.log(Level::Info, format_args!("router {address}: answers"));
        }
        if self.advertiser.is_on() {
            router.learnt.heard = Some((cx.now, packet.form));
            self.advertiser.compare(cx, address, &advert);
        } else {
            router.learnt.apply(cx, address, packet.form, &advert, self.tunnel.map(|t| t.mtu));
            for option in &advert.prefixes {
                self.prefixes.apply(cx, (packet.slot, address), option);
            }
        }
        if back {
            cx.log(Level::Notice, format_args!("router {address}: reachable again"));
        }
        if awaited && router.learnt.leads() && !router.reach.answers() {
            // So that it is known whether it answers, before that matters.
            watch::ask(cx, packet.slot, router, locator);
        }
        let interval = self.solicit_interval;
        router.schedule.answer(cx.now, packet.form, &advert, interval, &mut cx.rng);
        self.wishes.retry();
    }

    /// A router's answer to a Neighbor Solicitation.
    fn hear_answer(&mut self, packet: &Packet<'_>) {
        let cx = &mut self.cx;
        if !self.gate.pass_answer(cx, &mut self.prl, packet) {
            return;
        }
        let Some(router) = self.prl.get_mut(packet.slot) else { return };
        cx.counters.count(Counter::Confirmed);
        router.schedule.works_again();
        if router.reach.answered(cx.now) {
            // It may advertise something else now.
            router.schedule.restart(cx.now);
            let router = router.address;
            cx.log(Level::Notice, format_args!("router {router}: reachable again"));
            self.wishes.touch();
        }
    }

    fn done(&mut self, seq: Seq, outcome: Outcome) {
        let cx = &mut self.cx;
        if outcome != Outcome::Done {
            cx.counters.count(Counter::RequestsRefused);
        }
        self.resolver.done(cx, seq);
        self.prl.done(cx, seq, outcome);
        self.wishes.done(cx, seq, outcome);
    }

    /// Forgets what has ended.
    fn expire(&mut self) {
        let mut any = self.prefixes.expire(&mut self.cx);
        for (_, router) in self.prl.iter_mut() {
            any |= router.learnt.expire(&mut self.cx, router.address);
        }
        if any {
            self.wishes.touch();
        }
    }

    /// Does all that is due.
    fn settle(&mut self) {
        self.prl.take_hint(self.cx.now);
        self.resolver.tick(&mut self.cx, &self.prl);
        if self.resolver.take_changed() {
            self.choose_routers();
        }
        // Before there are addresses and routes in the kernel.
        self.publish();
        let by_path = self.locator_of_path();
        if by_path.is_some() {
            self.prl.open(self.cx.now);
        }
        self.probe(by_path);
        self.prl.solicit(&mut self.cx, by_path);
        // Those that have not answered the solicitation before.
        self.probe(by_path);
        self.tell_wishes(false);
        if self.tables.is_open() {
            self.advertiser.tick(&mut self.cx);
        }
        self.report();
    }

    /// Reports the end if there is nobody, or no way, to tell of it.
    fn stop(&mut self) {
        let told = self.advertiser.has_said_goodbye() || !self.tables.is_open();
        if told && std::mem::take(&mut self.stopping) {
            self.cx.send(Request::Report(State::Finished));
        }
    }

    fn publish(&mut self) {
        let role = if self.advertiser.is_on() { Role::Router } else { Role::Host };
        let (prl, prefixes) = (&self.prl, &self.prefixes);
        let known = self.tunnel.map(|tunnel| Known { tunnel, role, prl, prefixes });
        self.tables.publish(&mut self.cx, known);
    }

    /// Our end, if packets go by the data path.
    fn locator_of_path(&self) -> Option<UnicastV4> {
        self.tunnel.filter(|_| self.tables.is_open()).map(|tunnel| tunnel.locator)
    }

    /// Asks routers whether they are there; traffic leaves those that are not.
    fn probe(&mut self, by_path: Option<UnicastV4>) {
        if self.watch.tick(&mut self.cx, &mut self.prl, by_path) {
            self.wishes.touch();
            self.publish();
        }
    }

    fn choose_routers(&mut self) {
        let cx = &mut self.cx;
        let mut wanted: Vec<UnicastV4> = self
            .routers
            .iter()
            .flatten()
            .flat_map(|spec| match spec {
                RouterSpec::Address(address) => std::slice::from_ref(address),
                RouterSpec::Name(name) => self.resolver.addresses(name),
            })
            .copied()
            .collect();
        let names: Vec<_> = self.routers.iter().flatten().filter_map(name_of).collect();
        let names: Vec<_> = names.iter().map(|n| (*n, self.resolver.addresses(n))).collect();
        self.advertiser.others(cx, &names, &mut wanted);
        let Some(gone) = self.prl.update(cx, &wanted) else { return };
        for slot in &gone {
            self.prefixes.forget(cx.now, *slot);
        }
        if !gone.is_empty() {
            // Before the parent hears of it: its routes must not lead to who has left.
            self.wishes.touch();
            self.tell_wishes(true);
        }
        self.prl.tell(&mut self.cx);
    }

    fn tell_wishes(&mut self, urgent: bool) {
        if let Some(tunnel) = self.tunnel {
            self.wishes.tell(&mut self.cx, &self.prl, &self.prefixes, tunnel, urgent);
        }
    }

    fn report(&mut self) {
        let state = self.state();
        if let Some(state) = state.filter(|_| state != self.reported) {
            self.reported = Some(state);
            self.cx.send(Request::Report(state));
        }
    }

    /// How things stand; `None` before the names have been asked for.
    fn state(&self) -> Option<State> {
        let router = self.advertiser.is_on();
        let works = if router { self.tables.is_open() } else { self.wishes.works() };
        if self.tunnel.is_some() && works {
            Some(State::Working)
        } else if self.prl.iter().next().is_some() {
            Some(State::AwaitingRouters)
        } else {
            self.resolver.all_asked().then_some(State::AwaitingNames)
        }
    }
}

const fn name_of(spec: &RouterSpec) -> Option<&HostName> {
    match spec {
        RouterSpec::Name(name) => Some(name),
        RouterSpec::Address(_) => None,
    }
}
