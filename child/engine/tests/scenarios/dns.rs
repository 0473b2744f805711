//! Names to routers.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_engine::{Action, Input, Instant};
use isatapd_proto::{Command, Config, Link, Outcome, Refusal, Request, State, Transport};

use crate::message::{Answer, reply};
use crate::world::{World, Zone, config, is_routers, secs};

fn a(address: &str, ttl: u32) -> Answer {
    Answer::Addresses(vec![address.parse().unwrap()], ttl)
}

fn zone(records: &[(&str, Answer)]) -> Zone {
    records.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())).collect()
}

/// These name servers; `isatap` or so is looked up with this resolv.conf.
fn world(names: &str, resolv_conf: &str, servers: Vec<Zone>) -> World {
    let mut world = World::new();
    world.servers = servers;
    world.tell(Input::Config(config(names)));
    world.resolver(resolv_conf);
    world
}

fn routers(world: &World) -> Vec<String> {
    world.routers().iter().map(|r| r.router.to_string()).collect()
}

fn asked(world: &World) -> Vec<(String, u8)> {
    world.queries.iter().map(|q| (q.name.clone(), q.server)).collect()
}

#[test]
fn the_search_list_is_gone_through() {
    let servers = zone(&[("isatap.b.example", a("10.0.0.1", 300)), ("*", Answer::Code(3))]);
    let world = world("isatap", "search a.example b.example", vec![servers]);
    let names: Vec<_> = world.queries.iter().map(|q| q.name.as_str()).collect();
    assert_eq!(names, ["isatap.a.example", "isatap.b.example"]);
    assert_eq!(routers(&world), ["10.0.0.1"]);
    assert_eq!(world.states(), [State::AwaitingRouters]);
    assert!(world.says("isatap: 1 address as isatap.b.example, time to live 300 s"));
}

#[test]
fn the_hosts_file_comes_first_and_needs_no_timer() {
    let mut world = World::new();
    world.servers = vec![zone(&[("*", a("10.0.0.9", 60))])];
    world.tell(Input::Config(config("isatap")));
    world.files("search a.example", "10.0.0.1 isatap\n10.0.0.2 isatap # too\n");
    assert_eq!(routers(&world), ["10.0.0.1", "10.0.0.2"]);
    assert!(world.queries.is_empty());
    assert_eq!(world.engine.deadline(), None);
    world.files("search a.example", "10.0.0.2 isatap\n");
    assert_eq!(routers(&world), ["10.0.0.2"]);
    world.files("search a.example", "0.0.0.0 isatap\n");
    assert_eq!(routers(&world), ["10.0.0.9"]);
}

/// NXDOMAIN and SERVFAIL are told apart, in the log and in what follows.
#[test]
fn no_such_name_and_failure_are_different() {
    let no = world("isatap", "search site.example", vec![zone(&[("*", Answer::Code(3))])]);
    assert!(no.says("isatap: no such name in site.example; asks again in 1 s"), "{:?}", no.lines);
    assert_eq!(no.states(), [State::AwaitingNames]);
    assert_eq!(asked(&no), [("isatap.site.example".into(), 0)]);

    let empty = world("isatap", "search site.example", vec![zone(&[("*", Answer::Code(0))])]);
    assert!(empty.says("isatap: no usable address in site.example"));

    // A candidate that fails does not hide the next one, but the lookup has failed.
    let servers = zone(&[("isatap.a.example", Answer::Code(2)), ("*", Answer::Code(3))]);
    let fails = world("isatap", "search a.example b.example", vec![servers]);
    assert!(fails.says("isatap: name servers fail; asks again in 1 s"), "{:?}", fails.lines);
    assert_eq!(fails.queries.iter().filter(|q| q.name == "isatap.a.example").count(), 2);

    let mut silent = world("isatap", "search a.example b.example", vec![Zone::new()]);
    silent.pass(secs(6));
    assert!(silent.says("isatap: name servers do not answer; asks again in 1 s"));
    assert!(silent.queries.iter().all(|q| q.name == "isatap.a.example"), "{:?}", asked(&silent));
}

/// One line for a state, not for each retry; retries after 1, 2, 4 … 60 s, give or take a tenth.
#[test]
fn retries_back_off() {
    let mut world = world("r.example.", "", vec![zone(&[("*", Answer::Code(3))])]);
    world.pass(secs(600));
    let times: Vec<_> = world.queries.iter().map(|q| q.at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
        let expected = secs(expected);
        assert!(*gap >= expected * 9 / 10 && *gap <= expected * 11 / 10, "{gaps:?}");
    }
    assert_eq!(world.lines.iter().filter(|l| l.contains("no such name")).count(), 1);

    // The files change: at once, and from the beginning.
    world.clear();
    world.resolver("");
    world.pass(secs(2));
    assert_eq!(world.queries.len(), 2);
    world.servers = vec![zone(&[("*", a("10.0.0.1", 300))])];
    world.tell(Input::Command(Command::Reload));
    assert_eq!(routers(&world), ["10.0.0.1"]);
    assert_eq!(world.states(), [State::AwaitingRouters]);
}

/// A dead server costs a second; its successor is asked; the wait doubles with each round.
#[test]
fn servers_in_order_and_rounds() {
    let good = zone(&[("*", a("10.0.0.1", 300))]);
    let mut second = world("r.example", "", vec![Zone::new(), good]);
    second.pass(secs(1));
    assert_eq!(asked(&second), [("r.example".into(), 0), ("r.example".into(), 1)]);
    assert_eq!(routers(&second), ["10.0.0.1"]);

    let options = "options attempts:4 timeout:3";
    let mut world = world("r.example", options, vec![Zone::new(), Zone::new()]);
    let start = world.now;
    world.pass(secs(18));
    let asked: Vec<_> =
        world.queries.iter().map(|q| ((q.at - start).as_secs(), q.server)).collect();
    let expected = [(0, 0), (1, 1), (2, 0), (4, 1), (6, 0), (9, 1), (12, 0), (15, 1)];
    assert_eq!(asked[..8], expected);
    assert!(world.says("do not answer"));
    assert_eq!(world.counter("DNS queries without answer"), 8);
}

#[test]
fn rotation() {
    let good = zone(&[("*", a("10.0.0.1", 30))]);
    let servers = vec![good.clone(), good.clone(), good];
    let mut world = world("r.example", "options rotate", servers);
    world.pass(secs(95));
    let servers: Vec<_> = world.queries.iter().map(|q| q.server).collect();
    assert_eq!(servers, [0, 1, 2, 0]);
}

/// Truncation: the same server by TCP. A server without EDNS: the same server without.
#[test]
fn tcp_and_no_edns() {
    let mut world = World::new();
    world.servers = vec![Zone::new()];
    world.tell(Input::Config(config("r.example")));
    world.resolver("");
    for (answer, tcp, edns) in [
        (Answer::Code(1), Transport::Udp, false),
        (Answer::Truncated, Transport::Tcp, false),
        (a("10.0.0.1", 60), Transport::Tcp, false),
    ] {
        let query = world.queries.pop().unwrap();
        let bytes = reply(&query.bytes, &answer);
        world.tell(Input::DnsReply { id: query.id, bytes: &bytes });
        if let Some(next) = world.queries.last() {
            assert_eq!((next.transport, next.edns, next.server), (tcp, edns, 0));
        }
    }
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// Each query has a socket and an id of its own.
#[test]
fn ids_are_random() {
    let mut world = world("r.example.", "", vec![zone(&[("*", Answer::Code(3))])]);
    world.pass(secs(3000));
    let mut ids: Vec<_> = world.queries.iter().map(|q| q.bytes[..2].to_vec()).collect();
    let sockets: Vec<_> = world.queries.iter().map(|q| q.id).collect();
    assert!(sockets.windows(2).all(|pair| pair[0] < pair[1]));
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(count > 40 && ids.len() >= count - 2);
}

/// N-5: forged replies of wrong ids, names or shapes neither end the lookup nor move its timers.
#[test]
fn forged_replies_are_waited_past() {
    let mut world = world("r.example", "", vec![Zone::new()]);
    let query = world.queries[0].clone();
    let (before, actions) = (world.engine.deadline(), world.count(|_| true));
    let right = reply(&query.bytes, &a("10.6.6.6", 60));
    for wrong in 1..=u8::MAX {
        let mut bytes = right.clone();
        bytes[1] ^= wrong;
        world.tell(Input::DnsReply { id: query.id, bytes: &bytes });
        world.tell(Input::DnsReply { id: query.id, bytes: &right[..usize::from(wrong) % 40] });
    }
    let mut name = right.clone();
    name[13] = b'x';
    world.tell(Input::DnsReply { id: query.id, bytes: &name });
    assert_eq!((world.engine.deadline(), world.count(|_| true)), (before, actions));
    assert!(world.routers().is_empty());
    assert_eq!(world.counter("DNS replies that are no answer"), 511);
    let bytes = reply(&query.bytes, &a("10.0.0.1", 60));
    world.tell(Input::DnsReply { id: query.id, bytes: &bytes });
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// A10: min(PrlRefreshInterval, TTL), not below 30 s.
#[test]
fn refresh() {
    for (ttl, refresh, expected) in [
        (300, Some(secs(3600)), Some(300)),
        (7200, Some(secs(3600)), Some(3600)),
        (1, Some(secs(3600)), Some(30)),
        (u32::MAX, Some(secs(3600)), None),
        (300, None, None),
        (0, None, None),
    ] {
        let mut world = World::new();
        world.servers = vec![zone(&[("*", a("10.0.0.1", ttl))])];
        world.tell(Input::Config(Config { prl_refresh: refresh, ..config("r.example") }));
        world.resolver("");
        let at = world.engine.deadline().map(|d| (d.time_since_boot() - world.now).as_secs());
        // A TTL of 2^31 and more is zero (RFC 2181 section 8).
        let expected = if ttl == u32::MAX { Some(120) } else { expected };
        assert_eq!(at, expected, "TTL {ttl}");
    }
}

/// A TTL of zero: looked up before its router is solicited, but not more often than each 120 s.
#[test]
fn ttl_zero() {
    let mut world = world("r.example", "", vec![zone(&[("*", a("10.0.0.1", 0))])]);
    world.link("10.0.0.5");
    world.pass(secs(119));
    assert_eq!(world.queries.len(), 1);
    world.hear(0, &crate::message::advert(9000, &[]));
    world.clear();
    world.pass(secs(4 * 3600));
    assert!(world.queries.len() >= 4 && world.queries.len() <= 120, "{}", world.queries.len());
    for (at, ..) in &world.solicited {
        let due = world.queries.iter().any(|q| q.at <= *at && *at - q.at <= secs(120));
        assert!(due, "solicited at {at:?} by old addresses");
    }
    let times: Vec<_> = world.queries.iter().map(|q| q.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= secs(120)));
}

/// A11, N-6: failures and denials keep the list; a denial for a day beyond the TTL ends it.
#[test]
fn the_old_list_is_kept() {
    let mut world = world("r.example", "", vec![zone(&[("*", a("10.0.0.1", 300))])]);
    world.servers = vec![zone(&[("*", Answer::Code(3))])];
    world.pass(secs(24 * 3600));
    assert_eq!(routers(&world), ["10.0.0.1"]);
    assert!(world.says("r.example: no such name, keeps 1 address; asks again in 1 s"));
    world.pass(secs(600));
    assert_eq!(routers(&world), [""; 0]);
    assert_eq!(world.closed.len(), 1);
    world.servers = vec![zone(&[("*", a("10.0.0.2", 300))])];
    world.pass(secs(70));
    assert_eq!(routers(&world), ["10.0.0.2"]);

    world.servers = vec![zone(&[("*", Answer::Code(2))])];
    world.pass(secs(10 * 24 * 3600));
    assert_eq!(routers(&world), ["10.0.0.2"]);
}

/// The order of the answer is not news; another address is, and those that stay keep their slots.
#[test]
fn members_keep_their_slots() {
    let many = |list: &str| -> Zone {
        let list: Vec<Ipv4Addr> = list.split(' ').map(|a| a.parse().unwrap()).collect();
        zone(&[("*", Answer::Addresses(list, 60))])
    };
    let mut world = world("r.example", "", vec![many("10.0.0.1 10.0.0.2 10.0.0.3")]);
    world.servers = vec![many("10.0.0.3 10.0.0.1 10.0.0.2")];
    world.pass(secs(61));
    assert_eq!((world.queries.len(), world.count(is_routers)), (2, 1));
    world.servers = vec![many("10.0.0.4 10.0.0.3 10.0.0.1")];
    world.pass(secs(61));
    let slots: Vec<_> =
        world.routers().iter().map(|r| (r.slot.get(), r.router.to_string())).collect();
    let expected = [(0, "10.0.0.1"), (1, "10.0.0.4"), (2, "10.0.0.3")];
    assert_eq!(slots, expected.map(|(slot, router)| (slot, router.to_owned())));
}

#[test]
fn eight_sockets_at_most() {
    let names: Vec<_> = (0..64).map(|i| format!("r{i}.example")).collect();
    let mut world = world(&names.join(" "), "", vec![Zone::new()]);
    assert_eq!((world.queries.len(), world.most_sockets), (8, 8));
    // The files change while they are out: all of them anew.
    world.resolver("");
    assert_eq!(world.queries.len(), 16);
    world.pass(secs(60));
    let all = |world: &World, i| world.queries.iter().any(|q| q.name == format!("r{i}.example"));
    assert!((0..64).all(|i| all(&world, i)));
    assert_eq!(world.most_sockets, 8);
}

/// A socket that is refused counts as its server's failure; nothing spins.
#[test]
fn refused_sockets() {
    let mut world = World::new();
    world.servers = vec![Zone::new(), Zone::new()];
    world.outcome = |request| match request {
        Request::OpenDns { .. } => Outcome::Refused(Refusal::TooMany),
        _ => Outcome::Done,
    };
    world.tell(Input::Config(config("r.example")));
    world.resolver("");
    world.pass(secs(60));
    let opens = world.count(|r| matches!(r, Request::OpenDns { .. }));
    assert!((20..=28).contains(&opens), "{opens} sockets asked for in a minute");
    assert_eq!(world.closed_dns.len(), opens, "who waits for them is told that they are over");
}

/// What the parent opens late, for a lookup that is over, is closed.
#[test]
fn late_sockets_are_closed() {
    use isatapd_engine::{Action, Engine, Instant};
    let now = Instant::since_boot(Duration::ZERO);
    let mut engine = Engine::new([0; 32]);
    engine.handle(now, Input::Config(config("r.example")));
    let files = |servers| Input::Resolver { servers, resolv_conf: &[], hosts: &[] };
    let opened = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| match action {
            Action::Send(up) => match up.request {
                Request::OpenDns { id, .. } => Some(id),
                _ => None,
            },
            _ => None,
        })
    };
    let id = opened(engine.handle(now, files(1))).unwrap();
    let next = opened(engine.handle(now, files(1))).unwrap();
    assert_eq!(engine.handle(now, Input::DnsReady(id)), [Action::CloseDns(id)]);
    assert!(matches!(engine.handle(now, Input::DnsReady(next))[..], [Action::SendDns { .. }]));
    // Never asked for.
    let stray = isatapd_proto::DnsId(77);
    assert_eq!(engine.handle(now, Input::DnsReady(stray)), [Action::CloseDns(stray)]);
}

#[test]
fn without_name_servers() {
    let mut world = world("r.example", "", vec![]);
    assert!(world.says("r.example: no name server; waits for resolv.conf to change"));
    assert_eq!((world.engine.deadline(), world.states()), (None, vec![State::AwaitingNames]));
    world.servers = vec![zone(&[("*", a("10.0.0.1", 300))])];
    world.resolver("");
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// E9: no name but the candidates is ever asked for, and none of a parent domain.
#[test]
fn no_devolution() {
    let mut world =
        world("isatap", "search deep.site.example", vec![zone(&[("*", Answer::Code(3))])]);
    world.pass(secs(60));
    assert!(world.queries.iter().all(|q| q.name == "isatap.deep.site.example"));
}

#[test]
fn names_and_addresses_in_the_operators_order() {
    let servers = zone(&[("a.example", a("10.0.0.2", 60)), ("b.example", a("10.0.0.1", 60))]);
    let world = world("10.0.0.3 a.example 10.0.0.1 b.example", "", vec![servers]);
    assert_eq!(routers(&world), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
}

/// A lookup that failed for want of a network goes on the moment there is one, and a storm of
/// changes makes no storm of queries.
#[test]
fn a_changed_network_is_worth_another_try() {
    let silent = vec![zone(&[])];
    let mut world = world("isatap", "search site.example", silent);
    world.pass(secs(200));
    let before = world.queries.len();
    let change = || Input::Link(Link::default());
    world.servers = vec![zone(&[("isatap.site.example", a("10.0.0.1", 300))])];
    world.tell(change());
    assert_eq!(world.queries.len(), before + 1);
    assert_eq!(routers(&world), ["10.0.0.1"]);
    world.tell(change());
    assert_eq!(world.queries.len(), before + 1, "nothing fails, nothing is asked");
    world.servers = vec![zone(&[])];
    world.pass(secs(1000));
    let before = world.queries.len();
    for _ in 0..100 {
        world.tell(change());
    }
    assert!(world.queries.len() <= before + 5, "{}", world.queries.len() - before);
}

/// A query that leaves between the first sign of a network and its route fails: that is not yet the
/// time to wait.
#[test]
fn what_fails_while_the_network_changes_is_tried_at_once() {
    // How many sockets are asked for at the first change, if each fails; with another change or not.
    let asked = |once_more: bool| {
        let mut world = World::new();
        world.servers = vec![Zone::new()];
        world.tell(Input::Config(config("r.example")));
        world.outcome = |request| match request {
            Request::OpenDns { .. } => Outcome::Failed(101),
            _ => Outcome::Done,
        };
        world.resolver("");
        world.pass(secs(3));
        let mut now = Instant::since_boot(world.now);
        let mut actions = world.engine.handle(now, Input::Link(Link::default()));
        let mut count = 0;
        while let Some(seq) = actions.iter().find_map(|action| match action {
            Action::Send(up) if matches!(up.request, Request::OpenDns { .. }) => Some(up.seq),
            _ => None,
        }) {
            count += 1;
            if count == 1 && once_more {
                world.engine.handle(now, Input::Link(Link::default()));
            }
            let outcome = Outcome::Failed(101);
            actions = world.engine.handle(now, Input::Done { seq, outcome });
            now = now.after(Duration::from_millis(10));
            actions.extend(world.engine.handle(now, Input::Timer));
        }
        count
    };
    assert_eq!(asked(true), 2 * asked(false));
}

/// A storm of changes for longer than a lookup takes does not keep it from ending.
#[test]
fn a_lookup_that_has_begun_goes_on() {
    let silent = Zone::new;
    let mut world = world("r.example", "", vec![silent(), silent(), silent()]);
    world.pass(secs(30));
    world.servers = vec![silent(), silent(), zone(&[("*", a("10.0.0.1", 300))])];
    for _ in 0..100 {
        world.pass(Duration::from_millis(500));
        world.tell(Input::Link(Link::default()));
    }
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// LLMNR by way of a stub: a single label is no question for a name server.
#[test]
fn a_single_label_is_never_asked_for() {
    let all = || vec![zone(&[("*", a("10.6.6.6", 300))])];
    let mut bare = world("isatap", "options ndots:0", all());
    bare.pass(secs(600));
    assert!(bare.says("isatap: no such name; asks again in 1 s"), "{:?}", bare.lines);
    assert_eq!((bare.queries.len(), bare.most_sockets), (0, 0));
    assert_eq!(bare.states(), [State::AwaitingNames]);
    bare.resolver("search a.example");
    assert_eq!(asked(&bare), [("isatap.a.example".into(), 0)]);
    assert_eq!(asked(&world("isatap.", "", all())), [("isatap".into(), 0)]);
}

/// A name server that takes four seconds is heard in the last round.
#[test]
fn a_slow_server_is_heard() {
    let mut world = world("r.example", "", vec![Zone::new()]);
    world.pass(secs(1));
    let query = world.queries[1].clone();
    world.pass(secs(4));
    let bytes = reply(&query.bytes, &a("10.0.0.1", 300));
    world.tell(Input::DnsReply { id: query.id, bytes: &bytes });
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// What the hosts file no longer has is gone, unless name servers say nothing of it.
#[test]
fn a_name_taken_out_of_the_hosts_file() {
    for (servers, kept) in [
        (vec![zone(&[("*", Answer::Code(3))])], false),
        (vec![zone(&[("*", Answer::Code(0))])], false),
        (vec![], false),
        (vec![zone(&[("*", Answer::Code(2))])], true),
    ] {
        let mut world = World::new();
        world.servers = servers;
        world.tell(Input::Config(config("r.example")));
        world.files("", "10.0.0.1 r.example\n");
        assert_eq!(routers(&world), ["10.0.0.1"]);
        world.files("", "");
        world.pass(secs(20));
        assert_eq!(!routers(&world).is_empty(), kept, "{:?}", world.lines);
    }
}
