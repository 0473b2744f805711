//! Links and IPv4 addresses that change under a running tunnel.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::Tcp;
use isatapd_tests::ip;
use isatapd_tests::site::{HOST, INET, ROUTER1, Site};
use isatapd_tests::wait::{secs, stays, wait_for};

use crate::common::{addresses_at, addresses_of, await_default};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// A tunnel that works, and what it was at first.
struct World {
    site: Site,
    daemon: Daemon,
    index: u64,
}

impl World {
    fn new(arguments: &[&str]) -> Self {
        let site = crate::site(&[]);
        let mut daemon = Daemon::working(&site, arguments);
        daemon.child();
        let index = ip::link(&site.namespace("host"), "is0").expect("is0").index;
        Self { site, daemon, index }
    }

    /// Runs these commands of ip(8) on the host, one right after the other; when they began.
    fn host(&self, commands: &[&str]) -> Instant {
        let began = Instant::now();
        ip::batch(&self.site.namespace("host"), &commands.join("\n"));
        began
    }

    /// A link from the host to the site, as `topology` makes it.
    fn cable(&self, name: &str) {
        let (site, host) = (self.site.namespace("site"), self.site.namespace("host"));
        let peer = format!("host-{name}");
        ip::batch(
            &site,
            &format!("link add {peer} master site up type veth peer name {name} netns {host}"),
        );
        self.host(&[&format!("link set {name} addrgenmode none"), &format!("link set {name} up")]);
    }

    /// Panics unless IPv6 works from `locator` after `event`, by the same interface.
    fn works_at(&self, locator: Ipv4Addr, event: Instant) {
        let log = || {
            let shown =
                ["-4 addr", "-4 route", "-6 addr show dev is0", "-6 route", "-d link show dev is0"];
            let shown = shown.map(|what| self.site.ip("host", what)).concat();
            format!("{shown}\n{}", self.daemon.log())
        };
        let pinged = self.site.pinger().first_since(event, secs(30));
        assert!(pinged.is_some(), "no ping from {locator}\n{}", log());
        wait_for(secs(30), "the addresses of the locator", || self.is_at(locator).then_some(()));
        let link = ip::link(&self.site.namespace("host"), "is0").expect("is0");
        assert_eq!(link.index, self.index, "another interface\n{}", log());
        if self.site.has_sit() {
            assert_eq!(link.local, locator.to_string(), "{link:?}");
        }
        assert_eq!(self.site.prl("is0"), [ROUTER1]);
        await_default(&self.site, ROUTER1, secs(30));
    }

    /// Whether the tunnel has the addresses of that locator, and no other.
    fn is_at(&self, locator: Ipv4Addr) -> bool {
        addresses_of(&self.site, "is0") == addresses_at(locator)
    }

    fn lines(&self, of: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(of)).count()
    }
}

#[test]
fn another_address_takes_the_place_of_the_first() {
    let world = World::new(&[]);
    let solicited = world.site.solicitations("router1");
    let event = world.host(&["addr del 10.0.0.2/24 dev eth0", "addr add 10.0.0.9/24 dev eth0"]);
    world.works_at(OTHER, event);
    assert!(world.site.solicitations("router1") > solicited, "not solicited");
    // Back, and the new one comes before the old one goes.
    let event = world.host(&["addr add 10.0.0.2/24 dev eth0", "addr del 10.0.0.9/24 dev eth0"]);
    // The new one was a secondary address, and the kernel has taken it with the first.
    assert!(!world.site.ip("host", "-4 addr show dev eth0").contains("10.0.0.2/"));
    let added = world.host(&["addr add 10.0.0.2/24 dev eth0"]);
    world.works_at(HOST, event.max(added));
}

#[test]
fn a_secondary_address_is_promoted_and_both_are_swapped() {
    let world = World::new(&["--link", "eth0"]);
    world.site.set_sysctl("ipv4/conf/eth0/promote_secondaries", "1");
    let event = world.host(&["addr add 10.0.0.9/24 dev eth0", "addr del 10.0.0.2/24 dev eth0"]);
    world.works_at(OTHER, event);
    world.host(&["addr add 10.0.0.2/24 dev eth0"]);
    // Both are there: the locator in use stays.
    stays(secs(2), "the locator", || world.is_at(OTHER));
    let event = world.host(&["addr del 10.0.0.9/24 dev eth0", "addr add 10.0.0.9/24 dev eth0"]);
    world.works_at(HOST, event);
}

/// A renewal by a DHCP client that removes the address first.
#[test]
fn an_address_that_is_gone_for_a_moment() {
    let world = World::new(&[]);
    let (host, inet) = (world.site.namespace("host"), world.site.namespace("inet"));
    let tcp = Tcp::start(&host, &inet, INET);
    tcp.advances(1 << 16);
    for _ in 0..3 {
        world.host(&["addr del 10.0.0.2/24 dev eth0"]);
        stays(Duration::from_millis(100), "the addresses", || world.is_at(HOST));
        let event = world.host(&["addr add 10.0.0.2/24 dev eth0"]);
        world.works_at(HOST, event);
        tcp.advances(1 << 16);
    }
}

#[test]
fn several_addresses_in_a_row() {
    let world = World::new(&[]);
    let mut lines = Vec::new();
    for last in 3..=9 {
        lines.push(format!("addr del 10.0.0.{}/24 dev eth0", last - 1));
        lines.push(format!("addr add 10.0.0.{last}/24 dev eth0"));
    }
    let event = world.host(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    world.works_at(OTHER, event);
}

#[test]
fn the_way_to_the_routers_moves_to_another_link() {
    let world = World::new(&[]);
    world.cable("eth2");
    world.host(&["addr add 10.0.0.9/32 dev eth2"]);
    let event = world.host(&["route add 10.0.0.101/32 dev eth2 src 10.0.0.9"]);
    world.works_at(OTHER, event);
    let event = world.host(&["route del 10.0.0.101/32 dev eth2"]);
    world.works_at(HOST, event);
}

#[test]
fn the_link_has_another_mtu() {
    let world = World::new(&[]);
    let host = world.site.namespace("host");
    let tcp = Tcp::start(&host, &world.site.namespace("inet"), INET);
    let tunnel = |mtu| {
        // The kernel's keeps its own and goes by what the links say.
        let mtu = if world.site.has_sit() { 1480 } else { mtu };
        wait_for(secs(30), "the tunnel's MTU", || {
            (ip::link(&host, "is0")?.mtu == mtu).then_some(())
        });
    };
    for (link, mtu, said) in [(1400, 1380, 0), (1200, 1280, 1), (1000, 1280, 1), (1500, 1480, 1)] {
        world.host(&[&format!("link set eth0 mtu {link}")]);
        tunnel(mtu);
        tcp.advances(1 << 18);
        // The kernel's tunnel does not show when the daemon has seen it.
        wait_for(secs(30), &format!("{said} lines of an MTU of {link}"), || {
            (world.lines("a link to the routers has an MTU of") == said).then_some(())
        });
    }
    stays(secs(2), "said once", || world.lines("a link to the routers has an MTU of") == 1);
    assert_eq!(ip::link(&host, "is0").expect("is0").index, world.index);
    assert_eq!(world.lines("tunnel: down"), 0, "{}", world.daemon.log());
}

#[test]
fn the_link_of_the_option_goes_through_everything() {
    let world = World::new(&["--link", "eth0"]);
    let works = |event| world.works_at(HOST, event);
    let waits = |what: &str, before: usize| {
        wait_for(secs(30), what, || (world.lines(what) > before).then_some(()));
    };
    // Down and up: the address stays.
    let before = world.lines("the link is down");
    world.host(&["link set eth0 down"]);
    waits("the link is down", before);
    works(world.host(&["link set eth0 up"]));
    // Renamed, which the kernel does of a link that is up since 6.2, and back.
    let before = world.lines("no such link");
    world.host(&["link set eth0 down", "link set eth0 name eth9", "link set eth9 up"]);
    waits("no such link", before);
    works(world.host(&["link set eth9 down", "link set eth9 name eth0", "link set eth0 up"]));
    // Removed, and made anew: it has another number.
    let before = world.lines("no such link");
    world.host(&["link del eth0"]);
    waits("no such link", before);
    world.cable("eth0");
    works(world.host(&["addr add 10.0.0.2/24 dev eth0"]));
    assert!(world.daemon.log().lines().count() < 60, "{}", world.daemon.log());
}
