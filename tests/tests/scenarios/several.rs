//! Several tunnels of one daemon.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Instant;

use isatapd_tests::ctl;
use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, status};
use isatapd_tests::ip;
use isatapd_tests::ping::Pinger;
use isatapd_tests::process::{self, await_gone, capabilities, children, descriptors, is_alive};
use isatapd_tests::site::Site;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{GLOBAL1, check_gone};

/// A host on the site, and a router of another, where the name server is its only host.
const LINE: &str = "-n is0 -l eth0 10.0.0.101 --and \
    -n is1 --locator 10.9.0.1 --advertise 2001:db8:9::/64 --forward";
/// That host.
const THERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0x5efe, 0x0a09, 2);

fn site() -> Site {
    let site = crate::site(&[]);
    let dns = site.namespace("dns");
    site.ip("host", &format!("link add eth9 type veth peer name eth9 netns {dns}"));
    for (node, address) in [("host", "10.9.0.1/24"), ("dns", "10.9.0.2/24")] {
        site.ip(node, &format!("addr add {address} dev eth9"));
        site.ip(node, "link set eth9 up");
    }
    site
}

/// Starts it; it works as a host, and serves both.
fn start(site: &Site) -> Daemon {
    let daemon = Daemon::working(site, &LINE.split_whitespace().collect::<Vec<_>>());
    // A tunnel of sit that was left works before.
    for name in ["is0", "is1"] {
        let line = format!("isatapd: {name}: child: tunnel: up");
        wait_for(secs(60), &line, || daemon.log().contains(&line).then_some(()));
    }
    daemon
}

/// The process of each tunnel and its child, in the order of the command line.
fn processes(daemon: &Daemon) -> Vec<(Pid, Pid)> {
    let both = || {
        let parents = children(daemon.parent());
        let pairs = parents.iter().filter_map(|p| Some((*p, *children(*p).first()?)));
        Some(pairs.collect::<Vec<_>>()).filter(|pairs| pairs.len() == 2)
    };
    wait_for(secs(30), "two children", both)
}

fn await_end_of(pids: &[(Pid, Pid)]) {
    pids.iter().flat_map(|(parent, child)| [*parent, *child]).for_each(await_gone);
}

#[test]
fn a_host_here_and_a_router_there() {
    let site = site();
    let mut daemon = start(&site);
    let begin = Instant::now();
    let _there = Daemon::on(&site, "dns", &["--backend", "tun", "10.9.0.1"]);
    // From one site to the host's address in the other.
    let pinger = Pinger::start(&site.namespace("dns"), GLOBAL1);
    assert!(pinger.first_since(begin, secs(60)).is_some(), "no ping: {}", daemon.log());
    drop(pinger);
    assert!(ip::addresses(&site.namespace("dns"), "is0").iter().any(|a| a.address == THERE));
    for (name, role) in [("is0", "host"), ("is1", "router")] {
        let shown = ctl::show(&site.namespace("host"), name).expect("an answer");
        assert_eq!(shown.get("role").and_then(|r| r.as_str()), Some(role), "{shown}");
    }

    // The child of one is nothing to the other.
    let [host, router] = processes(&daemon)[..] else { panic!("not two") };
    kill(router.1, Signal::SIGKILL).expect("kill");
    let next = wait_for(secs(30), "another", || {
        children(router.0).first().copied().filter(|child| *child != router.1)
    });
    assert_eq!(processes(&daemon), [host, (router.0, next)]);
    // Nor does it end by what is for all.
    kill(host.0, Signal::SIGTERM).expect("kill");
    daemon.signal(Signal::SIGHUP);
    for name in ["is0", "is1"] {
        let line = format!("isatapd: {name}: SIGHUP");
        wait_for(secs(30), "both have heard it", || daemon.log().contains(&line).then_some(()));
    }
    let line = format!("isatapd: is1: isatapd-child (pid {next}): confined");
    wait_for(secs(30), "its line", || daemon.log().contains(&line).then_some(()));
    site.reaches_inet();
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0), "{}", daemon.log());
    check_gone(&site, "is0");
    check_gone(&site, "is1");
}

#[test]
fn one_in_front_with_nothing_but_signals() {
    let site = site();
    let pid_file = site.file("isatapd-several.pid");
    let of_all = ["-d", "-p", &pid_file];
    let arguments: Vec<&str> = of_all.into_iter().chain(LINE.split_whitespace()).collect();
    let (exit, log) = run(&site, &arguments);
    assert_eq!((exit.code(), log.as_str()), (Some(0), ""));
    // It has returned, so this is there already, and both are ready.
    let text = fs::read_to_string(&pid_file).expect("a pid file");
    let leader = Pid::from_raw(text.trim_end().parse().expect("a pid"));
    let pids = children(leader);
    assert_eq!(pids.len(), 2);
    for pid in [leader, pids[0], pids[1]] {
        let standard = descriptors(pid).into_iter().filter(|(number, _)| *number <= 2);
        assert!(standard.map(|(_, what)| what).eq(["/dev/null"; 3]), "{pid}");
        let held = descriptors(pid).iter().any(|(_, what)| what.contains(&pid_file));
        assert_eq!(held, pid == leader, "the pid file");
    }
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(capabilities(leader, set), 0, "{set}");
    }
    for (key, value) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Threads", "1")] {
        assert_eq!(process::status(leader, key), value, "{key}");
    }
    kill(leader, Signal::SIGINT).expect("kill");
    await_gone(leader);
    assert!(pids.into_iter().all(|pid| !is_alive(pid)), "it ends last");
    assert!(!Path::new(&pid_file).exists(), "the pid file is left");
    check_gone(&site, "is0");
    check_gone(&site, "is1");
}

#[test]
fn if_one_cannot_start_none_stays() {
    let site = site();
    let mut first = Daemon::working(&site, &["-n", "is1"]);
    for of_all in [&["-q"][..], &["-d"]] {
        let arguments: Vec<&str> = of_all.iter().copied().chain(LINE.split_whitespace()).collect();
        let (exit, log) = run(&site, &arguments);
        expect::exit(exit, status::TEMPORARY, &log);
        let line = format!("isatapd: is1: another isatapd (pid {}) serves it", first.parent());
        assert!(log.contains(&line), "{log}");
        assert!(ip::link(&site.namespace("host"), "is0").is_none(), "is0 is left");
    }
    // As it is a start that fails, or nothing is made at all.
    let (exit, log) = run(&site, &["-p", "/nonexistent/file", "--and", "-n", "is2"]);
    expect::exit(exit, status::CANNOT_CREATE, &log);
    expect::one_line(&log, &["/nonexistent/file"]);
    site.reaches_inet();
    assert_eq!(first.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is1");
}

#[test]
fn they_end_together() {
    let site = site();
    let daemon = start(&site);
    let pids = processes(&daemon);
    daemon.signal(Signal::SIGKILL);
    await_end_of(&pids);

    let mut daemon = start(&site);
    let pids = processes(&daemon);
    kill(pids[1].0, Signal::SIGABRT).expect("kill");
    let status = daemon.wait(secs(30)).expect("its end");
    assert_eq!(status.code(), Some(71), "{}", daemon.log());
    assert!(daemon.log().contains("is1: its process was ended by SIGABRT; all end"));
    await_end_of(&pids);
    // The crash of one does not remove the other.
    assert!(ip::link(&site.namespace("host"), "is0").is_some(), "{}", daemon.log());

    // What is to be left is left, and taken over.
    let mut daemon = start(&site);
    assert!(daemon.log().contains("is0: tunnel taken over"), "{}", daemon.log());
    assert_eq!(daemon.stop(Signal::SIGQUIT).0.code(), Some(0), "{}", daemon.log());
    for name in ["is0", "is1"] {
        assert!(ip::link(&site.namespace("host"), name).is_some(), "{name}: {}", daemon.log());
    }
    let mut daemon = start(&site);
    wait_for(secs(30), "both", || (daemon.log().matches("taken over").count() == 2).then_some(()));
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&site, "is0");
    check_gone(&site, "is1");
}
