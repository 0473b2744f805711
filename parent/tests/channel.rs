//! What the parent makes of anything that can come over the channel, on a real pair of sockets.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use isatapd::child::{Child, Heard, Violation};
use isatapd_proto::isatap::UBit;
use isatapd_proto::{
    AddressWish, Bounded, Command, DecodeError, DnsId, Event, Level, Lifetime, LogRecord,
    MAX_ADDRESSES, MAX_EVENT, MAX_LOG, MAX_REQUEST, MAX_ROUTERS, MAX_ROUTES, Mtu, NextHop, Phase,
    Preference, Request, RouteDestination, RouteWish, RouterWish, Seq, State, Text, Transport, Up,
    decode, encode,
};
use isatapd_security::{Channel, ReceiveError};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;
use proptest::prelude::*;

/// A child that does what the test does, and the test's end of its channel.
fn child() -> (Child, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    // No process ever has this number: what is to be killed is nobody.
    let child = Child::adopt(Pid::from_raw(i32::MAX), ours, Instant::now());
    (child, Channel::adopt(theirs))
}

/// One that has said `StartupDone`, with number 0.
fn running() -> (Child, Channel) {
    let (mut child, theirs) = child();
    theirs.send(&frame(0, Request::StartupDone), &[]).unwrap();
    assert!(matches!(child.hear(), Ok(Heard::Request(Seq(0), Request::StartupDone))));
    assert_eq!(child.phase(), Phase::Running);
    (child, theirs)
}

fn frame(seq: u32, request: Request) -> Vec<u8> {
    encode(&Up { seq: Seq(seq), request }).unwrap()
}

fn lifetimes() -> [Lifetime; 4] {
    [0, 1, u32::MAX - 1, u32::MAX].map(Lifetime::from_secs)
}

fn some_routers(count: usize) -> Request {
    let wish = |n: u8| {
        let router = Ipv4Addr::new(223, 255, 255, n).try_into().unwrap();
        RouterWish { slot: n.try_into().unwrap(), router }
    };
    Request::SetRouters(Bounded::first_of((0..64).take(count).map(wish)))
}

fn some_addresses(count: usize, lifetime: Lifetime) -> Request {
    let wish = |n: u16| AddressWish {
        prefix: Ipv6Addr::new(0xfdff, 0, 0, n, 0, 0, 0, 0).try_into().unwrap(),
        on_link: n.is_multiple_of(2),
        valid: lifetime,
        preferred: lifetime,
    };
    Request::SetAddresses(Bounded::first_of((0..).take(count).map(wish)))
}

fn some_routes(count: usize, lifetime: Lifetime, mtu: u16, hop_limit: u8) -> Request {
    let wish = |n: u16| {
        let net = Ipv6Net::new(Ipv6Addr::new(0x3fff, 0, 0, n, 0, 0, 0, 0), 128).unwrap();
        RouteWish {
            destination: RouteDestination::try_from(net).unwrap(),
            next_hop: Some(NextHop { slot: 63.try_into().unwrap(), form: UBit::Universal }),
            preference: Preference::High,
            lifetime,
            mtu: Some(Mtu::try_from(mtu).unwrap()),
            hop_limit: Some(hop_limit),
            reachable: hop_limit > 0,
        }
    };
    Request::SetRoutes(Bounded::first_of((0..).take(count).map(wish)))
}

/// Every request but `StartupDone` and `Pong`, with every field at its ends.
fn requests() -> Vec<Request> {
    let mut all = Vec::new();
    for (id, server) in [(0, 0), (u32::MAX, 2)] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let server = server.try_into().unwrap();
            all.push(Request::OpenDns { id: DnsId(id), server, transport });
        }
    }
    all.extend([0, 1, MAX_ROUTERS].map(some_routers));
    for lifetime in lifetimes() {
        all.extend([0, 1, MAX_ADDRESSES].map(|n| some_addresses(n, lifetime)));
        all.extend([0, 1, MAX_ROUTES].map(|n| some_routes(n, lifetime, 1280, 0)));
        all.push(some_routes(MAX_ROUTES, lifetime, u16::MAX, u8::MAX));
    }
    let states = [State::AwaitingNames, State::AwaitingRouters, State::Working];
    all.extend(states.map(Request::Report));
    all.push(Request::WatchTraffic);
    for text in ["", "\0\n\u{1b}[2J", &"x".repeat(MAX_LOG), &"\u{10ffff}".repeat(MAX_LOG / 4)] {
        all.extend([Level::Error, Level::Debug].map(|level| log(level, text)));
    }
    all
}

fn log(level: Level, text: &str) -> Request {
    Request::Log(LogRecord { level, text: Text::cut(text) })
}

#[test]
fn every_request_is_heard_as_it_was_said() {
    let (mut child, theirs) = running();
    for (seq, request) in (1..).zip(requests()) {
        theirs.send(&frame(seq, request.clone()), &[]).unwrap();
        let Ok(Heard::Request(heard, same)) = child.hear() else { panic!("{request:?}") };
        assert_eq!((heard, same), (Seq(seq), request));
        assert!(matches!(child.hear(), Ok(Heard::Silence)));
    }
}

#[test]
fn no_request_can_be_cut_short_or_drawn_out() {
    let (mut child, theirs) = running();
    for request in requests() {
        let octets = frame(1, request);
        // All cuts of the short ones; of the long ones those at both ends.
        let near = |n: &usize| *n < 80 || n + 80 > octets.len();
        for end in (1..octets.len()).filter(near) {
            theirs.send(&octets[..end], &[]).unwrap();
            let heard = child.hear();
            let malformed = Err(Violation::Decode(DecodeError::Malformed));
            assert!(same(&heard, &malformed), "{end} of {octets:?}");
        }
        for more in [1, 2, 100] {
            let longer = [octets.clone(), vec![0; more]].concat();
            theirs.send(&longer, &[]).unwrap();
            match child.hear() {
                Err(Violation::Decode(DecodeError::Trailing(left))) => assert_eq!(left, more),
                Err(Violation::Frame(ReceiveError::Truncated)) => {
                    assert!(longer.len() > MAX_REQUEST);
                }
                _ => panic!("{longer:?}"),
            }
        }
    }
}

fn same(heard: &Result<Heard, Violation>, wanted: &Result<Heard, Violation>) -> bool {
    match (heard, wanted) {
        (Err(heard), Err(wanted)) => heard.to_string() == wanted.to_string(),
        _ => false,
    }
}

#[test]
fn frames_of_any_size_are_judged_by_it() {
    let (mut child, theirs) = running();
    for size in [1, MAX_REQUEST, MAX_REQUEST + 1, 65_536] {
        theirs.send(&vec![0xff; size], &[]).unwrap();
        match child.hear() {
            Err(Violation::Decode(DecodeError::Malformed)) => assert!(size <= MAX_REQUEST),
            Err(Violation::Frame(ReceiveError::Truncated)) => assert!(size > MAX_REQUEST),
            _ => panic!("{size}"),
        }
    }
    // An empty one is the end, as is the real one.
    send(theirs.as_fd().as_raw_fd(), &[], MsgFlags::empty()).unwrap();
    assert!(matches!(child.hear(), Ok(Heard::End)));
    drop(theirs);
    assert!(matches!(child.hear(), Ok(Heard::End)));
}

#[test]
fn no_descriptor_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passed");
    let file = File::create(&path).unwrap();
    let (mut child, theirs) = running();
    let octets = frame(1, some_routers(1));
    for count in 1..=253 {
        theirs.send(&octets, &vec![file.as_fd(); count]).unwrap();
        let Err(Violation::Frame(ReceiveError::TooManyDescriptors(n))) = child.hear() else {
            panic!("{count}")
        };
        assert_eq!(n, count);
    }
    // Too long as well.
    theirs.send(&vec![0xff; 65_536], &[file.as_fd(); 253]).unwrap();
    assert!(matches!(child.hear(), Err(Violation::Frame(_))));
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = links.filter(|link| fs::read_link(link.path()).is_ok_and(|to| to == path)).count();
    assert_eq!(open, 1);
}

#[test]
fn numbers_only_rise() {
    for (first, second, good) in [
        (1, 2, true),
        (1, u32::MAX, true),
        (1, 1, false),
        (2, 1, false),
        (u32::MAX, 0, false),
        (u32::MAX, u32::MAX, false),
    ] {
        let (mut child, theirs) = running();
        for (seq, good) in [(first, true), (second, good)] {
            // The number of what is not answered counts for nothing.
            theirs.send(&frame(u32::MAX, log(Level::Info, "")), &[]).unwrap();
            assert!(matches!(child.hear(), Ok(Heard::Request(..))));
            theirs.send(&frame(seq, some_routers(1)), &[]).unwrap();
            match child.hear() {
                Ok(Heard::Request(heard, _)) => assert!(good && heard == Seq(seq)),
                Err(Violation::Sequence(..)) => assert!(!good),
                _ => panic!("{first} {second}"),
            }
        }
    }
}

#[test]
fn nothing_but_log_lines_before_the_start_is_over_and_it_ends_once() {
    for request in requests() {
        let (mut child, theirs) = child();
        let is_log = matches!(request, Request::Log(_));
        theirs.send(&frame(1, request.clone()), &[]).unwrap();
        match child.hear() {
            Ok(Heard::Request(..)) => assert!(is_log),
            Err(Violation::Phase) => assert!(!is_log),
            _ => panic!("{request:?}"),
        }
    }
    let (mut child, theirs) = running();
    theirs.send(&frame(1, Request::StartupDone), &[]).unwrap();
    assert!(matches!(child.hear(), Err(Violation::Phase)));
}

/// What the other end is told now.
fn told(theirs: &Channel) -> Vec<Event> {
    let mut buffer = vec![0; MAX_EVENT];
    let next = || {
        let len = theirs.receive(&mut buffer, 0).ok()?.len;
        Some(decode(&buffer[..len]).unwrap())
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn whoever_is_told_something_is_asked_and_judged() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let (mut child, theirs) = running();
    let event = Event::Command(Command::Dump);
    child.ask(false, start).unwrap();
    assert_eq!((told(&theirs), child.answer_due()), (vec![], None));
    child.tell(&event, Vec::new()).unwrap();
    child.ask(false, start).unwrap();
    // Once, whatever it is told before it answers.
    child.tell(&event, Vec::new()).unwrap();
    child.ask(true, after(1)).unwrap();
    assert_eq!(told(&theirs), [event.clone(), Event::Ping, event]);
    assert_eq!(child.answer_due(), Some(after(10)));
    child.judge(after(9)).unwrap();
    assert!(matches!(child.judge(after(10)), Err(Violation::Mute)));
    // We were stopped, and it maybe too.
    child.judge(after(60)).unwrap();
    assert!(matches!(child.judge(after(70)), Err(Violation::Mute)));

    theirs.send(&frame(0, Request::Pong), &[]).unwrap();
    assert!(matches!(child.hear(), Ok(Heard::Request(_, Request::Pong))));
    assert_eq!(child.answer_due(), None);
    child.judge(after(1000)).unwrap();
    // It was told something meanwhile.
    child.ask(false, after(1000)).unwrap();
    assert_eq!(child.answer_due(), Some(after(1010)));
    for good in [true, false] {
        theirs.send(&frame(0, Request::Pong), &[]).unwrap();
        let heard = child.hear();
        assert!(if good { heard.is_ok() } else { matches!(heard, Err(Violation::Unasked)) });
    }
    child.ask(true, after(1000)).unwrap();
    assert_eq!(told(&theirs), [Event::Ping, Event::Ping]);
    child.kill();
    assert_eq!(child.answer_due(), None);
    let now = Instant::now();
    assert!(!child.is_stuck(now) && child.is_stuck(now + Duration::from_secs(11)));
}

#[test]
fn whoever_does_not_confine_itself_is_judged() {
    let start = Instant::now();
    let (mut child, theirs) = child();
    child.tell(&Event::Startup { version: Text::default() }, Vec::new()).unwrap();
    child.ask(true, start).unwrap();
    assert_eq!(told(&theirs).len(), 1);
    let due = child.answer_due().unwrap();
    assert!(matches!(child.judge(due), Err(Violation::Late)));
    theirs.send(&frame(0, Request::StartupDone), &[]).unwrap();
    assert!(child.hear().is_ok());
    assert_eq!(child.answer_due(), None);
}

#[test]
fn what_does_not_listen_is_found_out() {
    let (mut child, theirs) = running();
    let mut told = 0;
    let deaf = loop {
        match child.tell(&Event::Command(Command::Dump), Vec::new()) {
            Ok(()) => told += 1,
            Err(violation) => break violation,
        }
        assert!(told < 10_000);
    };
    assert!(matches!(deaf, Violation::Deaf) && child.is_waiting());
    drop(theirs);
}

#[test]
fn one_that_was_killed_has_no_say() {
    let (mut child, theirs) = running();
    theirs.send(&frame(1, some_routers(1)), &[]).unwrap();
    child.kill();
    assert!(matches!(child.hear(), Ok(Heard::Silence)));
    let file = File::open("/dev/null").unwrap();
    child.tell(&Event::Dns { id: DnsId(1) }, vec![file.into()]).unwrap();
    assert!(!child.is_waiting());
    assert!(theirs.receive(&mut [0; 64], 1).unwrap_err().would_block());
}

/// Octets, and valid messages with some of theirs changed.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let changed = (prop::sample::select(requests()), changes).prop_map(|(request, changes)| {
        let mut octets = frame(1, request);
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        octets
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 1..MAX_REQUEST), changed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is taken for a message is one: it says the same when said again.
    #[test]
    fn no_octets_upset_it(octets in octets()) {
        let (mut child, theirs) = child();
        theirs.send(&octets, &[]).unwrap();
        match child.hear() {
            Ok(Heard::Request(seq, request)) => prop_assert_eq!(frame(seq.0, request), octets),
            Ok(_) => prop_assert!(false, "{:?}", octets),
            Err(violation) => prop_assert!(!violation.to_string().is_empty()),
        }
    }
}
