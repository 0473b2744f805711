//! Whatever comes by thousands costs no more than a few.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use isatapd_tests::capture::Capture;
use isatapd_tests::daemon::Daemon;
use isatapd_tests::ip;
use isatapd_tests::process::{children, processor_time};
use isatapd_tests::site::Site;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};

/// How long storms last.
const STORM: Duration = secs(3);

/// Within that SIGTERM ends it, also on a busy machine.
const ENDS: Duration = secs(8);

/// Panics unless both processes come to rest after a storm, and IPv6 works by the same child.
fn check_rest(site: &Site, daemon: &mut Daemon) {
    sleep(secs(1));
    let processes = [daemon.parent(), daemon.child()];
    let used = || processes.map(processor_time).iter().sum::<Duration>();
    wait_for(secs(20), "20 ms of CPU time at most in 2 s", || {
        let before = used();
        sleep(secs(2));
        let more = used().saturating_sub(before);
        (more <= Duration::from_millis(20)).then_some(())
    });
    site.reaches_inet();
}

/// Sends a daemon signals until told to stop; how many.
fn storm(daemon: &Daemon, signal: Signal) -> (Arc<AtomicBool>, JoinHandle<u64>) {
    let ends = Arc::new(AtomicBool::new(false));
    let (ended, parent) = (Arc::clone(&ends), daemon.parent());
    let thread = thread::spawn(move || {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) && kill(parent, signal).is_ok() {
            count += 1;
        }
        count
    });
    (ends, thread)
}

fn storm_of(signal: Signal) {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let child = daemon.child();
    // Whether the name server answers is another matter.
    let (solicited, lines) = (site.solicitations("router1"), daemon.log().lines().count());
    let began = Instant::now();
    let (ends, thread) = storm(&daemon, signal);
    sleep(STORM);
    ends.store(true, Ordering::Relaxed);
    let sent = thread.join().expect("a thread");
    let lasted = began.elapsed();
    check_rest(&site, &mut daemon);
    assert_eq!(daemon.child(), child, "{}", daemon.log());
    let solicited = site.solicitations("router1") - solicited;
    let lines = daemon.log().lines().count() - lines;
    if signal == Signal::SIGUSR1 {
        let files: Vec<_> = dumps(&site);
        let [(path, mode, text)] = &files[..] else { panic!("{files:?}") };
        assert!(path.ends_with(".is0.dump") && *mode == 0o100_600, "{files:?}");
        assert!(text.contains("router 10.0.0.101: slot 0") && text.ends_with('\n'), "{text}");
    }
    eprintln!("{sent} times {signal}: {solicited} solicitations, {lines} lines");
    // As many as a patient operator could have caused: five at once, then one in 4 s.
    let most = if signal == Signal::SIGHUP { 7 + lasted.as_secs() / 4 } else { 1 };
    assert!(sent > 1000 && solicited <= most && lines < 300, "{solicited} {lines}");

    let (ends, thread) = storm(&daemon, signal);
    sleep(Duration::from_millis(200));
    let (status, took) = daemon.stop(Signal::SIGTERM);
    ends.store(true, Ordering::Relaxed);
    thread.join().expect("a thread");
    assert_eq!(status.code(), Some(0));
    assert!(took < ENDS, "took {took:?}");
    assert_eq!(dumps(&site), []);
}

/// The states written to files for the host: path, mode, text.
fn dumps(site: &Site) -> Vec<(String, u32, String)> {
    let namespace = Path::new("/run/netns").join(site.namespace("host"));
    let number = fs::metadata(namespace).expect("a namespace").ino();
    let all = fs::read_dir("/run/isatapd").into_iter().flatten().flatten().map(|file| file.path());
    let ours = all.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(&format!("{number}.")) && name.contains(".dump")
    });
    ours.map(|path| {
        let mode = fs::symlink_metadata(&path).expect("a file").mode();
        (path.display().to_string(), mode, fs::read_to_string(&path).expect("text"))
    })
    .collect()
}

#[test]
fn of_sighup() {
    storm_of(Signal::SIGHUP);
}

#[test]
fn of_sigusr1() {
    storm_of(Signal::SIGUSR1);
}

#[test]
fn of_other_addresses() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let child = daemon.child();
    let (solicited, lines) = (site.solicitations("router1"), daemon.log().lines().count());
    let addresses = (0..2500).flat_map(|n| {
        [format!("10.200.{}.{}/32 dev lo", n / 250, n % 250 + 1), format!("fd77::{n:x}/128 dev lo")]
    });
    let addresses: Vec<_> = addresses.collect();
    for action in ["add", "del"] {
        let all: Vec<_> = addresses.iter().map(|a| format!("addr {action} {a}\n")).collect();
        ip::batch(&site.namespace("host"), &all.concat());
    }
    check_rest(&site, &mut daemon);
    assert_eq!(children(daemon.parent()), [child]);
    let solicited = site.solicitations("router1") - solicited;
    let lines = daemon.log().lines().count() - lines;
    assert!(solicited <= 1 && lines < 5, "{solicited} solicitations: {}", daemon.log());
}

#[test]
fn of_changes_of_resolv_conf() {
    let site = crate::site(&[]);
    let mut daemon = Daemon::working(&site, &[]);
    let (queries, lines) = (Arc::new(AtomicU64::new(0)), daemon.log().lines().count());
    let count = Arc::clone(&queries);
    let capture = Capture::start(&site.namespace("host"), "eth0", move |frame| {
        // IPv4 without options, UDP, port 53.
        let asks = frame.packet.get(9) == Some(&17) && frame.packet.get(22..24) == Some(&[0, 53]);
        count.fetch_add(u64::from(frame.outgoing && asks), Ordering::Relaxed);
    });
    let path = Path::new("/etc/netns").join(site.namespace("host")).join("resolv.conf");
    let text = fs::read_to_string(&path).expect("resolv.conf");
    let (begin, mut changes) = (Instant::now(), 0);
    while begin.elapsed() < STORM || changes <= 100 {
        fs::write(&path, &text).expect("resolv.conf");
        changes += 1;
        sleep(Duration::from_millis(10));
    }
    // One each second is followed.
    let more = begin.elapsed().saturating_sub(STORM).as_secs();
    check_rest(&site, &mut daemon);
    drop(capture);
    let (queries, lines) = (queries.load(Ordering::Relaxed), daemon.log().lines().count() - lines);
    eprintln!("{changes} changes: {queries} queries, {lines} lines");
    assert!(queries <= 20 + 4 * more, "{}", daemon.log());
    assert!(lines <= 20 + usize::try_from(more).expect("a number"), "{}", daemon.log());
}
