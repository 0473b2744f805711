//! Forged advertisements, sent by the name server's machine in router1's name.

use std::net::Ipv6Addr;

use isatapd_proto::{MAX_ADDRESSES, OnLinkPrefix};
use isatapd_tests::daemon::Daemon;
use isatapd_tests::forge::{Advert, isatap, mtu_option, prefix_option, too_many_prefixes};
use isatapd_tests::ip::{self, Route};
use isatapd_tests::site::{DNS, HOST, ROUTER1, Site};
use isatapd_tests::wait::{secs, stays, wait_for};

use crate::common::{GLOBAL1, address, await_default, check_addresses, default_by, defaults};

/// What a forged advertisement offers; it must not be taken.
const BAD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0);
/// What a good advertisement after it offers, and the host's address in it.
const MARK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x600d, 0, 0, 0, 0, 0);
const MARK_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x600d, 0, 0, 0x5efe, 0x0a00, 2);

fn prefix(address: Ipv6Addr, valid: u32) -> Vec<u8> {
    let prefix = OnLinkPrefix::try_from(address).expect("a /64");
    prefix_option(prefix, valid, valid.min(14_400))
}

fn send(site: &Site, advert: &Advert) {
    advert.send(&site.namespace("dns"), HOST);
}

/// Sends a good advertisement with a lifetime of its own and waits until it shows: then all sent
/// before it has been dealt with.
struct Marker(u32);

impl Marker {
    fn pass(&mut self, site: &Site) {
        self.0 += 10_000;
        send(site, &Advert::default().with(&prefix(MARK, 86_400 + self.0)));
        wait_for(secs(30), "a good advertisement's effect", || {
            address(site, MARK_ADDRESS).filter(|a| a.valid > u64::from(86_400 + self.0 - 5_000))
        });
    }
}

/// What forged advertisements must leave as it is.
fn routes(site: &Site) -> Vec<Route> {
    let mut routes = defaults(site);
    for route in &mut routes {
        route.expires = None;
    }
    routes
}

#[test]
fn bad_ones_are_ignored() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    let mut marker = Marker(0);
    marker.pass(&site);
    let before = routes(&site);
    let good = || Advert::default().with(&prefix(BAD, 86_400)).with(&mtu_option(1300));
    // The first option is good in each: the whole advertisement must go.
    let cases = [
        ("hop limit 64", Advert { hops: 64, ..good() }),
        ("code 1", Advert { code: 1, ..good() }),
        ("wrong checksum", Advert { good_sum: false, ..good() }),
        ("cut to 12 octets", Advert { cut: 12, ..good() }),
        ("not in the PRL", Advert { from4: DNS, from6: isatap(DNS), ..good() }),
        (
            "inner source fe80::1",
            Advert { from6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), ..good() },
        ),
        ("inner source of another", Advert { from6: isatap(DNS), ..good() }),
        ("inner source of the host", Advert { from6: isatap(HOST), ..good() }),
        ("option of length 0", good().with(&[1, 0, 0, 0, 0, 0, 0, 0])),
        ("option longer than the packet", good().with(&[1, 200, 0, 0, 0, 0, 0, 0])),
        ("half an option at the end", good().with(&[1])),
    ];
    for (what, advert) in cases {
        send(&site, &advert);
        marker.pass(&site);
        check_addresses(&site, "is0", &[GLOBAL1, MARK_ADDRESS]);
        assert_eq!(routes(&site), before, "{what}");
        assert!(daemon.is_alive(), "{what}");
    }
}

#[test]
fn an_mtu_out_of_range_is_ignored() {
    let site = crate::site(&[]);
    let _daemon = Daemon::working(&site, &[]);
    let mut marker = Marker(0);
    for (mtu, want) in [(1300, Some(1300)), (100, None), (9000, None), (1279, None)] {
        send(&site, &Advert::default().with(&mtu_option(mtu)));
        if let Some(want) = want {
            wait_for(secs(30), "the MTU", || {
                default_by(&site, ROUTER1).filter(|r| r.mtu == Some(want))
            });
        }
        marker.pass(&site);
        let mtu_now = default_by(&site, ROUTER1).expect("the default route").mtu;
        assert!(mtu_now.is_none_or(|m| m == 1300), "advertised {mtu}: {mtu_now:?}");
        let link = ip::link(&site.namespace("host"), "is0").expect("is0");
        assert_eq!(link.mtu, 1480, "the link's own MTU is the operator's");
    }
}

#[test]
fn more_prefixes_than_there_may_be() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    send(&site, &Advert::default().with(&too_many_prefixes()));
    let count = || ip::addresses(&site.namespace("host"), "is0").len();
    wait_for(secs(30), "addresses", || (count() > 2).then_some(()));
    stays(secs(5), "a bounded number of addresses", || count() <= MAX_ADDRESSES + 1);
    assert!(daemon.is_alive() && address(&site, GLOBAL1).is_some(), "the first prefix stays");
}

#[test]
fn lifetime_zero_takes_the_route_but_not_for_good() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    let solicited = site.solicitations("router1");
    // It may be back before anybody looks.
    let watch = ip::Watch::start(&site.namespace("host"), "is0");
    send(&site, &Advert { lifetime: 0, ..Advert::default() });
    wait_for(secs(30), "the end of the route", || {
        watch.removed().iter().any(|line| line.contains("default via")).then_some(())
    });
    assert!(address(&site, GLOBAL1).is_some(), "the address has its own lifetime");
    await_default(&site, ROUTER1, secs(600));
    assert!(site.solicitations("router1") > solicited);
    assert!(daemon.is_alive());
}

#[test]
fn a_short_lifetime_after_a_quiet_time() {
    // 0.9.7 dies of it: its next solicitation is due in the past.
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    stays(secs(60), "alive", || daemon.is_alive());
    send(&site, &Advert { lifetime: 30, ..Advert::default() });
    let shortened = |route: &Route| route.expires.is_some_and(|e| e <= 30);
    wait_for(secs(15), "the short lifetime", || default_by(&site, ROUTER1).filter(shortened));
    let long = |route: &Route| route.expires.is_some_and(|e| e > 30);
    wait_for(secs(300), "the router's own lifetime", || default_by(&site, ROUTER1).filter(long));
    assert!(daemon.is_alive());
    site.reaches_inet();
}

#[test]
fn a_flood_does_no_harm() {
    let site = crate::site(&[]);
    let daemon = Daemon::working(&site, &[]);
    for n in 0..2000_u16 {
        let source = if n % 2 == 0 { ROUTER1 } else { DNS };
        send(&site, &Advert { from4: source, lifetime: 1800 + n % 7, ..Advert::default() });
    }
    stays(secs(10), "alive", || daemon.is_alive());
    assert!(default_by(&site, ROUTER1).is_some());
    assert!(daemon.log().lines().count() < 60, "{}", daemon.log());
    site.reaches_inet();
}
