//! What others do to the tunnel itself.

use std::time::Instant;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::site::{HOST, ROUTER1, ROUTER2, Site};
use isatapd_tests::wait::{secs, stays, wait_for};
use nix::sys::signal::Signal;

use crate::common::{GLOBAL1, addresses_of, check_gone};

/// A tunnel that works.
struct World {
    site: Site,
    host: String,
    daemon: Daemon,
}

impl World {
    fn new() -> Self {
        let site = crate::site(&[]);
        let mut daemon = Daemon::working(&site, &[]);
        daemon.child();
        let host = site.namespace("host");
        Self { site, host, daemon }
    }

    fn index(&self, name: &str) -> Option<u64> {
        ip::link(&self.host, name).map(|link| link.index)
    }

    /// Does this on the host, and waits until IPv6 works, by an interface of that name.
    fn survives(&self, commands: &[&str], name: &str) {
        for command in commands {
            ip::run(&self.host, command);
        }
        self.works(name);
    }

    fn works(&self, name: &str) {
        wait_for(secs(30), "the addresses and the route", || {
            let addresses = addresses_of(&self.site, name);
            let whole = addresses == [GLOBAL1, isatapd_tests::forge::isatap(HOST)];
            (whole && ip::default_routes(&self.host, name).len() == 1).then_some(())
        });
        self.site.reaches_inet();
    }

    fn lines(&self, of: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(of)).count()
    }
}

#[test]
fn it_is_set_down_and_emptied() {
    let world = World::new();
    let index = world.index("is0");
    for commands in [
        &["link set is0 down"][..],
        &["link set is0 down", "link set is0 up"],
        &["-6 addr flush dev is0"],
        &["-6 route flush dev is0"],
        &["link set is0 mtu 1300"],
        // The kernel itself refuses it of sit.
        &[if world.site.has_sit() { "link set is0 mtu 1280" } else { "link set is0 mtu 1000" }],
    ] {
        world.survives(commands, "is0");
        assert_eq!(world.index("is0"), index, "{commands:?}");
        wait_for(secs(30), "the MTU", || {
            (ip::link(&world.host, "is0").expect("is0").mtu == 1480).then_some(())
        });
    }
}

#[test]
fn it_is_deleted_again_and_again() {
    let world = World::new();
    for _ in 0..3 {
        world.survives(&["link del is0"], "is0");
    }
    // A burst of deletions is answered at most once a second.
    let (made, began) = (world.lines("tunnel made"), Instant::now());
    while began.elapsed() < secs(3) {
        if world.index("is0").is_some() {
            // It may be gone already.
            ip::succeeds(&world.host, "link del is0");
        }
    }
    let (made, took) = (world.lines("tunnel made") - made, began.elapsed());
    let most = 2 + usize::try_from(took.as_secs()).expect("a number");
    assert!((1..=most).contains(&made), "made {made} times in {took:?}");
    world.works("is0");
}

#[test]
fn it_is_renamed_and_a_stranger_takes_its_name() {
    let mut world = World::new();
    let index = world.index("is0");
    // Before Linux 6.2 only what is down has another name, and the daemon sets it up.
    wait_for(secs(30), "another name", || {
        ip::succeeds(&world.host, "link set is0 down");
        ip::succeeds(&world.host, "link set is0 name is9").then_some(())
    });
    world.survives(&["link set is9 up"], "is9");
    assert_eq!(world.index("is9"), index);
    let stranger = "link add is0 mtu 1400 type veth peer name is1";
    world.survives(&[stranger, "link set is0 up", "addr add 192.0.2.1/32 dev is0"], "is9");
    let show = || world.site.ip("host", "-d addr show dev is0").replace("tentative ", "");
    let before = show();
    // The new routers go to the tunnel, whatever it is called.
    world.site.dns(&[ROUTER1, ROUTER2]);
    world.daemon.signal(Signal::SIGHUP);
    wait_for(secs(40), "the second router", || {
        (ip::default_routes(&world.host, "is9").len() == 2).then_some(())
    });
    // Without its place, and with a stranger in it, there is none.
    ip::run(&world.host, "link del is9");
    wait_for(secs(30), "the reason", || (world.lines("is0: cannot") > 0).then_some(()));
    stays(secs(3), "the stranger as it was", || show() == before && world.daemon.is_alive());
    let lines = world.daemon.log().lines().count();
    assert!(lines < 60, "{}", world.daemon.log());
    ip::run(&world.host, "link del is0");
    wait_for(secs(30), "the routes", || {
        (ip::default_routes(&world.host, "is0").len() == 2).then_some(())
    });
    // No ping: radvd's routers take packets from addresses of their own prefix only.
    assert_eq!(world.daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    check_gone(&world.site, "is0");
}

/// Said in words once, no flapping, and well again when it is undone.
fn without_ipv6(set: impl Fn(&Site, &str)) {
    let world = World::new();
    set(&world.site, "1");
    wait_for(secs(30), "the reason", || (world.lines("disable_ipv6") > 0).then_some(()));
    let (said, index) = (world.daemon.log().lines().count(), world.index("is0"));
    assert!(index.is_some(), "the tunnel is gone");
    stays(crate::QUIET, "the tunnel", || world.index("is0") == index);
    let lines = world.daemon.log().lines().count();
    assert!(lines <= said + 3, "flaps:\n{}", world.daemon.log());
    set(&world.site, "0");
    // The guest's kernel tells nobody, and the daemon looks every 10 s.
    world.works("is0");
}

#[test]
fn ipv6_is_switched_off_on_it() {
    without_ipv6(|site, value| site.set_sysctl("ipv6/conf/is0/disable_ipv6", value));
}

#[test]
fn ipv6_is_switched_off_on_all() {
    without_ipv6(|site, value| site.set_sysctl("ipv6/conf/all/disable_ipv6", value));
}

#[test]
fn ipv6_is_off_at_the_start() {
    let site = crate::site(&[]);
    for scope in ["default", "all"] {
        site.set_sysctl(&format!("ipv6/conf/{scope}/disable_ipv6"), "1");
        let mut daemon = Daemon::start(&site, &[]);
        daemon.child();
        wait_for(secs(30), "the reason", || daemon.log().contains("disable_ipv6").then_some(()));
        stays(crate::QUIET, "no tunnel", || ip::link(&site.namespace("host"), "is0").is_none());
        site.set_sysctl(&format!("ipv6/conf/{scope}/disable_ipv6"), "0");
        // It looks every 10 s.
        site.reaches_inet();
        let lines = daemon.log().lines().count();
        assert!(lines < 15, "{}", daemon.log());
        assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    }
}
