//! resolv.conf and hosts as others change them.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::etc::Etc;
use isatapd_tests::ip::Watch;
use isatapd_tests::names::{NameServer, addresses};
use isatapd_tests::process::processor_time;
use isatapd_tests::repeated::Repeated;
use isatapd_tests::site::{ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, stays, wait_for};

use crate::common::{await_default, default_by, defaults};

/// What happens, resolv.conf at first, what else there is; what makes the name known.
type Case = (&'static str, &'static str, fn(&Etc), fn(&Etc));

const HOSTS: &str = "127.0.0.1 localhost\n10.0.0.101 isatap\n";
const RESOLV_CONF: &str = "nameserver 10.0.0.53\nsearch site.example\n";

const COMES: &[Case] = &[
    ("hosts made", RESOLV_CONF, |_| (), |etc| etc.write("hosts", HOSTS)),
    ("hosts written", RESOLV_CONF, |etc| etc.write("hosts", "\n"), |etc| etc.write("hosts", HOSTS)),
    ("hosts replaced", "", |etc| etc.write("hosts", "\n"), |etc| etc.replace("hosts", HOSTS)),
    ("resolv.conf made", "", |_| (), |etc| etc.write("resolv.conf", RESOLV_CONF)),
    (
        "a domain written",
        "nameserver 10.0.0.53\n",
        |_| (),
        |etc| etc.write("resolv.conf", RESOLV_CONF),
    ),
    (
        "a server written",
        "nameserver 10.0.0.9\nsearch site.example\n",
        |_| (),
        |etc| {
            etc.write("resolv.conf", RESOLV_CONF);
        },
    ),
    (
        "resolv.conf replaced",
        "search site.example\n",
        |_| (),
        |etc| {
            etc.replace("resolv.conf", RESOLV_CONF);
        },
    ),
    (
        "a link's target written",
        "",
        |etc| etc.link("run/a/stub.conf", "resolv.conf"),
        |etc| {
            fs::create_dir(etc.path("run/a")).expect("a folder");
            sleep(Duration::from_millis(50));
            etc.write("run/a/stub.conf", RESOLV_CONF);
        },
    ),
    (
        "a link to a link replaced",
        "",
        |etc| {
            fs::create_dir(etc.path("run/a")).expect("a folder");
            etc.write("run/a/one", "search other.example\n");
            etc.write("run/a/two", RESOLV_CONF);
            etc.link("run/a/one", "run/a/link");
            etc.link("run/a/link", "resolv.conf");
        },
        |etc| etc.link("run/a/two", "run/a/link"),
    ),
];

/// From the change to the first ping, whatever was said of the name before.
fn comes((what, resolv_conf, before, change): Case) -> Duration {
    let site = Site::ours(&[]);
    if what.starts_with("hosts") {
        site.dns(&[]);
    }
    let etc = Etc::new(&site, resolv_conf);
    before(&etc);
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    daemon.child();
    stays(secs(3), what, || daemon.is_alive() && defaults(&site).is_empty());
    let pinger = site.pinger();
    change(&etc);
    let took = pinger.first_since(Instant::now(), secs(60)).expect(what);
    println!("{what}: a ping after {took:?}");
    took
}

/// The best of three: on a busy machine a packet may be late.
#[test]
fn a_name_that_comes_by_a_file() {
    let limit = secs(1);
    for case in COMES {
        let quick = (0..3).any(|_| comes(*case) < limit);
        assert!(quick, "{}: never in {limit:?}", case.0);
    }
}

/// Gone for a moment is not gone; gone for longer is, and what the file said is over.
#[test]
fn a_name_that_goes() {
    // A second is longer. What a busy machine makes of a fifth of it may be, too, and shows nothing.
    const MOMENT: Duration = Duration::from_millis(900);
    let site = Site::ours(&[]);
    site.dns(&[]);
    let etc = Etc::new(&site, RESOLV_CONF);
    etc.write("hosts", HOSTS);
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    // Whether the moments were no longer; if so, nothing must have come of them.
    let mut three_moments = || {
        let lists = |daemon: &Daemon| daemon.log().matches("router list").count();
        let (before, watch) = (lists(&daemon), Watch::start(&site.namespace("host"), "is0"));
        for _ in 0..3 {
            let begin = Instant::now();
            fs::remove_file(etc.path("hosts")).expect("remove");
            sleep(Duration::from_millis(200));
            etc.write("hosts", HOSTS);
            if begin.elapsed() >= MOMENT {
                daemon.await_rest();
                await_default(&site, ROUTER1, secs(20));
                return false;
            }
            stays(Duration::from_millis(200), "the route", || defaults(&site).len() == 1);
        }
        assert_eq!(watch.removed(), Vec::<String>::new());
        assert_eq!(lists(&daemon), before, "{}", daemon.log());
        true
    };
    assert!((0..10).any(|_| three_moments()), "never three in less than {MOMENT:?}");
    etc.replace("hosts", &HOSTS.replace("101", "102"));
    await_default(&site, ROUTER2, secs(30));
    assert!(default_by(&site, ROUTER1).is_none());
    fs::remove_file(etc.path("hosts")).expect("remove");
    wait_for(secs(30), "the end of the route", || defaults(&site).is_empty().then_some(()));
}

/// A storm of renames costs little, disturbs nothing, and its end is noticed.
#[test]
fn a_storm_of_renames() {
    let site = Site::ours(&[]);
    let etc = Arc::new(Etc::new(&site, RESOLV_CONF));
    let mut daemon = Daemon::with_etc(&site, &etc, &[]);
    await_default(&site, ROUTER1, secs(20));
    let processes = [daemon.parent(), daemon.child()];
    let busy = || processes.map(processor_time).iter().sum::<Duration>();
    let (before, turns) = (busy(), Arc::new(AtomicU32::new(0)));
    let (turn, file) = (Arc::clone(&turns), Arc::clone(&etc));
    let storm = Repeated::start(move || {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        file.replace("resolv.conf", &format!("{RESOLV_CONF}# {turn}\n"));
        sleep(Duration::from_millis(10));
    });
    stays(secs(5), "the router", || site.prl("is0") == [ROUTER1] && defaults(&site).len() == 1);
    drop(storm);
    let turns = turns.load(Ordering::Relaxed);
    let took = busy().saturating_sub(before);
    println!("{turns} renames cost {took:?} on the processor");
    assert!(took < Duration::from_millis(500), "{turns} renames cost {took:?} on the processor");
    assert!(turns > 50 && daemon.log().lines().count() < 40, "{turns}: {}", daemon.log());
    let other = Ipv4Addr::new(10, 0, 0, 54);
    let _server = NameServer::start(&site, other, |query| vec![addresses(query, &[ROUTER2], 300)]);
    etc.replace("resolv.conf", &format!("nameserver {other}\nsearch site.example\n"));
    await_default(&site, ROUTER2, secs(30));
}
