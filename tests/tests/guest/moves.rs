//! A change of circumstances under `--backend auto`.

use std::fs;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::Tcp;
use isatapd_tests::ip;
use isatapd_tests::netns::within;
use isatapd_tests::site::{INET, ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::{GLOBAL1, await_default, check_addresses};

/// The kernel's tunnel keeps one IPv4 route for all: with another next hop it is no longer safe, and
/// a TUN interface takes its place while octets flow.
#[test]
fn another_next_hop_moves_a_working_tunnel_to_tun() {
    let site = Site::up(&["--shared"]);
    let [host, dns, inet] = ["host", "dns", "inet"].map(|node| site.namespace(node));
    // The name server is a router of IPv4, too, and tells nobody of shorter ways.
    within(&dns, || {
        for (setting, value) in [
            ("ip_forward", "1"),
            ("conf/all/send_redirects", "0"),
            ("conf/eth0/send_redirects", "0"),
        ] {
            fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect("a setting");
        }
    });
    site.dns(&[ROUTER1, ROUTER2]);
    let daemon = Daemon::working(&site, &[]);
    await_default(&site, ROUTER1, secs(30));
    await_default(&site, ROUTER2, secs(30));
    let before = ip::link(&host, "is0").expect("is0");
    assert_eq!(before.kind, "sit", "{before:?}");
    let tcp = Tcp::start(&host, &inet, INET);
    tcp.advances(1 << 17);

    site.ip("host", "route add 10.0.0.102 via 10.0.0.53");
    let after = wait_for(secs(30), "a TUN interface", || {
        ip::link(&host, "is0").filter(|link| link.kind == "tun")
    });
    let reason = "is0: backend tun: the routers have different IPv4 next hops";
    assert!(daemon.log().contains(reason), "the log does not say why");
    assert!(after.up && after.index != before.index, "{after:?}");
    check_addresses(&site, "is0", &[GLOBAL1]);
    for router in [ROUTER1, ROUTER2] {
        await_default(&site, router, secs(30));
    }
    site.reaches_inet();
    tcp.advances(1 << 17);
    // The way back is a restart: a route that goes again changes nothing.
    site.ip("host", "route delete 10.0.0.102");
    tcp.advances(1 << 17);
    assert_eq!(ip::link(&host, "is0").map(|link| link.index), Some(after.index));
}
