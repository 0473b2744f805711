//! Two routers behind different IPv4 next hops, where the kernel's driver loses packets.

use std::net::Ipv6Addr;

use isatapd_tests::capture::{Capture, Frame};
use isatapd_tests::daemon::Daemon;
use isatapd_tests::ping;
use isatapd_tests::site::{HOST, ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, stays, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{GLOBAL1, GLOBAL2, await_default, check_addresses};

/// The routers' own addresses in their prefixes.
const ROUTERS: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0x5efe, 0x0a00, 101),
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0x5efe, 0x0a00, 102),
];

#[test]
fn no_packet_is_lost() {
    let site = Site::ours(&["--far", "1500"]);
    let host = site.namespace("host");
    let tunnelled = |frame: &Frame<'_>| frame.outgoing && frame.packet.get(9) == Some(&41);
    let count = |link: &str| {
        let (seen, tell) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (ours, other) = (Arc::clone(&seen), Arc::clone(&tell));
        let to = if link == "eth0" { ROUTER1 } else { ROUTER2 }.octets();
        let capture = Capture::start(&host, link, move |frame| {
            if tunnelled(&frame) {
                let right = frame.packet[12..16] == HOST.octets() && frame.packet[16..20] == to;
                if right { &ours } else { &other }.fetch_add(1, Ordering::Relaxed);
            }
        });
        (seen, tell, capture)
    };
    let (first, second) = (count("eth0"), count("eth2"));

    let _daemon = Daemon::working(&site, &["10.0.0.101", "10.0.0.102"]);
    await_default(&site, ROUTER1, secs(30));
    await_default(&site, ROUTER2, secs(30));
    check_addresses(&site, "is0", &[GLOBAL1, GLOBAL2]);
    // In turn, so that no cache of a next hop is right twice.
    for _ in 0..200 {
        for router in ROUTERS {
            assert!(ping::answers(&host, router, secs(5)), "a ping to {router} is lost");
        }
    }
    for (right, wrong, capture) in [first, second] {
        // It has looked at all that is there.
        drop(capture);
        assert!(right.load(Ordering::Relaxed) >= 200, "packets went by the other link");
        assert_eq!(wrong.load(Ordering::Relaxed), 0, "packets of the other router");
    }
}

/// More addresses than the checks of the data path have room for: that is said, once.
#[test]
fn too_many_addresses() {
    let site = Site::ours(&[]);
    for n in 1..=80 {
        site.ip("host", &format!("addr add 10.9.{n}.1/32 dev lo"));
    }
    let daemon = Daemon::working(&site, &[]);
    let count = || daemon.log().matches("IPv4 addresses of the host: its checks know only").count();
    wait_for(secs(30), "the warning", || (count() == 1).then_some(()));
    site.ip("host", "addr add 10.9.99.1/32 dev lo");
    stays(secs(2), "said once", || count() == 1);
    site.reaches_inet();
}
