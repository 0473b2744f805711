//! A name with more addresses than anybody needs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use isatapd_proto::MAX_ROUTERS;
use isatapd_tests::capture::Capture;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::wait::{secs, wait_for};

/// When, and to which IPv4 address.
type Sent = (Instant, Vec<u8>);

#[test]
fn two_hundred_addresses_are_no_storm() {
    let site = crate::site(&[]);
    site.ip("host", "route add 10.9.0.0/16 via 10.0.0.101");
    let addresses: Vec<_> = (1..=200).map(|n| Ipv4Addr::new(10, 9, 0, n)).collect();
    site.dns(&addresses);
    let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
    let tell = Arc::clone(&sent);
    let _capture = Capture::start(&site.namespace("host"), "eth0", move |frame| {
        // IPv4 without options, protocol 41, ICMPv6, type 133.
        let at = |place| frame.packet.get(place).copied();
        let solicits = at(9) == Some(41) && at(26) == Some(58) && at(60) == Some(133);
        if frame.outgoing && frame.kind == 0x0800 && solicits {
            tell.lock().expect("sent").push((frame.at, frame.packet[16..20].to_vec()));
        }
    });
    let daemon = Daemon::start(&site, &[]);
    let first =
        wait_for(secs(60), "a solicitation", || Some(sent.lock().expect("sent").first()?.0));
    let to =
        || -> BTreeSet<_> { sent.lock().expect("sent").iter().map(|(_, to)| to.clone()).collect() };
    wait_for(secs(60), "one to each", || (to().len() >= MAX_ROUTERS).then_some(()));
    sleep((first + secs(12)).saturating_duration_since(Instant::now()));
    assert_eq!(to().len(), MAX_ROUTERS);
    let sent = sent.lock().expect("sent").clone();
    for (at, _) in &sent {
        // Less than a second: they leave later than they are due, and not all equally.
        let second = *at..*at + Duration::from_millis(750);
        let count = sent.iter().filter(|(at, _)| second.contains(at)).count();
        assert!(count <= 10, "{count} solicitations in a second");
    }
    assert_eq!(site.prl("is0").len(), MAX_ROUTERS);
    let log = daemon.log();
    assert!(log.contains("136 more than 64"), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}
