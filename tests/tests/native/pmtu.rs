//! Links of smaller MTU on the way, and both MTU methods of RFC 4213 section 3.2.

use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex};

use isatapd_tests::capture::{Capture, Frame};
use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::{Tcp, udp_echo};
use isatapd_tests::forge::checksum;
use isatapd_tests::site::{INET, Site};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::GLOBAL1;

/// IPv4 links with these MTUs.
const LINKS: [usize; 4] = [1500, 1400, 1300, 1280];
/// What is put before an IPv6 packet.
const OUTER: usize = 20;
/// IPv6's least MTU.
const LEAST: usize = 1280;
/// Octets of datagrams: a small one, one that fills 1280, one that fills no smaller link, one of
/// several fragments.
const DATAGRAMS: [usize; 4] = [100, LEAST - 48, 1400, 4000];
/// Another address behind the routers: router1's own.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x101);

/// Whether it was sent, and the packet.
type Passed = Vec<(bool, Vec<u8>)>;

/// What has left a node by IPv4, protocol 41.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    packets: u64,
    longest: usize,
    fragments: u64,
    with_df: u64,
}

impl Seen {
    fn add(&mut self, frame: Frame<'_>) {
        let packet = frame.packet;
        // The daemon's own solicitations and advertisements may be fragmented.
        let own = packet.get(60).is_some_and(|kind| packet[26] == 58 && (133..=135).contains(kind));
        if !frame.outgoing || frame.kind != 0x0800 || packet[9] != 41 || own {
            return;
        }
        let flags = u16::from_be_bytes([packet[6], packet[7]]);
        self.packets += 1;
        self.longest = self.longest.max(packet.len());
        self.fragments += u64::from(flags & 0x3fff != 0);
        self.with_df += u64::from(flags & 0x4000 != 0);
    }
}

fn watch(site: &Site, node: &str, link: &str) -> (Arc<Mutex<Seen>>, Capture) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let add = Arc::clone(&seen);
    let namespace = site.namespace(node);
    let capture =
        Capture::start(&namespace, link, move |frame| add.lock().expect("seen").add(frame));
    (seen, capture)
}

/// Both ways, in a site of that link: what left the host, the gate and the router.
fn traffic(mtu: usize, method: &[&str]) -> [Seen; 3] {
    let site = Site::bare(&["--far", &mtu.to_string()]);
    site.run_router("router1", method, &[]);
    let (host, inet) = (site.namespace("host"), site.namespace("inet"));
    let places = [("host", "eth0"), ("gate1", "eth1"), ("router1", "eth0")];
    let watched = places.map(|(node, link)| watch(&site, node, link));
    let _daemon = Daemon::working(&site, &[method, &["10.0.0.101"]].concat());
    for (from, to, address) in [(&host, &inet, INET), (&inet, &host, GLOBAL1)] {
        for octets in DATAGRAMS {
            assert!(udp_echo(from, to, address, octets), "{octets} octets to {address}: {mtu}");
        }
        // More than any window.
        Tcp::start(from, to, address).advances(4 << 20);
    }
    watched.map(|(seen, capture)| {
        drop(capture);
        *seen.lock().expect("seen")
    })
}

#[test]
fn dynamic() {
    for mtu in LINKS {
        let [host, gate, router] = traffic(mtu, &[]);
        let what = format!("link of {mtu}: host {host:?}, gate {gate:?}, router {router:?}");
        assert!(host.packets > 1000 && gate.longest <= mtu && router.longest <= mtu, "{what}");
        if mtu - OUTER >= LEAST {
            assert!([host, gate, router].iter().all(|s| s.fragments == 0), "{what}");
            assert!([host, router].iter().all(|s| s.with_df == s.packets), "{what}");
        } else {
            assert!(host.longest <= 1500 && gate.fragments > 0, "{what}");
        }
    }
}

#[test]
fn fixed() {
    for mtu in LINKS {
        let [host, gate, router] = traffic(mtu, &["--ttl", "inherit", "--nopmtudisc"]);
        let what = format!("link of {mtu}: host {host:?}, gate {gate:?}, router {router:?}");
        assert!(host.packets > 1000 && gate.longest <= mtu && router.longest <= mtu, "{what}");
        assert!([host, gate, router].iter().all(|s| s.with_df == 0), "{what}");
    }
}

#[test]
fn packet_too_big_to_the_byte() {
    let site = Site::ours(&["--far", "1400"]);
    let _daemon = Daemon::working(&site, &["10.0.0.101"]);
    let (host, inet) = (site.namespace("host"), site.namespace("inet"));
    // The daemon learns the path MTU by this one; by the next destination it knows it already, while
    // the host does not.
    assert!(udp_echo(&host, &inet, INET, 1400));
    let passed: Arc<Mutex<Passed>> = Arc::default();
    let keep = Arc::clone(&passed);
    let _capture = Capture::start(&host, "is0", move |frame| {
        keep.lock().expect("packets").push((frame.outgoing, frame.packet.to_vec()));
    });
    assert!(udp_echo(&host, &site.namespace("router1"), OTHER, 1400));

    let all = || passed.lock().expect("packets").clone();
    let error = wait_for(secs(30), "Packet Too Big", || {
        all().into_iter().find(|(out, p)| !*out && p[6] == 58 && p[40] == 2).map(|(_, p)| p)
    });
    let long = |(out, p): &(bool, Vec<u8>)| *out && p.len() == 1448;
    let (_, sent) = all().into_iter().find(long).expect("the packet that is too big");
    let octets = |at: usize| <[u8; 16]>::try_from(&error[at..at + 16]).expect("an address");
    let (from, to) = (Ipv6Addr::from(octets(8)), Ipv6Addr::from(octets(24)));
    assert_eq!(error.len(), LEAST, "as much as fits (RFC 4443 section 2.4 (c))");
    assert_eq!(usize::from(u16::from_be_bytes([error[4], error[5]])), LEAST - 40);
    assert_eq!(to, GLOBAL1);
    assert!(!from.is_unspecified() && !from.is_multicast(), "from {from}");
    assert_eq!(error[40..42], [2, 0]);
    assert_eq!(error[44..48], 1380_u32.to_be_bytes());
    assert_eq!(error[48..], sent[..LEAST - 48]);
    assert_eq!(checksum(from, to, &error[40..]), 0);
}
