//! What becomes of a connection when processes die.

use isatapd_tests::daemon::Daemon;
use isatapd_tests::flow::Tcp;
use isatapd_tests::ip;
use isatapd_tests::process::children;
use isatapd_tests::site::{INET, Site};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};

#[test]
fn goes_on_when_the_child_is_killed() {
    let site = Site::ours(&[]);
    let (host, inet) = (site.namespace("host"), site.namespace("inet"));
    let mut daemon = Daemon::working(&site, &[]);
    let index = ip::link(&host, "is0").expect("is0").index;
    let tcp = Tcp::start(&host, &inet, INET);
    tcp.advances(1 << 20);
    let child = daemon.child();
    kill(child, Signal::SIGKILL).expect("kill");
    let parent = daemon.parent();
    wait_for(secs(30), "another child", || children(parent).into_iter().find(|p| *p != child));
    tcp.advances(4 << 20);
    assert_eq!(ip::link(&host, "is0").expect("is0").index, index, "the interface is another");
    daemon.child();
}

#[test]
fn goes_on_when_the_routers_child_is_killed() {
    let site = Site::ours(&[]);
    let _daemon = Daemon::working(&site, &[]);
    let tcp = Tcp::start(&site.namespace("host"), &site.namespace("inet"), INET);
    tcp.advances(1 << 20);
    let parent = site.router_pid("router1");
    let child = wait_for(secs(5), "a child", || children(parent).first().copied());
    kill(child, Signal::SIGKILL).expect("kill");
    wait_for(secs(30), "another child", || children(parent).into_iter().find(|p| *p != child));
    tcp.advances(4 << 20);
}
