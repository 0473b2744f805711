//! Storms of changes that have nothing, or little, to do with the tunnel.

use std::fmt::Write;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::process::{descriptors, kib, resident};
use isatapd_tests::site::{HOST, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, addresses_of, check_addresses, defaults};

/// The parent may need so many KiB at any time, and so many more after a storm than before.
const MOST: u64 = 16 << 10;
const MORE: u64 = 1 << 10;
const FLAPS: usize = 1000;
const STRANGERS: usize = 2500;

/// What is only seen again by the look each 10 s, or not at all, takes longer.
const SOON: Duration = secs(5);

/// What the processes take.
struct Weight {
    resident: [u64; 2],
    descriptors: [usize; 2],
}

/// As they are now.
fn weight(daemon: &mut Daemon) -> Weight {
    let pids = [daemon.parent(), daemon.child()];
    Weight { resident: pids.map(resident), descriptors: pids.map(|pid| descriptors(pid).len()) }
}

/// As they are with nothing to do: a look-up on its way would count.
fn weight_at_rest(daemon: &mut Daemon) -> Weight {
    daemon.await_rest();
    weight(daemon)
}

fn check_weight(daemon: &mut Daemon, before: &Weight) {
    // A look-up has some for a moment.
    let after = wait_for(secs(30), "as many descriptors as before", || {
        let after = weight(daemon);
        (after.descriptors == before.descriptors).then_some(after)
    });
    for (after, before) in after.resident.iter().zip(before.resident) {
        assert!(*after <= before + MORE, "{before} KiB have become {after}");
    }
    let most = kib(daemon.parent(), "VmHWM");
    assert!(most < MOST, "the parent needed {most} KiB");
}

fn batch(site: &Site, lines: impl Iterator<Item = String>) {
    let mut all = String::new();
    lines.for_each(|line| writeln!(all, "{line}").expect("memory"));
    ip::batch(&site.namespace("host"), &all);
}

/// Waits for addresses, route and pings.
fn whole(site: &Site, since: Instant) -> Duration {
    wait_for(secs(20), "addresses and route", || {
        (addresses_of(site, "is0").contains(&GLOBAL1) && defaults(site).len() == 1).then_some(())
    });
    let took = since.elapsed();
    check_addresses(site, "is0", &[GLOBAL1]);
    took.max(site.pinger().first_since(since, secs(20)).expect("a ping"))
}

#[test]
fn the_link_flaps_a_thousand_times() {
    let site = Site::ours(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let index = ip::link(&site.namespace("host"), "is0").expect("is0").index;
    let flap = || ["down", "up"].map(|to| format!("link set eth0 {to}")).into_iter();
    batch(&site, (0..10).flat_map(|_| flap()));
    whole(&site, Instant::now());
    let (before, solicited) = (weight_at_rest(&mut daemon), site.solicitations("router1"));
    let began = Instant::now();
    batch(&site, (0..FLAPS).flat_map(|_| flap()));
    let ended = Instant::now();
    let took = whole(&site, ended);
    println!("{FLAPS} flaps in {:?}, whole {took:?} later", ended - began);
    assert!(took < SOON, "whole {took:?} after the last");
    assert_eq!(ip::link(&site.namespace("host"), "is0").expect("is0").index, index);
    let solicited = site.solicitations("router1") - solicited;
    assert!(solicited <= 5 + began.elapsed().as_secs(), "solicited {solicited} times");
    check_weight(&mut daemon, &before);
    let lines = daemon.log().lines().count();
    assert!(lines < 400, "{lines} lines in the log");
}

#[test]
fn thousands_of_interfaces_come_and_go() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    let (before, lines) = (weight_at_rest(&mut daemon), daemon.log().lines().count());
    // Pairs: twice as many interfaces. They go as a group, or each would take its time.
    let make = |n| format!("link add a{n} group 7 up type veth peer name b{n} group 7");
    batch(&site, (0..STRANGERS).map(make));
    ip::batch(
        &host,
        "addr del 10.0.0.2/24 dev eth0\nlink del group 7\naddr add 10.0.0.2/24 dev eth0\n",
    );
    let took = whole(&site, Instant::now());
    println!("whole {took:?} later");
    assert!(took < SOON, "whole {took:?} after the last");
    check_weight(&mut daemon, &before);
    assert!(daemon.log().lines().count() < lines + 60, "{}", daemon.log());
}

/// The parent hears of nothing for a while, and of the last change, which is one of its own tunnel, not
/// at all.
#[test]
fn the_kernels_messages_are_lost() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &[]);
    let before = weight_at_rest(&mut daemon);
    daemon.signal(Signal::SIGSTOP);
    let flap = |n: usize| format!("link set lo {}", ["down", "up"][n % 2]);
    // Twice what the socket of 2 MiB takes of a message of some 1.5 KiB.
    batch(&site, (0..3000).map(flap));
    ip::run(&host, "-6 addr flush dev is0");
    let event = Instant::now();
    daemon.signal(Signal::SIGCONT);
    let took = whole(&site, event);
    assert!(took < SOON, "took {took:?}");
    check_weight(&mut daemon, &before);
}

#[test]
fn thousands_of_routes_and_addresses_are_there() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    ip::batch(&host, "link add a0 up type veth peer name b0\nlink set b0 up\n");
    batch(&site, (0..2000).map(|n| format!("addr add 198.18.{}.{}/32 dev a0", n >> 8, n & 255)));
    batch(&site, (0..10_000).map(|n| format!("route add 198.19.{}.{}/32 dev a0", n >> 8, n & 255)));
    batch(
        &site,
        (0..10_000)
            .map(|n| format!("-6 route add 2001:db8:f::{n:x}/128 dev a0"))
            .map(|l| l.replace("-6 ", "")),
    );
    let began = Instant::now();
    let mut daemon = Daemon::start(&site, &[]);
    let took = whole(&site, began);
    println!("whole {took:?} after the start");
    assert!(took < SOON, "whole {took:?} after the start");
    let before = weight_at_rest(&mut daemon);
    let event = ip::change_ipv4(&host, "eth0", HOST);
    let took = whole(&site, event);
    assert!(took < SOON, "whole {took:?} after a change");
    check_weight(&mut daemon, &before);
}
