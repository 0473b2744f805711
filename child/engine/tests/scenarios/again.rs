//! When names are looked up again.

use std::time::Duration;

use isatapd_engine::{Action, Input, Instant};
use isatapd_proto::{Command, Config, Link, Outcome, Refusal, Request};

use crate::dns::{a, asked, routers, world, zone};
use crate::message::Answer;
use crate::world::{World, Zone, config, secs};

/// The times between queries since the last `clear`.
fn gaps(world: &World) -> Vec<Duration> {
    world.queries.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

/// One line for a state, not for each retry; while older addresses hold, retries after 1, 2, 4 … 60 s,
/// give or take a tenth.
#[test]
fn retries_back_off() {
    let mut world = world("r.example.", "", vec![zone(&[("*", a("10.0.0.1", 300))])]);
    world.servers = vec![zone(&[("*", Answer::Code(3))])];
    world.pass(secs(300));
    world.clear();
    world.pass(secs(600));
    for (gap, expected) in gaps(&world).iter().zip([2, 4, 8, 16, 32, 60, 60, 60]) {
        let expected = secs(expected);
        assert!(*gap >= expected * 9 / 10 && *gap <= expected * 11 / 10, "{:?}", gaps(&world));
    }
    assert_eq!(world.lines.iter().filter(|l| l.contains("no such name")).count(), 0);

    // The files change: at once, and from the beginning.
    world.clear();
    world.resolver("# other");
    world.pass(secs(2));
    assert_eq!(world.queries.len(), 2);
    world.servers = vec![zone(&[("*", a("10.0.0.1", 300))])];
    world.tell(Input::Command(Command::Reload));
    assert_eq!(routers(&world), ["10.0.0.1"]);
}

/// A name that comes at last is found a fifth of a second later, or a 32nd of the time that it has
/// not been there; and nobody is asked more than five times a second.
#[test]
fn a_name_that_is_not_there_yet() {
    for (names, resolv_conf, each) in [
        ("r.example.", "", 200),
        ("isatap", "search a.example b.example", 400),
        ("a.example. b.example.", "", 400),
    ] {
        let mut world = world(names, resolv_conf, vec![zone(&[("*", Answer::Code(3))])]);
        let start = world.now;
        world.pass(secs(3600));
        let last = &world.queries.last().unwrap().name;
        let of_one: Vec<_> =
            world.queries.iter().filter(|q| q.name == *last).map(|q| q.at).collect();
        for pair in of_one.windows(2) {
            let wait = ((pair[0] - start) / 32).clamp(Duration::from_millis(each), secs(60));
            let gap = pair[1] - pair[0];
            assert!(gap >= wait * 9 / 10 && gap <= wait * 11 / 10, "{names}: {gap:?} at {pair:?}");
        }
        let within = |time| world.queries.iter().filter(|q| q.at - start < secs(time)).count();
        assert!((24..=31).contains(&within(5)), "{names}: {} in 5 s", within(5));
        assert!(world.queries.len() <= 560, "{names}: {} in an hour", world.queries.len());
        let complaints = world.lines.iter().filter(|l| l.contains("no such name")).count();
        assert_eq!(complaints, world.routers().len() + names.split(' ').count());
    }
}

/// Those that fail by themselves are asked each second at most, those that cannot be reached more
/// often; those that are silent are given time.
#[test]
fn name_servers_that_fail() {
    let rate = |servers: Vec<Zone>, outcome: fn(&Request) -> Outcome| {
        let mut world = World::new();
        (world.servers, world.outcome) = (servers, outcome);
        world.tell(Input::Config(config("r.example.")));
        world.resolver("");
        world.clear();
        world.pass(secs(10));
        world.count(|r| matches!(r, Request::OpenDns { .. }))
    };
    let unreachable = |request: &Request| match request {
        Request::OpenDns { .. } => Outcome::Failed(111),
        _ => Outcome::Done,
    };
    let done = |_: &Request| Outcome::Done;
    let failing = || zone(&[("*", Answer::Code(2))]);
    let all: [(_, fn(&_) -> _, _); 4] = [
        (vec![failing()], done, 8..=11),
        (vec![Zone::new()], unreachable, 40..=50),
        (vec![Zone::new(), Zone::new(), Zone::new()], unreachable, 45..=54),
        (vec![Zone::new()], done, 3..=4),
    ];
    for (servers, outcome, expected) in all {
        let count = rate(servers, outcome);
        assert!(expected.contains(&count), "{count}, not {expected:?}");
    }
}

/// F21: whatever a name server makes up, a few lines and then one a minute; for the same fault one.
#[test]
fn complaints_are_bounded() {
    let faults = [3, 0, 2, 5].map(|code| vec![zone(&[("*", Answer::Code(code))])]);
    let mut world = world("r.example.", "", faults[0].clone());
    for turn in 0..600 {
        world.servers = faults[turn % 4].clone();
        world.pass(secs(1));
    }
    let lines = world.lines.len();
    assert!((10..=14).contains(&lines), "{lines} lines in 10 min: {:?}", world.lines);
    // An answer between two of them is no news either, unless its addresses are.
    world.clear();
    for turn in 0..600 {
        let good = vec![zone(&[("*", a("10.0.0.1", 1))])];
        world.servers = if turn % 2 == 0 { good } else { faults[2].clone() };
        world.pass(secs(11));
    }
    let lines = world.lines.len();
    assert!(lines <= 2 * 110 + 4, "{lines} lines in 110 min");
}

/// A10: min(PrlRefreshInterval, TTL), not below 10 s.
#[test]
fn refresh() {
    for (ttl, refresh, expected) in [
        (300, Some(secs(3600)), Some(300)),
        (7200, Some(secs(3600)), Some(3600)),
        (11, Some(secs(3600)), Some(11)),
        (1, Some(secs(3600)), Some(10)),
        (300, Some(secs(120)), Some(120)),
        (u32::MAX, Some(secs(3600)), Some(3600)),
        (u32::MAX, Some(secs(2_000_000)), Some(604_800)),
        (300, None, None),
        (0, None, None),
    ] {
        let mut world = World::new();
        world.servers = vec![zone(&[("*", a("10.0.0.1", ttl))])];
        world.tell(Input::Config(Config { prl_refresh: refresh, ..config("r.example") }));
        world.resolver("");
        let at = world.engine.deadline().map(|d| (d.time_since_boot() - world.now).as_secs());
        assert_eq!(at, expected, "TTL {ttl}");
    }
}

/// A TTL of zero: looked up a second before its router is solicited, but not more often than each
/// 10 s.
#[test]
fn ttl_zero() {
    let mut world = world("r.example", "", vec![zone(&[("*", a("10.0.0.1", 0))])]);
    world.link("10.0.0.5");
    world.clear();
    // The router is silent: at 4, 12, 28 … s.
    world.pass(secs(3600));
    let before = |world: &World, at: Duration| {
        world.queries.iter().any(|q| q.at < at && at - q.at <= secs(10))
    };
    assert!(
        world.solicited.iter().skip(1).all(|(at, ..)| before(&world, *at)),
        "{:?}",
        gaps(&world)
    );
    assert!(world.solicited.len() >= 8 && world.queries.len() <= world.solicited.len() + 1);
    assert!(gaps(&world).iter().all(|gap| *gap >= secs(10)), "{:?}", gaps(&world));

    // It answers from now on: once for each solicitation, by the addresses of a second before.
    world.tell(Input::Command(Command::Reload));
    world.hear(0, &crate::message::advert(1800, &[]));
    for _ in 0..10 {
        world.clear();
        while world.solicited.is_empty() {
            world.pass(secs(1));
        }
        let at = world.solicited[0].0;
        let [query] = &world.queries[..] else { panic!("{:?}", asked(&world)) };
        assert!(at - query.at <= secs(1), "solicited at {at:?}, asked at {:?}", query.at);
        world.hear(0, &crate::message::advert(1800, &[]));
    }
    // Another router is in the list before the old one would be solicited.
    world.servers = vec![zone(&[("*", a("10.0.0.2", 0))])];
    world.clear();
    world.pass(secs(1800));
    assert_eq!(routers(&world), ["10.0.0.2"]);
    assert!(world.solicited.is_empty());
}

/// A11, N-6: failures and denials keep the list; a denial for a day beyond the TTL ends it.
#[test]
fn the_old_list_is_kept() {
    let mut world = world("r.example", "", vec![zone(&[("*", a("10.0.0.1", 300))])]);
    world.servers = vec![zone(&[("*", Answer::Code(3))])];
    world.pass(secs(24 * 3600));
    assert_eq!(routers(&world), ["10.0.0.1"]);
    assert!(world.says("r.example: no such name, keeps 1 address; asks again, at least each 60 s"));
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

/// RFC 8767 section 4: no answer is fresh for more than a week, so that a denial has effect.
#[test]
fn a_huge_ttl_is_a_week() {
    for ttl in [604_801, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut world = world("r.example", "", vec![zone(&[("*", a("10.0.0.1", ttl))])]);
        world.servers = vec![zone(&[("*", Answer::Code(3))])];
        world.pass(secs(8 * 24 * 3600 - 1));
        assert_eq!(routers(&world), ["10.0.0.1"], "{ttl}");
        world.pass(secs(70));
        assert_eq!(routers(&world), [""; 0], "{ttl}");
    }
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
    assert!((100..=200).contains(&opens), "{opens} sockets asked for in a minute");
    assert_eq!(world.closed_dns.len(), opens, "who waits for them is told that they are over");
}

/// A lookup that failed for want of a network goes on the moment there is one, and a storm of
/// changes makes no storm of queries.
#[test]
fn a_changed_network_is_worth_another_try() {
    let silent = vec![zone(&[])];
    let mut world = world("isatap", "search site.example", silent);
    world.pass(secs(2000));
    while world.queries.last().is_some_and(|last| last.at + secs(6) > world.now) {
        world.pass(secs(1));
    }
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

/// Silence for up to a minute: a name server that speaks again is heard within two seconds, or within
/// one and the pause between two lookups.
#[test]
fn a_name_server_that_was_silent() {
    for tenths in (10..600).step_by(7) {
        let mut world = world("r.example.", "", vec![Zone::new()]);
        world.pass(Duration::from_millis(tenths * 100));
        assert!(world.queries.len() < 10 + usize::try_from(tenths / 10).unwrap());
        world.servers = vec![zone(&[("*", a("10.0.0.1", 300))])];
        let begin = world.now;
        while world.routers().is_empty() {
            world.pass(Duration::from_millis(10));
        }
        let (took, pause) = (world.now - begin, Duration::from_millis(tenths * 100) * 11 / 320);
        assert!(took <= (secs(1) + pause).max(secs(2)) + Duration::from_millis(300), "{took:?}");
    }
}
