//! Names to routers: our own stub resolver, which sees TTLs and asks nobody but the name servers of
//! resolv.conf (never LLMNR, mDNS or NetBIOS).

mod candidates;
mod lookup;
mod name;
mod schedule;
mod sockets;

use std::time::Duration;

use isatapd_proto::{
    Bounded, DnsId, HostName, MAX_FILE, MAX_NAME_SERVERS, Seq, Text, UnicastV4, control,
};

use self::lookup::{Finding, Lookup, Trouble};
use self::name::{Name, Phase, Rules};
use self::schedule::Next;
use self::sockets::Sockets;
use crate::context::Context;
use crate::counters::Counter;
use crate::prl::Prl;
use crate::show::until;
use crate::wire::resolv_conf::{self, ResolvConf};
use crate::wire::{dns, hosts};
use crate::{Action, Instant};
use isatapd_datapath::Bucket;

/// A lookup not older than that is not begun anew because the network changed.
const RECENT: Duration = Duration::from_secs(5);

/// All names and the lookups under way.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    names: Vec<Name>,
    /// `None` until the parent has told.
    files: Option<Files>,
    sockets: Sockets,
    /// PrlRefreshInterval.
    refresh: Option<Duration>,
    /// The name server that the next lookup begins with (option rotate).
    turn: u8,
    /// Whether the routers of a name are others than before.
    changed: bool,
    hints: Hints,
}

/// Changes of the network after which lookups are tried again: in a burst, and one more a second.
#[derive(Debug)]
struct Hints(Bucket);

impl Default for Hints {
    fn default() -> Self {
        Self(Bucket::new(5, Duration::from_secs(1)))
    }
}

#[derive(Debug)]
struct Files {
    servers: u8,
    /// As it came, to know another when it comes.
    resolv_conf: Vec<u8>,
    conf: ResolvConf,
    /// The hosts file, for names that come later.
    hosts: Vec<u8>,
}

impl Files {
    fn rules(&self, refresh: Option<Duration>, names: usize) -> Rules<'_> {
        Rules { refresh, search: &self.conf.search, names }
    }
}

impl Resolver {
    /// These are the names; what is known of those that stay is kept.
    pub(crate) fn configure(
        &mut self,
        cx: &mut Context,
        names: Vec<HostName>,
        refresh: Option<Duration>,
    ) {
        let mut before = std::mem::take(&mut self.names);
        for name in names {
            if self.names.iter().any(|n| n.host == name) {
                continue;
            }
            let known = before.iter().position(|n| n.host == name);
            self.names.push(known.map_or_else(|| Name::new(name), |at| before.swap_remove(at)));
        }
        for Name { phase, .. } in before {
            self.abandon(cx, phase);
        }
        let other = std::mem::replace(&mut self.refresh, refresh) != refresh;
        self.changed = true;
        for place in 0..self.names.len() {
            if self.names.get(place).is_some_and(|name| other || !name.asked) {
                self.start_unless_asking(cx, place);
            }
        }
    }

    /// The files may have changed: then all names are looked up anew.
    pub(crate) fn files(
        &mut self,
        cx: &mut Context,
        servers: u8,
        resolv_conf: &[u8],
        hosts: &[u8],
    ) {
        let most = u8::try_from(MAX_NAME_SERVERS).unwrap_or(u8::MAX);
        let servers = servers.min(most);
        let [resolv_conf, hosts] = [resolv_conf, hosts].map(|f| f.get(..=MAX_FILE).unwrap_or(f));
        let same = |known: &Files| {
            known.servers == servers && known.resolv_conf == resolv_conf && known.hosts == hosts
        };
        if self.files.as_ref().is_some_and(same) {
            // Whoever wrote them may have had a reason.
            return self.network_changed(cx);
        }
        self.files = Some(Files {
            servers,
            resolv_conf: resolv_conf.to_vec(),
            conf: resolv_conf::parse(resolv_conf),
            hosts: hosts.to_vec(),
        });
        self.names.iter_mut().for_each(Name::reset_backoff);
        for place in 0..self.names.len() {
            self.start(cx, place);
        }
    }

    /// Looks all names up that are not being looked up.
    pub(crate) fn reload(&mut self, cx: &mut Context) {
        self.names.iter_mut().for_each(Name::reset_backoff);
        for place in 0..self.names.len() {
            self.start_unless_asking(cx, place);
        }
    }

    /// The host's network has changed: names without an answer may have one now. Lookups that have
    /// only begun go on, or a storm of changes would let none of them end.
    pub(crate) fn network_changed(&mut self, cx: &mut Context) {
        let now = cx.now;
        let worth = |name: &Name| name.failing() && !name.began_after(now, RECENT);
        let asking = |name: &Name| matches!(name.phase, Phase::Asking(_));
        if !self.names.iter().any(|name| worth(name) || asking(name)) || !self.hints.0.take(now) {
            return;
        }
        for name in &mut self.names {
            name.again = asking(name);
        }
        for place in 0..self.names.len() {
            let Some(name) = self.names.get_mut(place).filter(|name| worth(name)) else {
                continue;
            };
            name.reset_backoff();
            self.start(cx, place);
        }
    }

    fn start_unless_asking(&mut self, cx: &mut Context, place: usize) {
        if self.names.get(place).is_some_and(|n| matches!(n.phase, Phase::Waiting(_))) {
            self.start(cx, place);
        }
    }

    /// A new lookup, from the beginning.
    fn start(&mut self, cx: &mut Context, place: usize) {
        let names = self.names.len();
        let (Some(files), Some(name)) = (&self.files, self.names.get_mut(place)) else { return };
        let before = std::mem::replace(&mut name.phase, Phase::Waiting(Next::OnChange));
        name.again = false;
        let listed = hosts::lookup(&files.hosts, &name.host);
        let in_hosts = !listed.is_empty();
        self.changed |= in_hosts && name.found_in_hosts(cx, &listed);
        let usable = listed.iter().any(|address| UnicastV4::try_from(*address).is_ok());
        if !usable {
            let candidates = candidates::candidates(&name.host, &files.conf);
            let trouble = if files.servers == 0 {
                Some(Trouble::NoServers)
            } else {
                candidates.is_empty().then_some(Trouble::NoDomain)
            };
            if let Some(trouble) = trouble {
                let rules = files.rules(self.refresh, names);
                self.changed |= name.found(cx, Finding::Trouble(trouble), rules);
            } else {
                let first = if files.conf.rotate { self.turn } else { 0 };
                self.turn = self.turn.wrapping_add(1).checked_rem(files.servers).unwrap_or(0);
                let lookup = Lookup::new(cx.now, candidates, (files.servers, first), &files.conf);
                name.phase = Phase::Asking(Box::new(lookup));
            }
        }
        self.abandon(cx, before);
    }

    fn abandon(&mut self, cx: &mut Context, phase: Phase) {
        if let Phase::Asking(lookup) = phase
            && let Some(id) = lookup.socket()
        {
            self.sockets.close(cx, id);
        }
    }

    /// The socket is there: asks.
    pub(crate) fn ready(&mut self, cx: &mut Context, id: DnsId) {
        let wanted = self.sockets.ready(id);
        let lookup = self.names.iter_mut().find_map(|name| name.lookup_of(id));
        let Some(lookup) = lookup.filter(|_| wanted) else {
            self.sockets.lost(cx, id);
            return;
        };
        lookup.asked(cx.now, &mut cx.rng);
        if let Some(bytes) = lookup.message() {
            cx.counters.count(Counter::Queries);
            cx.act(Action::SendDns { id, bytes });
        } else {
            self.sockets.close(cx, id);
            self.step(cx, id, Lookup::impossible);
        }
    }

    /// A message came. What is no answer to the question is waited past: a forged one must not end
    /// the lookup.
    pub(crate) fn replied(&mut self, cx: &mut Context, id: DnsId, bytes: &[u8]) {
        let Some(lookup) = self.names.iter_mut().find_map(|name| name.lookup_of(id)) else {
            return;
        };
        let sent = lookup.query.as_ref().and_then(|query| query.sent);
        let (Some(sent), Some(name)) = (sent, lookup.candidate()) else { return };
        match dns::parse(bytes, sent.query_id, name) {
            Ok(reply) => {
                if let dns::Reply::ServerFailure(_) = reply {
                    cx.counters.count(Counter::ServersFailed);
                }
                self.sockets.close(cx, id);
                self.step(cx, id, |lookup| lookup.replied(reply));
            }
            Err(_) => cx.counters.count(Counter::RepliesMalformed),
        }
    }

    /// The socket failed.
    pub(crate) fn failed(&mut self, cx: &mut Context, id: DnsId) {
        cx.counters.count(Counter::ServersFailed);
        self.sockets.lost(cx, id);
        self.step(cx, id, Lookup::unreachable);
    }

    /// The parent's answer: without a socket, the name server counts as failed.
    pub(crate) fn done(&mut self, cx: &mut Context, seq: Seq) {
        if let Some(id) = self.sockets.done(cx, seq) {
            cx.counters.count(Counter::ServersFailed);
            self.step(cx, id, Lookup::unreachable);
        }
    }

    /// Takes the lookup of this socket one step further.
    fn step(
        &mut self,
        cx: &mut Context,
        id: DnsId,
        step: impl FnOnce(&mut Lookup) -> Option<Finding>,
    ) {
        let names = self.names.len();
        let (Some(name), Some(files)) =
            (self.names.iter_mut().find(|name| name.uses(id)), &self.files)
        else {
            return;
        };
        if let Some(finding) = name.lookup_of(id).and_then(step) {
            self.changed |= name.found(cx, finding, files.rules(self.refresh, names));
        }
    }

    /// Does what is due; then as many lookups go on as there are sockets.
    pub(crate) fn tick(&mut self, cx: &mut Context, prl: &Prl) {
        for place in 0..self.names.len() {
            let Some(name) = self.names.get_mut(place) else { continue };
            if name.due(prl).is_none_or(|due| due > cx.now) {
                continue;
            }
            if let Phase::Asking(lookup) = &mut name.phase {
                let Some(id) = lookup.socket() else { continue };
                if let Some(bytes) = lookup.repeat(cx.now) {
                    cx.counters.count(Counter::Queries);
                    cx.act(Action::SendDns { id, bytes });
                    continue;
                }
                cx.counters.count(Counter::QueriesUnanswered);
                self.sockets.close(cx, id);
                self.step(cx, id, Lookup::unanswered);
            } else {
                self.start(cx, place);
            }
        }
        self.open_sockets(cx);
    }

    /// First come, first served: names that fail and try again must not keep others from their turn.
    fn open_sockets(&mut self, cx: &mut Context) {
        let mut waiting: Vec<_> = self
            .names
            .iter_mut()
            .filter_map(|name| match &mut name.phase {
                Phase::Asking(lookup) if lookup.query.is_none() => Some(lookup),
                _ => None,
            })
            .collect();
        waiting.sort_by_key(|lookup| lookup.since());
        for lookup in waiting {
            if !self.sockets.has_room() {
                return;
            }
            if let Some((server, transport)) = lookup.server() {
                lookup.uses(self.sockets.open(cx, server, transport));
            }
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self, prl: &Prl) -> Option<Instant> {
        self.names.iter().filter_map(|name| name.due(prl)).min()
    }

    /// Whether the routers of a name are others than at the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The routers of `name`.
    pub(crate) fn addresses(&self, name: &HostName) -> &[UnicastV4] {
        self.names.iter().find(|n| n.host == *name).map_or(&[], Name::addresses)
    }

    /// Whether each name has been looked up once.
    pub(crate) fn all_asked(&self) -> bool {
        self.names.iter().all(|name| name.asked)
    }

    /// Each name, for the operator.
    pub(crate) fn show(&self, now: Instant, prl: &Prl) -> impl Iterator<Item = control::Name> {
        self.names.iter().map(move |name| show(name, now, prl))
    }
}

fn show(name: &Name, now: Instant, prl: &Prl) -> control::Name {
    let known = name.known.as_ref();
    let full = known.and_then(|known| known.full.as_ref());
    let asking = matches!(name.phase, Phase::Asking(_));
    control::Name {
        name: name.host.clone(),
        full_name: full.cloned(),
        hosts_file: known.is_some() && full.is_none(),
        ttl: known.filter(|_| full.is_some()).map(|known| until(known.fresh, now)),
        count: name.addresses().len().try_into().unwrap_or(u32::MAX),
        addresses: Bounded::first_of(name.addresses().iter().copied()),
        error: name.trouble.map(|trouble| Text::cut(&trouble.to_string())),
        asking,
        next: name.due(prl).filter(|_| !asking).map(|due| until(due, now)),
    }
}
