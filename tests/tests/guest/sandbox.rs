//! What the running pair has given up, by /proc.

use std::fs;
use std::os::unix::fs::MetadataExt;

use isatapd_tests::daemon::Daemon;
use isatapd_tests::expect::USER;
use isatapd_tests::process::{capabilities, descriptors, limit, link, status};
use isatapd_tests::site::Site;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, User};

/// CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_CHROOT,
/// CAP_SYS_RESOURCE: at most, to serve the tunnel and to start and end a child.
const PARENT_CAPABILITIES: u64 =
    1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 18 | 1 << 24;

fn check_child(child: Pid) {
    let user = User::from_name(USER).expect("passwd").expect("the user of the child");
    let all_four = |id: u32| vec![id.to_string(); 4].join(" ");
    assert_eq!(status(child, "Uid"), all_four(user.uid.as_raw()));
    assert_eq!(status(child, "Gid"), all_four(user.gid.as_raw()));
    assert_eq!(status(child, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(capabilities(child, set), 0, "{set}");
    }
    assert_eq!(status(child, "NoNewPrivs"), "1");
    assert_eq!(status(child, "Seccomp"), "2");
    assert_eq!(status(child, "Threads"), "2");

    let root = format!("/proc/{child}/root/");
    assert_eq!(fs::read_dir(&root).expect("its root").count(), 0, "its root is not empty");
    assert_eq!(link(child, "cwd"), link(child, "root"));
    let meta = fs::metadata(&root).expect("its root");
    assert_eq!((meta.uid(), meta.mode() & 0o222), (0, 0), "its root can be written");
    assert_eq!(fs::metadata(format!("/proc/{child}/environ")).expect("proc").uid(), 0, "dumpable");
    assert!(fs::read(format!("/proc/{child}/environ")).expect("environment").is_empty());
    let maps = fs::read_to_string(format!("/proc/{child}/maps")).expect("maps");
    assert!(!maps.contains(".so"), "not linked statically: {maps}");

    for name in [
        "Max processes",
        "Max file size",
        "Max core file size",
        "Max locked memory",
        "Max msgqueue size",
    ] {
        assert_eq!(limit(child, name), ("0".to_owned(), "0".to_owned()), "{name}");
    }
    let (soft, hard) = limit(child, "Max open files");
    assert!(soft == hard && soft.parse::<u32>().is_ok_and(|n| n <= 256), "{soft} {hard}");

    for (number, what) in descriptors(child) {
        let known = ["socket:", "anon_inode:", "/dev/null"].iter().any(|k| what.starts_with(k));
        let file = ["resolv.conf", "hosts"].iter().any(|f| what.ends_with(f));
        assert!(known || file, "descriptor {number}: {what}");
    }
}

fn check_parent(parent: Pid) {
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let more = capabilities(parent, set) & !PARENT_CAPABILITIES;
        assert_eq!(more, 0, "{set} has {more:#x} too many");
    }
    assert_eq!(capabilities(parent, "CapAmb") | capabilities(parent, "CapInh"), 0);
    assert_eq!(status(parent, "NoNewPrivs"), "1");
    assert_eq!(status(parent, "Seccomp"), "2");
    assert_eq!(status(parent, "Threads"), "1");
}

#[test]
fn of_the_running_pair() {
    let site = Site::up(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (parent, child) = (daemon.parent(), daemon.child());
    assert_ne!(link(parent, "exe"), link(child, "exe"));
    check_child(child);
    check_parent(parent);
}

/// The sockets of protocol 41 are at 4 and 5; who is never to encapsulate has none.
#[test]
fn who_encapsulates_can_send() {
    let site = Site::up(&[]);
    for (options, what) in
        [(&["--backend", "tun"][..], "socket:"), (&["--backend", "kernel"], "/dev/null")]
    {
        let mut daemon = Daemon::working(&site, options);
        let found = descriptors(daemon.child());
        for number in [4, 5] {
            let is = |(n, kind): &(i32, String)| *n == number && kind.starts_with(what);
            assert!(found.iter().any(is), "{options:?}: {found:?}");
        }
        daemon.stop(Signal::SIGTERM);
    }
}
