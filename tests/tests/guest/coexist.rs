//! Beside what others have: radvd and the kernel's tunnel as router, isatapd 0.9.7 and the kernel as
//! host; over both forms of the link-local address.

use std::net::Ipv6Addr;
use std::process::{Child, Command, Stdio};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::forge::{isatap, universal};
use isatapd_tests::ip;
use isatapd_tests::rdisc6;
use isatapd_tests::site::{HOST, INET, ROUTER1, Site};
use isatapd_tests::wait::{secs, wait_for};

use crate::common::{GLOBAL1, address, check_addresses};

/// A program of others, killed when dropped.
struct Peer(Child);

impl Peer {
    fn start(site: &Site, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &site.namespace("host"), program]).args(arguments);
        Self(command.stdin(Stdio::null()).spawn().expect("a peer"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn forms(private: Ipv6Addr) -> [Ipv6Addr; 2] {
    [private, universal(private)]
}

#[test]
fn our_data_path_with_radvd_on_sit() {
    for form in forms(isatap(ROUTER1)) {
        let site = Site::up(&[]);
        site.ip("router1", "-6 addr flush dev is0 scope link");
        site.ip("router1", &format!("-6 addr add {form}/64 dev is0 nodad"));
        site.advertise("router1", &[]);
        let daemon = Daemon::working(&site, &["--backend", "tun"]);
        let link = ip::link(&site.namespace("host"), "is0").expect("is0");
        assert_eq!(link.kind, "tun", "{}", daemon.log());
        wait_for(secs(30), "the default route", || {
            let routes = ip::default_routes(&site.namespace("host"), "is0");
            routes.into_iter().find(|route| route.gateway == Some(form))
        });
        check_addresses(&site, "is0", &[GLOBAL1]);
        site.reaches_inet();
    }
}

#[test]
fn isatapd_0_9_7_with_our_router() {
    let site = Site::ours(&[]);
    let _peer = Peer::start(&site, "/usr/sbin/isatapd", &["--name", "is0", "10.0.0.101"]);
    wait_for(secs(120), "the address", || address(&site, GLOBAL1));
    site.reaches_inet();
    // It sends by the kernel, which has one link-local address at a time for it.
    site.ip("host", &format!("-6 addr add {}/64 dev is0 nodad", universal(isatap(HOST))));
    site.ip("host", &format!("-6 addr del {}/64 dev is0", isatap(HOST)));
    // Nor does it send to ff02::2 in the tunnel.
    for to in forms(isatap(ROUTER1)) {
        let source = universal(isatap(HOST));
        let lines = rdisc6::ask(&site.namespace("host"), "is0", source, &to.to_string());
        assert!(lines.iter().any(|l| l == "Prefix : 2001:db8:1::/64"), "{to}: {lines:?}");
    }
    site.reaches_inet();
}

#[test]
fn the_kernel_with_our_router() {
    let site = Site::ours(&[]);
    let host = site.namespace("host");
    site.ip("host", "tunnel add is0 mode isatap local 10.0.0.2 ttl 64");
    site.ip("host", "tunnel prl prl-default 10.0.0.101 dev is0");
    site.ip("host", "link set is0 up");
    let other = universal(isatap(HOST));
    site.ip("host", &format!("-6 addr add {other}/64 dev is0 nodad"));
    for source in forms(isatap(HOST)) {
        for to in forms(isatap(ROUTER1)) {
            site.ip("host", "-6 addr flush dev is0 scope global");
            site.ip("host", "-6 route flush dev is0 proto ra");
            let lines = rdisc6::ask(&host, "is0", source, &to.to_string());
            assert!(!lines.is_empty(), "{source} to {to}: {}", site.router_log("router1"));
            // The kernel acts on the same answer.
            wait_for(secs(10), "the kernel's address", || address(&site, GLOBAL1));
            wait_for(secs(10), "the kernel's route", || ip::default_routes(&host, "is0").pop());
            site.reaches_inet();
        }
    }
    assert!(isatapd_tests::ping::answers(&host, INET, secs(10)));
}
