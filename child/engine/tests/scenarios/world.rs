//! A parent, a clock, name servers and a record of all that the engine wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use isatapd_engine::wire::icmp6;
use isatapd_engine::{Action, Engine, Input, Instant, Table};
use isatapd_proto::isatap::{UBit, embedded, link_local};
use isatapd_proto::{
    AddressWish, Backend, Bounded, Config, DataPath, DnsId, Level, Link, MAX_DNS_SOCKETS,
    MtuMethod, Outcome, Request, RouteWish, RouterSpec, RouterTimeout, RouterWish, Seq, Slot,
    State, Transport, Tunnel, UnicastV4,
};

use crate::message::{self, Answer};

/// One query that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) at: Duration,
    pub(crate) name: String,
    pub(crate) server: u8,
    pub(crate) transport: Transport,
    pub(crate) edns: bool,
    pub(crate) id: DnsId,
    pub(crate) bytes: Vec<u8>,
}

/// Answers by name; `*` for all others.
pub(crate) type Zone = BTreeMap<String, Answer>;

/// The world around one engine.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Duration,
    /// What each name server says.
    pub(crate) servers: Vec<Zone>,
    /// What becomes of a request to the parent.
    pub(crate) outcome: fn(&Request) -> Outcome,
    pub(crate) queries: Vec<Query>,
    pub(crate) solicited: Vec<(Duration, Slot, UBit)>,
    /// What was sent by the data path: when, to whom, the IPv6 packet.
    pub(crate) transmitted: Vec<(Duration, Ipv4Addr, Vec<u8>)>,
    /// Neighbor Solicitations: when, of whom.
    pub(crate) probed: Vec<(Duration, UnicastV4)>,
    /// The routers of which the data path is to tell, a bit each.
    pub(crate) watched: u64,
    /// What the data path goes by, and how often it was told.
    pub(crate) table: Arc<Table>,
    pub(crate) published: usize,
    pub(crate) lines: Vec<String>,
    pub(crate) requests: Vec<(Duration, Request)>,
    pub(crate) closed: Vec<Slot>,
    pub(crate) closed_dns: Vec<DnsId>,
    pub(crate) most_sockets: usize,
    /// The parent is to tell of traffic.
    pub(crate) watches: bool,
    next: u32,
    sockets: BTreeMap<DnsId, (u8, Transport)>,
    opened: BTreeSet<(Slot, UBit)>,
    by_path: bool,
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn v4(address: &str) -> UnicastV4 {
    address.parse::<Ipv4Addr>().unwrap().try_into().unwrap()
}

pub(crate) fn slot(number: u8) -> Slot {
    number.try_into().unwrap()
}

/// A configuration of these routers: addresses and names.
pub(crate) fn config(routers: &str) -> Config {
    let specs = routers.split_whitespace().map(|spec| match spec.parse::<Ipv4Addr>() {
        Ok(address) => RouterSpec::Address(address.try_into().unwrap()),
        Err(_) => RouterSpec::Name(spec.parse().unwrap()),
    });
    Config {
        routers: Bounded::first_of(specs),
        solicit_interval: None,
        prl_refresh: Some(secs(3600)),
        level: Level::Debug,
        advertise: None,
        router_timeout: RouterTimeout::DEFAULT,
    }
}

pub(crate) fn tunnel(locator: &str) -> Link {
    tunnel_by(Backend::Kernel, locator)
}

pub(crate) fn tunnel_by(backend: Backend, locator: &str) -> Link {
    let tunnel = Tunnel { locator: v4(locator), mtu: 1480.try_into().unwrap(), backend };
    Link { tunnel: Some(tunnel), ..Link::default() }
}

/// A fixed TTL, and path MTUs.
pub(crate) fn data_path() -> DataPath {
    DataPath { ttl: NonZeroU8::new(64), mtu_method: MtuMethod::Dynamic }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            engine: Engine::new([7; 32]),
            now: secs(1000),
            servers: Vec::new(),
            outcome: |_| Outcome::Done,
            queries: Vec::new(),
            solicited: Vec::new(),
            transmitted: Vec::new(),
            probed: Vec::new(),
            watched: 0,
            table: Arc::default(),
            published: 0,
            lines: Vec::new(),
            requests: Vec::new(),
            closed: Vec::new(),
            closed_dns: Vec::new(),
            most_sockets: 0,
            watches: false,
            next: 0,
            sockets: BTreeMap::new(),
            opened: BTreeSet::new(),
            by_path: false,
        }
    }

    /// One of these routers, with a tunnel and its sockets: the first solicitations have left.
    pub(crate) fn up(routers: &str) -> Self {
        Self::up_at(secs(1000), routers)
    }

    /// The same on a machine that has run so long.
    pub(crate) fn up_at(uptime: Duration, routers: &str) -> Self {
        let mut world = Self { now: uptime, ..Self::new() };
        world.tell(Input::Config(config(routers)));
        world.resolver("");
        world.link("10.0.0.5");
        world
    }

    /// One of these routers, with a tunnel by the data path.
    pub(crate) fn up_by_path(routers: &str) -> Self {
        let mut world = Self::new();
        world.tell(Input::Config(config(routers)));
        world.resolver("");
        world.link_by_path("10.0.0.5");
        world
    }

    /// Tells the engine, and does what it wants, and what comes of that.
    pub(crate) fn tell(&mut self, input: Input<'_>) {
        let now = Instant::since_boot(self.now);
        let mut actions = VecDeque::from(self.engine.handle(now, input));
        while let Some(action) = actions.pop_front() {
            for input in self.perform(action) {
                actions.extend(self.engine.handle(now, input.borrow()));
            }
        }
        let deadline = self.engine.deadline();
        assert!(deadline.is_none_or(|d| d > now), "{deadline:?} is not after {now:?}");
    }

    fn perform(&mut self, action: Action) -> Vec<Owned> {
        match action {
            Action::Send(up) => {
                assert_eq!(up.seq, Seq(self.next), "requests are numbered one by one");
                self.next += 1;
                self.requested(up.seq, up.request)
            }
            Action::Solicit { slot, form, bytes } => {
                assert!(self.opened.contains(&(slot, form)), "solicits without socket");
                if bytes[0] == 135 {
                    let router = self.routers().into_iter().find(|r| r.slot == slot).unwrap();
                    assert_eq!(bytes[..8], [135, 0, 0, 0, 0, 0, 0, 0]);
                    assert_eq!(bytes[8..], link_local(router.router, form).octets());
                    self.probed.push((self.now, router.router));
                } else {
                    assert_eq!(bytes, [133, 0, 0, 0, 0, 0, 0, 0]);
                    self.solicited.push((self.now, slot, form));
                }
                Vec::new()
            }
            Action::Transmit { to, packet } => {
                assert!(self.by_path, "transmits without data path");
                if packet.get(40) == Some(&135) {
                    let solicitation = icmp6::open(&packet).unwrap();
                    assert_eq!((solicitation.hop_limit, solicitation.message.len()), (255, 24));
                    assert_eq!(solicitation.message[8..], solicitation.destination.octets());
                    assert_eq!(embedded(solicitation.destination).unwrap().0, to);
                    self.probed.push((self.now, to.try_into().unwrap()));
                } else {
                    self.transmitted.push((self.now, to, packet));
                }
                Vec::new()
            }
            Action::Publish(table) => {
                assert_ne!(self.table, table, "no news");
                self.table = table;
                self.published += 1;
                Vec::new()
            }
            Action::Watch(slots) => {
                assert!(self.by_path, "watches without data path");
                self.watched = slots;
                Vec::new()
            }
            Action::CloseRouter(slot) => {
                self.opened.retain(|(s, _)| *s != slot);
                self.closed.push(slot);
                Vec::new()
            }
            Action::SendDns { id, bytes } => self.asked(id, bytes),
            Action::CloseDns(id) => {
                self.sockets.remove(&id);
                self.closed_dns.push(id);
                Vec::new()
            }
        }
    }

    fn requested(&mut self, seq: Seq, request: Request) -> Vec<Owned> {
        let outcome = (self.outcome)(&request);
        let mut inputs = Vec::new();
        if let Request::Log(record) = &request {
            assert!(!record.text.contains('\n') && !record.text.ends_with('.'), "{record:?}");
            self.lines.push(record.text.to_string());
            return inputs;
        }
        if let (Request::OpenDns { id, server, transport }, Outcome::Done) = (&request, outcome) {
            assert!(self.sockets.insert(*id, (server.get(), *transport)).is_none());
            self.most_sockets = self.most_sockets.max(self.sockets.len());
            assert!(self.sockets.len() <= MAX_DNS_SOCKETS);
            inputs.push(Owned::DnsReady(*id));
        }
        self.watches |= request == Request::WatchTraffic;
        if request.is_answered() {
            inputs.push(Owned::Done(seq, outcome));
        }
        self.requests.push((self.now, request));
        inputs
    }

    fn asked(&mut self, id: DnsId, bytes: Vec<u8>) -> Vec<Owned> {
        let (server, transport) = self.sockets[&id];
        let (name, edns) = (message::question(&bytes), message::has_edns(&bytes));
        let zone = self.servers.get(usize::from(server));
        let answer = zone.and_then(|zone| zone.get(&name).or_else(|| zone.get("*"))).cloned();
        let reply = match (answer, transport, edns) {
            (Some(Answer::Truncated), Transport::Tcp, _) => panic!("set a zone of addresses"),
            (Some(answer), ..) => Some(message::reply(&bytes, &answer)),
            (None, ..) => None,
        };
        let query = Query { at: self.now, name, server, transport, edns, id, bytes };
        self.queries.push(query);
        reply.map(|bytes| Owned::DnsReply(id, bytes)).into_iter().collect()
    }

    /// A resolv.conf with these lines, as many name servers as there are, and no hosts file.
    pub(crate) fn resolver(&mut self, resolv_conf: &str) {
        self.files(resolv_conf, "");
    }

    pub(crate) fn files(&mut self, resolv_conf: &str, hosts: &str) {
        let servers = u8::try_from(self.servers.len()).unwrap();
        let (resolv_conf, hosts) = (resolv_conf.as_bytes(), hosts.as_bytes());
        self.tell(Input::Resolver { servers, resolv_conf, hosts });
    }

    /// The tunnel is up at `locator`, and there are sockets to all routers.
    pub(crate) fn link(&mut self, locator: &str) {
        self.opened.clear();
        self.by_path = false;
        self.tell(Input::Link(tunnel(locator)));
        self.sockets();
    }

    /// The tunnel is up at `locator` by the data path, which is there.
    pub(crate) fn link_by_path(&mut self, locator: &str) {
        self.opened.clear();
        self.by_path = false;
        self.tell(Input::Link(tunnel_by(Backend::Tun, locator)));
        self.by_path = true;
        self.tell(Input::DataPath(data_path()));
    }

    pub(crate) fn unlink(&mut self) {
        self.opened.clear();
        self.by_path = false;
        self.tell(Input::Link(Link::default()));
    }

    /// Sockets, in both forms, to all routers of the last list.
    pub(crate) fn sockets(&mut self) {
        for RouterWish { slot, router } in self.routers() {
            for form in UBit::BOTH {
                self.socket(slot, router, form);
            }
        }
    }

    pub(crate) fn socket(&mut self, slot: Slot, router: UnicastV4, form: UBit) {
        self.opened.insert((slot, form));
        self.tell(Input::RouterSocket { slot, router, form });
    }

    /// The router at `slot` advertises from the form of its address that Linux gives it.
    pub(crate) fn hear(&mut self, number: u8, bytes: &[u8]) {
        let wish = self.routers().into_iter().find(|r| r.slot == slot(number)).unwrap();
        let form = UBit::of(wish.router.get());
        self.hear_as(number, form, link_local(wish.router, form), Some(255), bytes);
    }

    pub(crate) fn hear_as(
        &mut self,
        number: u8,
        form: UBit,
        source: std::net::Ipv6Addr,
        hop_limit: Option<u8>,
        bytes: &[u8],
    ) {
        self.tell(Input::Packet { slot: slot(number), form, source, hop_limit, bytes });
    }

    /// `router` advertises through the tunnel, from the form of its address that Linux gives it: to all,
    /// or as a neighbour to us, who asked.
    pub(crate) fn hear_by_path(&mut self, router: &str, message: &[u8]) {
        let router = v4(router);
        let source = link_local(router, UBit::of(router.get()));
        let to = match self.table.locator {
            Some(ours) if message[0] == 136 => link_local(ours, UBit::Local),
            _ => "ff02::1".parse().unwrap(),
        };
        let packet = icmp6::packet(source, to, message);
        self.tell(Input::Tunnelled { from: router.get(), packet: &packet });
    }

    /// Lets the time pass, deadline by deadline; how many there were.
    pub(crate) fn pass(&mut self, time: Duration) -> usize {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(next) = self.engine.deadline().filter(|d| d.time_since_boot() <= end) {
            self.now = next.time_since_boot();
            self.tell(Input::Timer);
            wakes += 1;
        }
        self.now = end;
        wakes
    }

    /// Forgets what was recorded, but not what the engine last wished.
    pub(crate) fn clear(&mut self) {
        self.queries.clear();
        self.solicited.clear();
        self.transmitted.clear();
        self.probed.clear();
        self.published = 0;
        self.lines.clear();
        self.closed.clear();
        let kept = [self.last(is_routers), self.last(is_addresses), self.last(is_routes)];
        self.requests = kept.into_iter().flatten().map(|r| (Duration::ZERO, r)).collect();
    }

    fn last(&self, is: fn(&Request) -> bool) -> Option<Request> {
        self.requests.iter().rev().map(|(_, r)| r).find(|r| is(r)).cloned()
    }

    /// How many requests of a kind there were since the last `clear`.
    pub(crate) fn count(&self, is: fn(&Request) -> bool) -> usize {
        self.requests.iter().filter(|(at, r)| is(r) && !at.is_zero()).count()
    }

    pub(crate) fn routers(&self) -> Vec<RouterWish> {
        match self.last(is_routers) {
            Some(Request::SetRouters(list)) => list.to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn addresses(&self) -> Vec<AddressWish> {
        match self.last(is_addresses) {
            Some(Request::SetAddresses(list)) => list.to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn routes(&self) -> Vec<RouteWish> {
        match self.last(is_routes) {
            Some(Request::SetRoutes(list)) => list.to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn states(&self) -> Vec<State> {
        let states = self.requests.iter().filter_map(|(_, r)| match r {
            Request::Report(state) => Some(*state),
            _ => None,
        });
        states.collect()
    }

    /// The state that the operator is shown.
    pub(crate) fn dump(&mut self) -> Vec<String> {
        let before = self.lines.len();
        self.tell(Input::Command(isatapd_proto::Command::Dump));
        self.lines.split_off(before)
    }

    /// What a counter of that text stands at.
    pub(crate) fn counter(&mut self, text: &str) -> u64 {
        let prefix = format!("state: {text}: ");
        let lines = self.dump();
        let value = lines.iter().find_map(|line| line.strip_prefix(&prefix));
        value.map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

pub(crate) fn is_routers(request: &Request) -> bool {
    matches!(request, Request::SetRouters(_))
}

pub(crate) fn is_addresses(request: &Request) -> bool {
    matches!(request, Request::SetAddresses(_))
}

pub(crate) fn is_routes(request: &Request) -> bool {
    matches!(request, Request::SetRoutes(_))
}

/// Inputs that come of actions.
enum Owned {
    DnsReady(DnsId),
    DnsReply(DnsId, Vec<u8>),
    Done(Seq, Outcome),
}

impl Owned {
    fn borrow(&self) -> Input<'_> {
        match self {
            Self::DnsReady(id) => Input::DnsReady(*id),
            Self::DnsReply(id, bytes) => Input::DnsReply { id: *id, bytes },
            Self::Done(seq, outcome) => Input::Done { seq: *seq, outcome: *outcome },
        }
    }
}
