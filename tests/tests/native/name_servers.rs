//! Name servers that fail, lie or change their mind.

use std::net::Ipv4Addr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::capture::Capture;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::etc::Etc;
use isatapd_tests::ip;
use isatapd_tests::names::{NameServer, Query, addresses, aliases, code, truncated};
use isatapd_tests::process::processor_time;
use isatapd_tests::site::{ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{poll, secs, stays, wait_for};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::common::{GLOBAL1, GLOBAL2, address, await_default, default_by, defaults};

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 54);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 55);
/// The least that a name server may make a name last.
const TTL: u32 = 10;

type Says = fn(&Query) -> Vec<Vec<u8>>;

/// What is no answer; the first waits for nothing.
const FAULTS: &[(&str, Says)] = &[
    ("server failure", |query| vec![code(query, 2)]),
    ("refusal", |query| vec![code(query, 5)]),
    ("silence", |_| Vec::new()),
    ("garbage", |query| vec![vec![0xff; 500], query.bytes.clone(), vec![0; 12], Vec::new()]),
    ("another id", |query| {
        let mut reply = addresses(query, &[ROUTER2], 300);
        reply[1] ^= 1;
        vec![reply]
    }),
    ("another question", |query| {
        let mut reply = addresses(query, &[ROUTER2], 300);
        reply[13] ^= 1;
        vec![reply]
    }),
    ("truncated by UDP, closed by TCP", |query| {
        if query.tcp { Vec::new() } else { vec![truncated(query)] }
    }),
];

fn good(query: &Query) -> Vec<Vec<u8>> {
    vec![addresses(query, &[ROUTER1], TTL)]
}

fn resolv_conf(servers: &[Ipv4Addr]) -> String {
    let lines: Vec<_> = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    format!("search site.example\n{}", lines.concat())
}

/// The time on the processor of both processes.
fn busy(parent: Pid, child: Pid) -> Duration {
    processor_time(parent) + processor_time(child)
}

/// The next server is asked; of the fault there is no word as long as another answers.
#[test]
fn another_one_answers() {
    let site = Site::ours(&[]);
    let first = NameServer::start(&site, FIRST, |_| Vec::new());
    let _second = NameServer::start(&site, SECOND, good);
    let etc = Etc::new(&site, &resolv_conf(&[FIRST, SECOND]));
    for (what, says) in FAULTS {
        first.say(says);
        let mut daemon = Daemon::with_etc(&site, &etc, &[]);
        await_default(&site, ROUTER1, secs(20));
        assert!(!first.take().is_empty(), "{what}: the first was not asked");
        assert_eq!(site.prl("is0"), [ROUTER1], "{what}");
        let log = daemon.log();
        assert!(!log.contains("name servers"), "{what}: {log}");
        assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0), "{what}");
    }
}

/// All fail: the routers stay, beyond their time to live too; one line for the fault; next to no time
/// on the processor. When they answer again, another router is used.
#[test]
fn what_is_known_is_kept() {
    let site = Site::ours(&[]);
    let server = NameServer::start(&site, FIRST, good);
    let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    let (parent, child) = (daemon.parent(), daemon.child());
    for (what, says) in FAULTS {
        let (lines, before) = (daemon.log().lines().count(), busy(parent, child));
        server.say(says);
        daemon.signal(Signal::SIGHUP);
        // The whole lookup, and retries.
        stays(secs(12), what, || site.prl("is0") == [ROUTER1] && defaults(&site).len() == 1);
        let took = busy(parent, child).saturating_sub(before);
        assert!(took < Duration::from_millis(400), "{what}: {took:?} on the processor");
        let log = daemon.log();
        let of_it = |line: &&str| line.contains("isatap:") && !line.contains("answered again");
        let more: Vec<_> = log.lines().skip(lines).filter(of_it).collect();
        assert!(more.len() <= 1, "{what}: {more:?}");
        server.say(good);
        server.take();
        daemon.signal(Signal::SIGHUP);
        wait_for(secs(30), "a question", || (!server.take().is_empty()).then_some(()));
    }
    wait_for(secs(30), "a word of it", || daemon.log().contains("answered again").then_some(()));
    site.reaches_inet();
}

/// Truncated: by TCP. The least time to live of a chain of aliases counts.
#[test]
fn by_tcp_and_by_aliases() {
    let site = Site::ours(&[]);
    let server = NameServer::start(&site, FIRST, |query| {
        vec![if query.tcp { aliases(query, &[300, 11], &[ROUTER1], 600) } else { truncated(query) }]
    });
    let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
    let _daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    let queries = server.take();
    // A question that waits for long is asked again.
    let mut by_tcp: Vec<_> = queries.iter().map(|q| q.tcp).collect();
    by_tcp.dedup();
    assert!(by_tcp.starts_with(&[false, true]), "{queries:?}");
    let again = wait_for(secs(60), "the next look-up", || server.take().first().map(|q| q.at));
    let after = again - queries.last().expect("a question").at;
    // The others say 300 s and more.
    assert!((10.9..60.0).contains(&after.as_secs_f64()), "looked up again after {after:?}");
}

/// `--check-dns 0`: never again, whatever the time to live.
#[test]
fn without_refresh() {
    let site = Site::ours(&[]);
    let server = NameServer::start(&site, FIRST, |query| vec![addresses(query, &[ROUTER1], 1)]);
    let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
    let _daemon = Daemon::with_etc(&site, &etc, &["--check-dns", "0"]);
    await_default(&site, ROUTER1, secs(20));
    assert_eq!(server.take().len(), 1);
    stays(secs(15), "no further question", || server.take().is_empty());
}

/// Names and addresses, one through the search list, one as it is.
#[test]
fn names_and_addresses() {
    let site = Site::ours(&[]);
    let server = NameServer::start(&site, FIRST, |query| match query.name.as_str() {
        "a.site.example" => vec![addresses(query, &[ROUTER1], 300)],
        _ => vec![code(query, 3)],
    });
    let text = format!("nameserver {FIRST}\nsearch other.example site.example\noptions ndots:2\n");
    let etc = Etc::new(&site, &text);
    let _daemon = Daemon::with_etc(&site, &etc, &["a", "10.0.0.102", "b.site.example."]);
    await_default(&site, ROUTER1, secs(20));
    await_default(&site, ROUTER2, secs(20));
    let mut asked: Vec<_> = server.take().into_iter().map(|query| query.name).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["a.other.example", "a.site.example", "b.site.example"]);
}

/// A router that is new in the answer is solicited at once; one that is gone is left at once.
#[test]
fn members_that_come_and_go() {
    const ROUTERS: [Ipv4Addr; 2] = [ROUTER1, ROUTER2];
    let site = Site::ours(&[]);
    let answered: Arc<Mutex<Option<Instant>>> = Arc::default();
    let tell = Arc::clone(&answered);
    let server = NameServer::start(&site, FIRST, good);
    let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
    let solicited: Arc<Mutex<Vec<(Ipv4Addr, Instant)>>> = Arc::default();
    let note = Arc::clone(&solicited);
    let _capture = Capture::start(&site.namespace("host"), "eth0", move |frame| {
        let packet = frame.packet;
        if frame.outgoing && packet.get(9) == Some(&41) && packet.get(60) == Some(&133) {
            let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
            note.lock().expect("notes").push((to, frame.at));
        }
    });
    let daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    let mut delays = Vec::new();
    for turn in 1..=5 {
        let (old, new) = (ROUTERS[(turn + 1) % 2], ROUTERS[turn % 2]);
        solicited.lock().expect("notes").clear();
        let tell = Arc::clone(&tell);
        server.say(move |query| {
            tell.lock().expect("time").get_or_insert_with(Instant::now);
            vec![addresses(query, &[new], 300)]
        });
        *answered.lock().expect("time") = None;
        daemon.signal(Signal::SIGHUP);
        await_default(&site, new, secs(10));
        assert!(default_by(&site, old).is_none(), "a route by {old}, who is gone");
        assert_eq!(site.prl("is0"), [new]);
        let first = wait_for(secs(30), "a solicitation", || {
            let notes = solicited.lock().expect("notes");
            notes.iter().find(|(to, _)| *to == new).map(|(_, at)| *at)
        });
        delays.push(first - answered.lock().expect("time").expect("an answer"));
        // What only the old one advertised is for what began with it.
        let (gone, here) = if new == ROUTER2 { (GLOBAL1, GLOBAL2) } else { (GLOBAL2, GLOBAL1) };
        let used = wait_for(secs(30), "the new address", || address(&site, here));
        assert!(used.preferred > 0, "{used:?}");
        wait_for(secs(30), "the end of the old address, or of its use", || {
            let left = address(&site, gone);
            left.is_none_or(|left| left.preferred == 0 && left.valid <= 7200).then_some(())
        });
        // No router is solicited twice in a second.
        sleep(secs(1));
    }
    delays.sort();
    println!("solicited {delays:?} after the answer");
    // The least: the machine may be busy.
    assert!(delays[0] < Duration::from_millis(100), "{delays:?}: {}", daemon.log());
}

/// The parent is slow: the new router has answered before the parent has heard of it.
#[test]
fn a_router_that_answers_before_it_is_known() {
    let site = Site::ours(&[]);
    let server = NameServer::start(&site, FIRST, good);
    let text = format!("{}options timeout:30 attempts:1\n", resolv_conf(&[FIRST]));
    let etc = Etc::new(&site, &text);
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    daemon.child();
    // It answers when the parent has been stopped, in less than a query waits, as the parent opens no
    // socket for another.
    let (stopped, is_stopped) = channel::<()>();
    let (asked, is_asked) = channel();
    server.say(move |query| {
        let _ = asked.send(());
        let _ = is_stopped.recv();
        vec![addresses(query, &[ROUTER2], 300)]
    });
    let before = site.solicitations("router2");
    daemon.signal(Signal::SIGHUP);
    is_asked.recv_timeout(secs(30)).expect("the question");
    daemon.signal(Signal::SIGSTOP);
    drop(stopped);
    wait_for(secs(30), "a solicitation", || (site.solicitations("router2") > before).then_some(()));
    // Its answer, and what the child wishes for then, take a moment.
    sleep(Duration::from_millis(300));
    daemon.signal(Signal::SIGCONT);
    await_default(&site, ROUTER2, secs(30));
}

/// Nobody listens at first, so that ICMP says so; or the server is silent.
#[test]
fn a_name_server_that_comes() {
    // Well below what has passed meanwhile, though the machine is busy.
    let limit = secs(5);
    for what in ["refused", "silent"] {
        let site = Site::ours(&[]);
        let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
        let silent = NameServer::start(&site, FIRST, |_| Vec::new());
        let mut silent = Some(silent).filter(|_| what == "silent");
        let mut daemon = Daemon::with_etc(&site, &etc, &[]);
        let (parent, child) = (daemon.parent(), daemon.child());
        let (before, begin) = (busy(parent, child), Instant::now());
        stays(secs(8), "alive", || daemon.is_alive());
        let took = busy(parent, child).saturating_sub(before);
        let share = took.as_secs_f64() / begin.elapsed().as_secs_f64();
        assert!(share < 0.02, "{what}: {took:?} on the processor");
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("name server")).count();
        assert!(lines <= 2, "{what}: {log}");
        let pinger = site.pinger();
        silent.take();
        let _server = NameServer::start(&site, FIRST, good);
        let took = pinger.first_since(Instant::now(), secs(60)).expect("a ping");
        println!("{what}: a ping {took:?} after there is an answer");
        assert!(took < limit, "{what}: a ping after {took:?}: {}", daemon.log());
    }
}

/// Far more records than may be used, and addresses that no router has.
#[test]
fn lies() {
    let site = Site::ours(&[]);
    let lies: Vec<Ipv4Addr> =
        ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.255"]
            .iter()
            .map(|address| address.parse().expect("an address"))
            .chain([isatapd_tests::site::HOST, ROUTER1])
            .collect();
    let server = NameServer::start(&site, FIRST, move |query| vec![addresses(query, &lies, TTL)]);
    let etc = Etc::new(&site, &resolv_conf(&[FIRST]));
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    site.reaches_inet();
    // The broadcast address is in the list, but nothing is sent there.
    assert!(site.prl("is0").contains(&ROUTER1));
    assert_eq!(defaults(&site).len(), 1);
    let lines = daemon.log().lines().count();
    server.take();
    assert!(poll(secs(12), || (server.take().len() > 1).then_some(())).is_none());
    assert_eq!(daemon.log().lines().count(), lines, "{}", daemon.log());
    assert!(ip::link(&site.namespace("host"), "is0").is_some());
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
}
