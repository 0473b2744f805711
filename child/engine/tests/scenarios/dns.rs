//! Names to routers.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::{MAX_FILE, Request, State, Transport};

use crate::message::{AUTONOMOUS, Answer, advert, prefix, reply};
use crate::world::{World, Zone, config, is_routers, secs};

pub(crate) fn a(address: &str, ttl: u32) -> Answer {
    Answer::Addresses(vec![address.parse().unwrap()], ttl)
}

pub(crate) fn zone(records: &[(&str, Answer)]) -> Zone {
    records.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())).collect()
}

/// These name servers; `isatap` or so is looked up with this resolv.conf.
pub(crate) fn world(names: &str, resolv_conf: &str, servers: Vec<Zone>) -> World {
    let mut world = World::new();
    world.servers = servers;
    world.tell(Input::Config(config(names)));
    world.resolver(resolv_conf);
    world
}

pub(crate) fn routers(world: &World) -> Vec<String> {
    world.routers().iter().map(|r| r.router.to_string()).collect()
}

pub(crate) fn asked(world: &World) -> Vec<(String, u8)> {
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

/// A line that goes on behind 64 KiB may say something else.
#[test]
fn no_line_of_a_file_is_used_in_part() {
    let mut world = World::new();
    world.servers = vec![zone(&[("*", a("10.0.0.9", 60))])];
    world.tell(Input::Config(config("isatap")));
    let cut = |line: &str| format!("{}\n{line}", "#".repeat(MAX_FILE - line.len() - 1));
    world.files("search a.example", &(cut("10.0.0.1 isatap") + "-old\n"));
    assert_eq!(routers(&world), ["10.0.0.9"]);
    world.files("search a.example", &cut("10.0.0.1 isatap"));
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// NXDOMAIN and SERVFAIL are told apart, in the log and in what follows.
#[test]
fn no_such_name_and_failure_are_different() {
    let no = world("isatap", "search site.example", vec![zone(&[("*", Answer::Code(3))])]);
    let line = "isatap: no such name in site.example; asks again, at least each 60 s";
    assert!(no.says(line), "{:?}", no.lines);
    assert_eq!(no.states(), [State::AwaitingNames]);
    assert_eq!(asked(&no), [("isatap.site.example".into(), 0)]);

    let empty = world("isatap", "search site.example", vec![zone(&[("*", Answer::Code(0))])]);
    assert!(empty.says("isatap: no usable address in site.example"));

    // A candidate that fails does not hide the next one, but the lookup has failed.
    let servers = zone(&[("isatap.a.example", Answer::Code(2)), ("*", Answer::Code(3))]);
    let fails = world("isatap", "search a.example b.example", vec![servers]);
    assert!(fails.says("isatap: name servers fail; asks again"), "{:?}", fails.lines);
    assert_eq!(fails.queries.iter().filter(|q| q.name == "isatap.a.example").count(), 1);

    let mut silent = world("isatap", "search a.example b.example", vec![Zone::new()]);
    silent.pass(secs(6));
    assert!(silent.says("isatap: name servers do not answer; asks again"));
    assert!(silent.queries.iter().all(|q| q.name == "isatap.a.example"), "{:?}", asked(&silent));
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
    world.queries.dedup_by_key(|query| query.id);
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
    world.resolver("# other");
    assert_eq!(world.queries.len(), 16);
    world.resolver("# other");
    assert_eq!(world.queries.len(), 16, "nothing has changed");
    world.pass(secs(60));
    let all = |world: &World, i| world.queries.iter().any(|q| q.name == format!("r{i}.example"));
    assert!((0..64).all(|i| all(&world, i)));
    assert_eq!(world.most_sockets, 8);
}

/// What the parent opens late, for a lookup that is over, is closed.
#[test]
fn late_sockets_are_closed() {
    use isatapd_engine::{Action, Engine, Instant};
    let now = Instant::since_boot(Duration::ZERO);
    let mut engine = Engine::new([0; 32]);
    engine.handle(now, Input::Config(config("r.example")));
    let files = |hosts| Input::Resolver { servers: 1, resolv_conf: &[], hosts };
    let opened = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| match action {
            Action::Send(up) => match up.request {
                Request::OpenDns { id, .. } => Some(id),
                _ => None,
            },
            _ => None,
        })
    };
    let id = opened(engine.handle(now, files(b""))).unwrap();
    let next = opened(engine.handle(now, files(b"#"))).unwrap();
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

/// LLMNR by way of a stub: a single label is no question for a name server.
#[test]
fn a_single_label_is_never_asked_for() {
    let all = || vec![zone(&[("*", a("10.6.6.6", 300))])];
    let mut bare = world("isatap", "options ndots:0", all());
    bare.pass(secs(600));
    let line = "isatap: no search domain; waits for resolv.conf to change";
    assert!(bare.says(line), "{:?}", bare.lines);
    assert_eq!(bare.engine.deadline(), None);
    assert_eq!((bare.queries.len(), bare.most_sockets), (0, 0));
    assert_eq!(bare.states(), [State::AwaitingNames]);
    bare.resolver("search a.example");
    assert_eq!(asked(&bare), [("isatap.a.example".into(), 0)]);
    assert_eq!(asked(&world("isatap.", "", all())), [("isatap".into(), 0)]);
}

/// A slow name server is heard in the last round: whichever of the queries it answers.
#[test]
fn a_slow_server_is_heard() {
    for (options, takes) in [("", 4), ("options timeout:30", 29)] {
        let mut world = world("r.example", options, vec![Zone::new()]);
        world.pass(secs(1));
        let query = world.queries[1].clone();
        world.pass(secs(takes));
        let same: Vec<_> = world.queries.iter().filter(|q| q.id == query.id).collect();
        assert!(same.iter().all(|q| q.bytes == query.bytes) && (3..=6).contains(&same.len()));
        let bytes = reply(&query.bytes, &a("10.0.0.1", 300));
        world.tell(Input::DnsReply { id: query.id, bytes: &bytes });
        assert_eq!(routers(&world), ["10.0.0.1"]);
    }
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

/// Who is no longer behind the name is no next hop any more; addresses of its own prefix are not used
/// for what begins, and not kept for longer than two hours.
#[test]
fn a_member_that_vanishes() {
    let both = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap()).to_vec();
    let mut world =
        world("r.example", "", vec![zone(&[("*", Answer::Addresses(both.clone(), 60))])]);
    world.link("10.0.0.5");
    let nets = ["2001:db8:1::", "2001:db8:2::", "2001:db8:3::"];
    let [first, second, shared] = nets.map(|net| prefix(net, AUTONOMOUS, 86400, 14400));
    world.hear(0, &advert(1800, &[first.clone(), shared.clone()]));
    world.hear(1, &advert(1800, &[second, shared]));
    world.servers = vec![zone(&[("*", a("10.0.0.2", 60))])];
    world.pass(secs(61));
    assert_eq!((routers(&world), world.closed.len()), (vec!["10.0.0.2".to_owned()], 1));
    let hops: Vec<_> = world.routes().iter().filter_map(|r| r.next_hop).collect();
    assert!(hops.iter().all(|hop| hop.slot.get() == 1) && hops.len() == 1, "{hops:?}");
    let lifetimes = |world: &World| -> Vec<_> {
        world.addresses().iter().map(|a| (a.valid.secs(), a.preferred.secs())).collect()
    };
    assert_eq!(lifetimes(&world), [(7200, 0), (86340, 14340), (86340, 14340)]);

    world.servers = vec![zone(&[("*", Answer::Addresses(both, 60))])];
    world.pass(secs(60));
    world.sockets();
    world.hear(0, &advert(1800, &[first]));
    assert_eq!(lifetimes(&world)[0], (86400, 14400));
}
