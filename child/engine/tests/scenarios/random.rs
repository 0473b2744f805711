//! Anything in any order: no panic, no cap exceeded, no busy loop.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv6Net;
use isatapd_datapath::Route;
use isatapd_engine::wire::icmp6;
use isatapd_engine::{Action, Engine, Input, Instant, Table};
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{
    Advertise, Backend, Bounded, Command, DataPath, DnsId, ForeignRoute, Link, MAX_ADDRESSES,
    MAX_DEFAULT_ROUTERS, MAX_DNS_SOCKETS, MAX_FOREIGN, MAX_INFORMATION_ROUTES, MAX_ON_LINK,
    MAX_ROUTERS, Outcome, Refusal, Request, RouterSpec, Seq, Surroundings, UnicastV4,
};
use proptest::prelude::*;

use crate::advertise::{advertise, of};
use crate::message::{self, Answer};
use crate::world::{config, data_path, secs, slot, tunnel_by};

/// An input, owned; what refers to things the engine asked for does so by their count.
#[derive(Clone, Debug)]
enum Event {
    Config(Vec<u8>, u8),
    Resolver(u8, Vec<u8>, Vec<u8>),
    Link(Option<(bool, u8)>),
    DataPath(bool),
    Surroundings(u8),
    Suspect(u8),
    Traffic(u64),
    Heard(u8, u16),
    Socket(u8, u8, bool),
    Packet(u8, u8, bool, Option<u8>, Vec<u8>),
    /// From and by whom, to which of some destinations, with one octet changed.
    Tunnelled(u8, u8, u8, (usize, u8), Vec<u8>),
    SolicitFailed(u8),
    Ready(u8),
    Reply(u8, Reply),
    Failed(u8),
    Done(u8, u8),
    Command(u8),
    Timer,
}

#[derive(Clone, Debug)]
enum Reply {
    Octets(Vec<u8>),
    To(u8, u32),
}

fn event() -> impl Strategy<Value = Event> {
    let octets = || prop::collection::vec(any::<u8>(), 0..80);
    let lines = || "((search|options|10\\.0\\.0\\.[1-9]|ndots:0|rotate|isatap|a\\.b)[ \n]){0,12}";
    prop_oneof![
        1 => (prop::collection::vec(0..9_u8, 0..6), any::<u8>())
            .prop_map(|(routers, how)| Event::Config(routers, how)),
        1 => (0..4_u8, lines(), lines())
            .prop_map(|(n, conf, hosts)| Event::Resolver(n, conf.into(), hosts.into())),
        1 => prop::option::of((any::<bool>(), 0..3_u8)).prop_map(Event::Link),
        2 => any::<bool>().prop_map(Event::DataPath),
        1 => any::<u8>().prop_map(Event::Surroundings),
        1 => (0..9_u8).prop_map(Event::Suspect),
        2 => any::<u64>().prop_map(Event::Traffic),
        1 => (0..9_u8, any::<u16>()).prop_map(|(s, ago)| Event::Heard(s, ago)),
        4 => (0..6_u8, 0..9_u8, any::<bool>()).prop_map(|(s, r, u)| Event::Socket(s, r, u)),
        8 => (0..6_u8, 0..9_u8, any::<bool>(), limit(), packet())
            .prop_map(|(s, r, u, limit, bytes)| Event::Packet(s, r, u, limit, bytes)),
        8 => (0..9_u8, 0..9_u8, 0..5_u8, change(), packet())
            .prop_map(|(from, by, to, change, bytes)| Event::Tunnelled(from, by, to, change, bytes)),
        1 => (0..6_u8).prop_map(Event::SolicitFailed),
        6 => (0..9_u8).prop_map(Event::Ready),
        1 => ((0..9_u8), octets()).prop_map(|(id, bytes)| Event::Reply(id, Reply::Octets(bytes))),
        6 => (0..9_u8, any::<u8>(), any::<u32>())
            .prop_map(|(id, kind, ttl)| Event::Reply(id, Reply::To(kind, ttl))),
        1 => (0..9_u8).prop_map(Event::Failed),
        4 => (0..12_u8, 0..4_u8).prop_map(|(seq, outcome)| Event::Done(seq, outcome)),
        1 => (0..4_u8).prop_map(Event::Command),
        4 => Just(Event::Timer),
    ]
}

fn limit() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![9 => Just(Some(255)), 1 => prop::option::of(any::<u8>())]
}

/// Mostly none.
fn change() -> impl Strategy<Value = (usize, u8)> {
    prop_oneof![9 => Just((0, 0)), 1 => (0..60_usize, any::<u8>())]
}

/// Mostly an advertisement of some options.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let time = || prop_oneof![Just(0), Just(u32::MAX), any::<u32>(), 1..9000_u32];
    let net = (0..40_u8, time(), time(), any::<u8>());
    let option = net.prop_map(|(net, valid, preferred, kind)| {
        let text = format!("2001:db8:{net:x}::");
        match kind % 4 {
            0 => message::prefix(&text, kind, valid, preferred),
            1 => message::prefix(&text, 0xc0, valid, preferred.min(valid)),
            2 => message::route(&format!("{text}/48"), kind & 0x18, valid),
            _ => message::mtu(preferred),
        }
    });
    let options = prop::collection::vec(option, 0..20);
    prop_oneof![
        9 => (any::<u16>(), options).prop_map(|(lifetime, options)| message::advert(lifetime, &options)),
        4 => octets_after(&[133, 0, 0, 0, 0, 0, 0, 0]),
        2 => (0..9_u8, any::<bool>(), any::<u8>()).prop_map(|(by, u, flags)| {
            let target = link_local(router(by), form(u)).octets();
            [&[136, 0, 0, 0, flags, 0, 0, 0][..], &target].concat()
        }),
        1 => octets_after(&[]),
    ]
}

fn octets_after(header: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 0..120)]
        .prop_map(move |octets| [header, &octets].concat())
}

/// What the engine has asked for and may be answered.
struct Machine {
    engine: Engine,
    now: Duration,
    ids: Vec<DnsId>,
    seqs: Vec<Seq>,
    queries: Vec<(DnsId, Vec<u8>)>,
    /// Asked for, and neither closed nor refused.
    open: BTreeSet<DnsId>,
    /// Those that were there.
    had: BTreeSet<DnsId>,
    asked: HashMap<Seq, DnsId>,
    backend: Option<Backend>,
    table: Arc<Table>,
}

fn advertised(how: u8) -> Advertise {
    let prefix = |number: u8| of(&format!("2001:db8:{number}::"));
    advertise(&(0..how / 16).map(prefix).collect::<Vec<_>>())
}

fn router(number: u8) -> UnicastV4 {
    Ipv4Addr::new(10, 0, 0, number + 1).try_into().unwrap()
}

fn form(universal: bool) -> UBit {
    if universal { UBit::Universal } else { UBit::Local }
}

fn last<T: Clone>(list: &[T], back: u8) -> Option<T> {
    list.iter().rev().nth(usize::from(back)).cloned()
}

impl Machine {
    #[expect(clippy::too_many_lines, reason = "a line or three for each input")]
    fn tell(&mut self, event: &Event) {
        let mut reply;
        let heard;
        let input = match event {
            Event::Config(routers, how) => {
                let names = ["isatap", "r.a.example", "b.example."];
                let specs = routers.iter().map(|number| match names.get(usize::from(*number)) {
                    Some(name) => RouterSpec::Name(name.parse().unwrap()),
                    None => RouterSpec::Address(router(*number)),
                });
                let mut config = config("");
                config.routers = Bounded::first_of(specs);
                config.prl_refresh = (how & 1 == 0).then_some(secs(3600));
                config.advertise = (*how < 64).then(|| advertised(*how));
                config.solicit_interval = (how & 2 == 0).then_some(secs((*how).into()));
                Input::Config(config)
            }
            Event::Resolver(servers, conf, hosts) => {
                Input::Resolver { servers: *servers, resolv_conf: conf, hosts }
            }
            Event::Link(Some((by_path, locator))) => {
                let backend = if *by_path { Backend::Tun } else { Backend::Kernel };
                self.backend = Some(backend);
                Input::Link(tunnel_by(backend, &format!("10.0.1.{locator}")))
            }
            Event::DataPath(how) => {
                let ttl = NonZeroU8::new(u8::from(*how));
                Input::DataPath(DataPath { ttl, ..data_path() })
            }
            Event::Traffic(slots) => Input::Traffic(*slots),
            Event::Heard(number, ago) => {
                let at = self.now.saturating_sub(Duration::from_millis((*ago).into()));
                heard = [(slot(*number), Instant::since_boot(at))];
                Input::Heard(&heard)
            }
            Event::Suspect(number) => Input::Suspect(router(*number).get()),
            Event::Surroundings(number) => Input::Surroundings(surroundings(*number)),
            Event::Link(None) => {
                self.backend = None;
                Input::Link(Link::default())
            }
            Event::Socket(number, of, u) => {
                Input::RouterSocket { slot: slot(*number), router: router(*of), form: form(*u) }
            }
            Event::Packet(number, of, u, hop_limit, bytes) => {
                let source: Ipv6Addr = link_local(router(*of), form(*u));
                let (slot, form, hop_limit) = (slot(*number), form(*u), *hop_limit);
                Input::Packet { slot, form, source, hop_limit, bytes }
            }
            Event::Tunnelled(from, by, to, (place, octet), bytes) => {
                let source = link_local(router(*by), form(to & 1 == 0));
                let destinations =
                    ["ff02::1", "fe80::5efe:a00:100", "fe80::200:5efe:a00:100", "::1"];
                let destination = destinations.get(usize::from(*to)).unwrap_or(&"ff02::2");
                reply = icmp6::packet(source, destination.parse().unwrap(), bytes);
                if let Some(changed) = reply.get_mut(*place) {
                    *changed ^= octet;
                }
                // Mostly he himself.
                let from = if *from < 3 { router(*from) } else { router(*by) }.get();
                Input::Tunnelled { from, packet: &reply }
            }
            Event::SolicitFailed(number) => {
                let error = "no buffer space".repeat(usize::from(*number));
                Input::SolicitFailed { slot: slot(*number), form: UBit::Local, error }
            }
            Event::Ready(back) => match last(&self.ids, *back) {
                Some(id) => {
                    self.had.insert(id);
                    Input::DnsReady(id)
                }
                None => return,
            },
            Event::Reply(back, what) => {
                let Some((id, query)) = last(&self.queries, *back) else { return };
                reply = match what {
                    Reply::Octets(bytes) => bytes.clone(),
                    Reply::To(kind, ttl) => message::reply(&query, &answer(*kind, *ttl)),
                };
                Input::DnsReply { id, bytes: &reply }
            }
            Event::Failed(back) => match last(&self.ids, *back) {
                Some(id) => Input::DnsFailed { id, error: String::new() },
                None => return,
            },
            Event::Done(back, outcome) => {
                let Some(seq) = last(&self.seqs, *back) else { return };
                let outcome = match outcome {
                    0 => Outcome::Refused(Refusal::NoTunnel),
                    1 => Outcome::Failed(22),
                    _ => Outcome::Done,
                };
                // A socket comes before its answer, or not at all.
                if let Some(id) = self.asked.get(&seq).filter(|id| !self.had.contains(id)) {
                    self.open.remove(id);
                }
                Input::Done { seq, outcome }
            }
            Event::Command(0) => Input::Command(Command::Dump),
            Event::Command(1) => Input::Command(Command::Stop),
            Event::Command(_) => Input::Command(Command::Reload),
            Event::Timer => Input::Timer,
        };
        let now = Instant::since_boot(self.now);
        let actions = self.engine.handle(now, input);
        self.check(actions);
        assert!(self.engine.deadline().is_none_or(|deadline| deadline > now));
    }

    fn check(&mut self, actions: Vec<Action>) {
        assert!(actions.len() <= 400, "{} actions", actions.len());
        for action in actions {
            match action {
                Action::Send(up) => {
                    self.seqs.push(up.seq);
                    match up.request {
                        Request::OpenDns { id, .. } => {
                            self.ids.push(id);
                            self.open.insert(id);
                            self.asked.insert(up.seq, id);
                        }
                        Request::SetAddresses(list) => {
                            assert!(list.iter().all(|a| !a.valid.is_zero()));
                            assert!(list.iter().all(|a| a.preferred <= a.valid));
                        }
                        Request::SetRoutes(list) => {
                            assert!(list.iter().all(|r| !r.lifetime.is_zero()));
                            assert!(list.iter().all(|r| r.mtu.is_none_or(|m| m.get() <= 1480)));
                            assert!(list.iter().all(|r| r.hop_limit != Some(0)));
                            assert!(
                                self.backend == Some(Backend::Tun)
                                    || list.iter().all(|r| r.next_hop.is_some())
                            );
                        }
                        _ => {}
                    }
                }
                Action::SendDns { id, bytes } => self.queries.push((id, bytes)),
                Action::CloseDns(id) => drop(self.open.remove(&id)),
                Action::Solicit { .. } => assert_ne!(self.backend, Some(Backend::Tun)),
                Action::Transmit { packet, .. } => {
                    assert_eq!(self.backend, Some(Backend::Tun));
                    assert!(icmp6::open(&packet).is_ok());
                }
                Action::Publish(table) => {
                    assert_ne!(self.table, table);
                    check_table(&table);
                    self.table = table;
                }
                Action::Watch(_) => assert_eq!(self.backend, Some(Backend::Tun)),
                Action::CloseRouter(_) => {}
            }
        }
        assert!(self.open.len() <= MAX_DNS_SOCKETS, "{:?}", self.open);
    }

    /// Nothing but the clock, for an hour: no busy loop.
    fn idle(&mut self) {
        let end = self.now + secs(3600);
        let mut wakes = 0;
        while let Some(next) = self.engine.deadline().filter(|d| d.time_since_boot() <= end) {
            self.now = next.time_since_boot();
            self.tell(&Event::Timer);
            wakes += 1;
            assert!(wakes < 3000, "busy at {:?}", self.now);
        }
        assert!(format!("{:?}", self.engine).len() < 200_000);
    }
}

fn surroundings(number: u8) -> Surroundings {
    let many = usize::from(number);
    let next_hop = Some(router(number & 7)).filter(|_| number & 8 == 0);
    let destination = Ipv6Net::new(Ipv6Addr::LOCALHOST, number.min(128)).unwrap().trunc();
    Surroundings {
        own: Bounded::first_of(vec![router(number & 7).get(); many]),
        broadcasts: Bounded::first_of(vec![Ipv4Addr::BROADCAST; many]),
        addresses: Bounded::first_of(vec![Ipv6Addr::LOCALHOST; many]),
        routes: Bounded::first_of(vec![
            ForeignRoute {
                destination,
                next_hop,
                behind: number & 16 == 0
            };
            many
        ]),
    }
}

/// Bounded, in order, and whole or empty.
fn check_table(table: &Table) {
    let lengths: Vec<_> = table.routes.iter().map(|r| r.destination.prefix_len()).collect();
    assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
    assert!(table.routes.len() <= MAX_FOREIGN + MAX_DEFAULT_ROUTERS + MAX_INFORMATION_ROUTES);
    assert!(table.routers.is_sorted() && table.routers.len() <= MAX_ROUTERS);
    assert!(table.own.len() <= 2 + MAX_ADDRESSES + MAX_FOREIGN);
    assert!(table.on_link.len() <= MAX_ON_LINK && table.sources.len() <= MAX_ADDRESSES);
    let known = |route: &Route| {
        route.next_hop.zip(route.slot).is_some_and(|router| table.routers.contains(&router))
    };
    assert!(table.routes.iter().all(|route| route.slot.is_none() || known(route)));
    assert!(table.locator.is_some() || *table == Table::default());
}

fn answer(kind: u8, ttl: u32) -> Answer {
    match kind % 6 {
        0 => Answer::Code(kind >> 4),
        1 => Answer::Truncated,
        _ => {
            let count = u32::from(kind >> 2);
            let address = |i| Ipv4Addr::from(0x0a00_0001 + (ttl % 8) + i);
            Answer::Addresses((0..count).map(address).collect(), ttl % 700)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_in_any_order(
        seed in any::<[u8; 32]>(),
        by_path in any::<bool>(),
        first in event(),
        events in prop::collection::vec((event(), 0..40_000_u64), 1..200),
    ) {
        let mut machine = Machine {
            engine: Engine::new(seed),
            now: Duration::ZERO,
            ids: Vec::new(),
            seqs: Vec::new(),
            queries: Vec::new(),
            open: BTreeSet::new(),
            had: BTreeSet::new(),
            asked: HashMap::new(),
            backend: None,
            table: Arc::default(),
        };
        machine.tell(&first);
        machine.tell(&Event::Config(vec![0, 1, 5, 6], 0));
        machine.tell(&Event::Resolver(2, b"search a.example\n".to_vec(), Vec::new()));
        machine.tell(&Event::Link(Some((by_path, 0))));
        machine.tell(&Event::DataPath(true));
        for (event, wait) in &events {
            // Many at once, some after minutes.
            machine.now += Duration::from_millis(if wait % 3 == 0 { 0 } else { *wait });
            machine.tell(event);
        }
        machine.idle();
    }
}
