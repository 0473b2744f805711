//! `--daemon`: it returns when it is ready, or with the reason why not.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use isatapd_tests::daemon::{Daemon, run};
use isatapd_tests::expect::{self, status};
use isatapd_tests::ip;
use isatapd_tests::process::{await_gone, children, descriptors, is_alive, link};
use isatapd_tests::site::{Site, isatapd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::check_gone;

/// Starts it with an open descriptor 7, as a careless caller does.
fn background(site: &Site, arguments: &[&str]) -> ExitStatus {
    let host = site.namespace("host");
    Command::new("bash")
        .args(["-c", r#"exec "$@" 7</etc/passwd"#, "-", "ip", "netns", "exec", &host])
        .arg(isatapd())
        .args(site.host_arguments())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("isatapd")
}

#[test]
fn leaves_nothing_of_the_caller_open() {
    let site = crate::site(&[]);
    let pid_file = site.file("isatapd-test.pid");
    let status = background(&site, &["-d", "-p", &pid_file]);
    assert_eq!(status.code(), Some(0));
    // It has returned, so this is there already.
    let text = fs::read_to_string(&pid_file).expect("a pid file");
    let parent =
        Pid::from_raw(text.strip_suffix('\n').and_then(|p| p.parse().ok()).expect("a pid"));
    let [child] = children(parent)[..] else { panic!("not one child") };

    for process in [parent, child] {
        let open = descriptors(process);
        assert!(!open.iter().any(|(_, what)| what.contains("passwd")), "{open:?}");
        // The child's root is an empty folder.
        assert_eq!(link(process, "cwd"), link(process, "root"));
    }
    assert_eq!(link(parent, "cwd"), Path::new("/"));
    let standard: Vec<_> = descriptors(parent).into_iter().filter(|(n, _)| *n <= 2).collect();
    assert_eq!(standard.len(), 3, "{standard:?}");
    assert!(standard.iter().all(|(_, what)| what == "/dev/null"), "{standard:?}");
    assert!(
        descriptors(child).iter().filter(|(n, _)| *n <= 2).all(|(_, what)| what == "/dev/null")
    );
    assert!(!descriptors(child).iter().any(|(_, what)| what.contains("isatapd-test.pid")));

    let (second, _) = run(&site, &["-d", "-p", &pid_file, "-n", "is1"]);
    expect::exit(second, status::TEMPORARY, "a second instance");
    assert!(is_alive(parent));
    site.reaches_inet();

    kill(parent, Signal::SIGTERM).expect("kill");
    await_gone(parent);
    await_gone(child);
    assert!(!Path::new(&pid_file).exists(), "the pid file is left");
    check_gone(&site, "is0");
}

#[test]
fn tells_that_it_failed() {
    let site = crate::site(&[]);
    let cases: [(&[&str], i32); 5] = [
        (&["-n", "sixteen-octets-x"], status::USAGE),
        (&["-m", "1000"], status::USAGE),
        (&["-p", "/nonexistent/isatapd.pid"], status::CANNOT_CREATE),
        (&["--user", "nobody-of-that-name"], status::NO_USER),
        (&["-n", "eth0"], status::TEMPORARY),
    ];
    for (arguments, want) in cases {
        let (exit, log) = run(&site, &[&["--daemon"], arguments].concat());
        let code = exit.code();
        // A foreign link of that name: which status is right is a matter of taste.
        assert!(
            code == Some(want) || arguments[1] == "eth0" && code != Some(0),
            "{arguments:?}: {exit}"
        );
        expect::one_line(&log, &[]);
        assert_eq!(
            ip::links(&site.namespace("host")).iter().filter(|l| l.starts_with("is")).count(),
            0
        );
    }
}

#[test]
fn a_pid_file_in_the_foreground() {
    let site = crate::site(&[]);
    let pid_file = site.file("isatapd-test.pid");
    let mut daemon = Daemon::working(&site, &["-p", &pid_file]);
    assert_eq!(
        fs::read_to_string(&pid_file).expect("a pid file"),
        format!("{}\n", daemon.parent())
    );
    assert_eq!(daemon.stop(Signal::SIGTERM).0.code(), Some(0));
    assert!(!Path::new(&pid_file).exists());
}
