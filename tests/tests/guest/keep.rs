//! What a tunnel that was left, or is taken over, does on the kernel's own data path.

use std::net::Ipv6Addr;

use isatapd_proto::OnLinkPrefix;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::forge::{Advert, prefix_option};
use isatapd_tests::ip;
use isatapd_tests::ping::answers;
use isatapd_tests::site::{HOST, INET, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, address, check_addresses, check_gone};
use crate::scenarios::restarts::{index, pinger, restart};

/// A prefix that is no source towards anything else.
const SHORT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0);
const SHORT_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0x5efe, 0x0a00, 2);

#[test]
fn a_hundred_restarts_lose_nothing() {
    let site = Site::up(&[]);
    let mut daemon = Daemon::working(&site, &["--keep"]);
    let (before, pinger) = (index(&site), pinger(&site));
    restart(&site, &mut daemon, Signal::SIGTERM, &["--keep"], 100);
    let count = pinger.count();
    println!("100 restarts: {count:?}");
    assert!(count.lost == 0 && count.due > 500, "{count:?}");
    assert_eq!(index(&site), before);
    check_addresses(&site, "is0", &[GLOBAL1]);
}

#[test]
fn what_is_left_expires_by_itself() {
    let site = Site::up(&[]);
    site.advertise("router1", &["MaxRtrAdvInterval 10", "AdvDefaultLifetime 40"]);
    let host = site.namespace("host");
    let mut daemon = Daemon::working(&site, &["--keep"]);
    // A second prefix, which is not advertised for long.
    let prefix = OnLinkPrefix::try_from(SHORT).expect("a /64");
    let advert = Advert { lifetime: 40, ..Advert::default() };
    advert.with(&prefix_option(prefix, 60, 30)).send(&site.namespace("dns"), HOST);
    wait_for(secs(10), "its address", || address(&site, SHORT_ADDRESS));
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    assert!(answers(&host, INET, secs(5)), "it works without a daemon");
    // The kernel looks for expired routes once in half a minute.
    wait_for(secs(120), "the end of the route", || {
        ip::default_routes(&host, "is0").is_empty().then_some(())
    });
    assert!(!answers(&host, INET, secs(1)));
    wait_for(secs(120), "the end of the address", || {
        address(&site, SHORT_ADDRESS).is_none().then_some(())
    });
    check_addresses(&site, "is0", &[GLOBAL1]);
    let daemon = Daemon::working(&site, &[]);
    assert!(daemon.log().contains("taken over"), "{}", daemon.log());
}

#[test]
fn the_other_backend_takes_its_place() {
    let site = Site::up(&[]);
    let host = site.namespace("host");
    let mut kept = None;
    // What it is to be; whether it is the one that was left.
    for (backend, kind, same) in [
        ("kernel", "sit", false),
        ("tun", "tun", false),
        ("tun", "tun", true),
        // It stays what it is as long as that will do.
        ("auto", "tun", true),
        ("kernel", "sit", false),
        ("auto", "sit", true),
    ] {
        let mut daemon = Daemon::working(&site, &["--keep", "--backend", backend]);
        let link = ip::link(&host, "is0").expect("is0");
        assert_eq!(link.kind, kind, "{backend}: {}", daemon.log());
        assert_eq!(kept == Some(link.index), same, "{backend}: {}", daemon.log());
        check_addresses(&site, "is0", &[GLOBAL1]);
        kept = Some(link.index);
        assert_eq!(daemon.stop(Signal::SIGQUIT).0.code(), Some(0));
    }
    let mut daemon = Daemon::working(&site, &[]);
    daemon.stop(Signal::SIGTERM);
    check_gone(&site, "is0");
}
