//! Nothing else leaves the host than protocol 41 from its locator, its questions to the name server,
//! ARP, and its own ICMP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use isatapd_tests::capture::{Capture, Frame};
use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::{Tcp, udp_echo};
use isatapd_tests::forge::Advert;
use isatapd_tests::site::{DNS, HOST, INET, ROUTER1, ROUTER2, Site};
use nix::sys::signal::Signal;

/// What a packet is, in a word; those that must not be are told whole.
fn name(frame: Frame<'_>) -> String {
    let packet = frame.packet;
    let whole = || format!("{:04x} {packet:02x?}", frame.kind);
    if frame.kind == 0x0806 {
        return "ARP".to_owned();
    }
    if frame.kind != 0x0800 || packet[12..16] != HOST.octets() {
        return whole();
    }
    let to = &packet[16..20];
    match packet[9] {
        41 if to == ROUTER1.octets() || to == ROUTER2.octets() => "tunnel".to_owned(),
        6 | 17 if to == DNS.octets() && packet[22..24] == [0, 53] => "DNS".to_owned(),
        1 if to == DNS.octets() => "ICMP".to_owned(),
        _ => whole(),
    }
}

#[test]
fn nothing_else_leaves_the_host() {
    let site = Site::ours(&[]);
    site.dns(&[ROUTER1, ROUTER2]);
    let seen: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let tell = Arc::clone(&seen);
    let capture = Capture::start(&site.namespace("host"), "eth0", move |frame| {
        if frame.outgoing {
            *tell.lock().expect("seen").entry(name(frame)).or_default() += 1;
        }
    });
    let mut daemon = Daemon::working(&site, &[]);
    let (host, inet) = (site.namespace("host"), site.namespace("inet"));
    assert!(udp_echo(&host, &inet, INET, 4000));
    Tcp::start(&host, &inet, INET).advances(1 << 20);
    // To where there is no next hop: multicast, a neighbour that embeds no usable address, nobody.
    for to in
        ["ff02::1%is0", "ff05::2%is0", "fe80::1%is0", "fe80::5efe:7f00:1%is0", "2001:db8:1::1"]
    {
        let _ = std::process::Command::new("ip")
            .args(["netns", "exec", &host, "ping", "-6", "-c1", "-W1", to])
            .output();
    }
    // From who is no router, and in a router's name, with something wrong.
    for advert in [
        Advert { from4: DNS, ..Advert::default() },
        Advert { hops: 1, ..Advert::default() },
        Advert { cut: 5, ..Advert::default() },
    ] {
        advert.send(&site.namespace("dns"), HOST);
    }
    site.reaches_inet();
    daemon.stop(Signal::SIGTERM);
    drop(capture);
    let seen = seen.lock().expect("seen");
    let known = ["ARP", "tunnel", "DNS", "ICMP"];
    let foreign: Vec<_> = seen.iter().filter(|(name, _)| !known.contains(&name.as_str())).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(seen.get("tunnel").is_some_and(|n| *n > 500) && seen.contains_key("DNS"), "{seen:?}");
}
