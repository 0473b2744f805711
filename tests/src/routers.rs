//! The site's routers as isatapd makes them, where there is no radvd on sit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::Pid;

use crate::capture::{Capture, Frame};
use crate::daemon::Daemon;
use crate::ip;
use crate::site::{ROUTER1, ROUTER2, Site};
use crate::wait::{secs, wait_for};

/// The daemons by node.
#[derive(Default)]
pub struct Routers(RefCell<BTreeMap<String, Router>>);

struct Router {
    daemon: Daemon,
    heard: Arc<AtomicU64>,
    _capture: Capture,
}

impl Routers {
    /// Starts a router, or starts it anew, with `more` arguments than those that make it one.
    pub fn start(&self, site: &Site, node: &str, more: &[String]) {
        self.0.borrow_mut().remove(node);
        let prefix = fs::read_to_string(site.file(&node.replace("router", "prefix")));
        let prefix = prefix.expect("the router's prefix");
        let locator = if node == "router1" { ROUTER1 } else { ROUTER2 };
        let router = start(site, node, prefix.trim(), locator, more);
        self.0.borrow_mut().insert(node.to_owned(), router);
    }

    /// Kills a router.
    pub fn kill(&self, node: &str) {
        assert!(self.0.borrow_mut().remove(node).is_some(), "{node} does not run");
    }

    /// Kills all.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// How many solicitations have come to a router by IPv4.
    pub fn solicitations(&self, node: &str) -> u64 {
        self.0.borrow().get(node).map_or(0, |router| router.heard.load(Ordering::Relaxed))
    }

    /// What a router has written.
    pub fn log(&self, node: &str) -> String {
        self.0.borrow()[node].daemon.log()
    }

    /// The privileged process of a router.
    pub fn pid(&self, node: &str) -> Pid {
        self.0.borrow()[node].daemon.parent()
    }
}

fn start(site: &Site, node: &str, prefix: &str, at: Ipv4Addr, more: &[String]) -> Router {
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let capture = Capture::start(&site.namespace(node), "eth0", move |frame| {
        count.fetch_add(u64::from(is_solicitation(frame)), Ordering::Relaxed);
    });
    let at = at.to_string();
    // The lifetimes are radvd's.
    let prefix = &format!("{prefix},AdvValidLifetime=86400,AdvPreferredLifetime=14400");
    let mut arguments = vec!["--advertise", prefix, "--forward", "--locator", &at];
    arguments.extend(more.iter().map(String::as_str));
    let daemon = Daemon::on(site, node, &arguments);
    wait_for(secs(60), "the router's address", || {
        let addresses = ip::addresses(&site.namespace(node), "is0");
        assert!(daemon.is_alive(), "{node}: {}", daemon.log());
        addresses.into_iter().find(|a| !a.address.is_unicast_link_local())
    });
    Router { daemon, heard, _capture: capture }
}

/// Whether a node has received a Router Solicitation:
/// IPv4 without options, protocol 41, ICMPv6, type 133.
pub fn is_solicitation(frame: Frame<'_>) -> bool {
    let packet = frame.packet;
    !frame.outgoing
        && frame.kind == 0x0800
        && packet.get(9) == Some(&41)
        && packet.get(26) == Some(&58)
        && packet.get(60) == Some(&133)
}
