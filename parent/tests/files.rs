//! resolv.conf and hosts are followed, however they change.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when something is wrong"
)]

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use isatapd::files::{Files, Opened};
use isatapd_proto::MAX_FILE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A folder with etc/resolv.conf and etc/hosts, or where they are to be.
struct Lab {
    folder: tempfile::TempDir,
    files: Files,
}

impl Lab {
    /// `make` sees the folder before it is watched.
    fn new(make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        make(folder.path());
        let paths = ["resolv.conf", "hosts"].map(|name| folder.path().join("etc").join(name));
        let mut files = Files::at(paths).unwrap();
        files.open();
        Self { folder, files }
    }

    /// What is told at this time.
    fn told_at(&mut self, now: Instant) -> Option<Opened> {
        self.files.hear(now);
        self.files.changed(now)
    }

    /// What is told in `limit`.
    fn told(&mut self, limit: Duration) -> Option<Opened> {
        let begin = Instant::now();
        loop {
            let now = Instant::now();
            if let Some(opened) = self.told_at(now) {
                return Some(opened);
            }
            let end = begin + limit;
            if now >= end {
                return None;
            }
            let next = self.files.due().unwrap_or(end).min(end);
            let wait = next.saturating_duration_since(now) + Duration::from_millis(1);
            let flags = if self.files.listens() { PollFlags::POLLIN } else { PollFlags::empty() };
            let mut fds = [PollFd::new(self.files.as_fd(), flags)];
            poll(&mut fds, PollTimeout::try_from(wait).unwrap()).unwrap();
        }
    }

    /// How often is told, and the last thing of resolv.conf, until all is quiet after the changes.
    fn until_quiet(&mut self, changes: JoinHandle<()>) -> (u64, String) {
        let (mut count, mut last) = (0, String::new());
        loop {
            let finished = changes.is_finished();
            match self.told(Duration::from_millis(1500)) {
                Some(opened) => (count, last) = (count + 1, text(opened.resolv_conf)),
                None if finished => break,
                None => {}
            }
        }
        changes.join().unwrap();
        (count, last)
    }
}

fn text(file: Option<std::os::fd::OwnedFd>) -> String {
    let mut text = String::new();
    if let Some(file) = file {
        fs::File::from(file).read_to_string(&mut text).unwrap();
    }
    text
}

fn write(at: &Path, path: &str, content: &str) {
    fs::write(at.join(path), content).unwrap();
}

/// By another file of the same name, as most programs do it.
fn replace(at: &Path, path: &str, content: &str) {
    write(at, "new", content);
    fs::rename(at.join("new"), at.join(path)).unwrap();
}

fn link(at: &Path, to: &str, path: &str) {
    let to = to.replace('@', at.to_str().unwrap());
    symlink(to, at.join("new")).unwrap();
    fs::rename(at.join("new"), at.join(path)).unwrap();
}

fn folder(at: &Path, path: &str) {
    fs::create_dir_all(at.join(path)).unwrap();
}

/// How it is at first, and what happens then; the last thing that happens makes the content "new".
type Case = (&'static str, fn(&Path), fn(&Path));

const RESOLV_CONF: &str = "etc/resolv.conf";

const CASES: &[Case] = &[
    ("written", |at| write(at, RESOLV_CONF, "old"), |at| write(at, RESOLV_CONF, "new")),
    ("made", |_| (), |at| write(at, RESOLV_CONF, "new")),
    ("replaced", |at| write(at, RESOLV_CONF, "old"), |at| replace(at, RESOLV_CONF, "new")),
    (
        "replaced twice",
        |at| write(at, RESOLV_CONF, "old"),
        |at| {
            replace(at, RESOLV_CONF, "between");
            replace(at, RESOLV_CONF, "new");
        },
    ),
    (
        "removed and made again",
        |at| write(at, RESOLV_CONF, "old"),
        |at| {
            fs::remove_file(at.join(RESOLV_CONF)).unwrap();
            write(at, RESOLV_CONF, "new");
        },
    ),
    (
        "target of a link written",
        |at| {
            folder(at, "run/a");
            write(at, "run/a/stub.conf", "old");
            link(at, "../run/a/stub.conf", RESOLV_CONF);
        },
        |at| write(at, "run/a/stub.conf", "new"),
    ),
    (
        "target of a link replaced",
        |at| {
            folder(at, "run/a");
            write(at, "run/a/stub.conf", "old");
            link(at, "@/run/a/stub.conf", RESOLV_CONF);
        },
        |at| replace(at, "run/a/stub.conf", "new"),
    ),
    (
        "link replaced by another",
        |at| {
            write(at, "one", "old");
            write(at, "two", "new");
            link(at, "@/one", RESOLV_CONF);
        },
        |at| link(at, "../two", RESOLV_CONF),
    ),
    (
        "link replaced by a file",
        |at| {
            write(at, "one", "old");
            link(at, "@/one", RESOLV_CONF);
        },
        |at| replace(at, RESOLV_CONF, "new"),
    ),
    (
        "file replaced by a link, whose target comes later",
        |at| write(at, RESOLV_CONF, "old"),
        |at| {
            link(at, "@/run/a/b/stub.conf", RESOLV_CONF);
            sleep(Duration::from_millis(50));
            folder(at, "run/a/b");
            write(at, "run/a/b/stub.conf", "new");
        },
    ),
    (
        "folder of the target comes later",
        |at| {
            folder(at, "run");
            link(at, "../run/a/b/stub.conf", RESOLV_CONF);
        },
        |at| {
            folder(at, "run/a/b");
            write(at, "run/a/b/stub.conf", "new");
        },
    ),
    (
        "folder of the target comes later, full",
        |at| {
            folder(at, "run");
            folder(at, "aside/b");
            write(at, "aside/b/stub.conf", "new");
            link(at, "../run/a/b/stub.conf", RESOLV_CONF);
        },
        |at| fs::rename(at.join("aside"), at.join("run/a")).unwrap(),
    ),
    (
        "folder of the target removed and made again",
        |at| {
            folder(at, "run/a");
            write(at, "run/a/stub.conf", "old");
            link(at, "../run/a/stub.conf", RESOLV_CONF);
        },
        |at| {
            fs::remove_dir_all(at.join("run/a")).unwrap();
            sleep(Duration::from_millis(50));
            folder(at, "run/a");
            sleep(Duration::from_millis(50));
            write(at, "run/a/stub.conf", "new");
        },
    ),
    (
        "folder above the target's replaced",
        |at| {
            folder(at, "run/a/b");
            write(at, "run/a/b/stub.conf", "old");
            folder(at, "aside/b");
            write(at, "aside/b/stub.conf", "new");
            link(at, "../run/a/b/stub.conf", RESOLV_CONF);
        },
        |at| {
            fs::rename(at.join("run/a"), at.join("run/old")).unwrap();
            fs::rename(at.join("aside"), at.join("run/a")).unwrap();
        },
    ),
    (
        "last link of a chain replaced",
        |at| {
            write(at, "one", "old");
            write(at, "two", "new");
            link(at, "@/one", "c");
            link(at, "c", "b");
            link(at, "../b", RESOLV_CONF);
        },
        |at| link(at, "two", "c"),
    ),
    (
        "folder that is a link replaced",
        |at| {
            folder(at, "one");
            folder(at, "two");
            write(at, "one/resolv.conf", "old");
            write(at, "two/resolv.conf", "new");
            link(at, "@/one", "run");
            link(at, "../run/resolv.conf", RESOLV_CONF);
        },
        |at| link(at, "two", "run"),
    ),
    (
        "links in a circle",
        |at| {
            link(at, "hosts", RESOLV_CONF);
            link(at, "resolv.conf", "etc/hosts");
        },
        |at| replace(at, "etc/hosts", "new"),
    ),
];

#[test]
fn followed_however_it_changes() {
    for (what, before, after) in CASES {
        let mut lab = Lab::new(before);
        assert!(lab.told(Duration::ZERO).is_none(), "{what}: told before anything has happened");
        let path = lab.folder.path().to_owned();
        let (_, last) = lab.until_quiet(spawn(move || after(&path)));
        assert_eq!(last, "new", "{what}");
        // And what comes after that.
        let at = lab.folder.path().join(RESOLV_CONF);
        fs::write(at, "more").unwrap();
        let opened = lab.told(Duration::from_secs(10)).expect(what);
        assert_eq!(text(opened.resolv_conf), "more", "{what}, then written");
    }
}

/// A single change is told at once; what others do in the same folders is no change.
#[test]
fn at_once_and_nothing_else() {
    let mut lab = Lab::new(|at| write(at, RESOLV_CONF, "nameserver 10.0.0.53\n"));
    let at = lab.folder.path().to_owned();
    write(&at, "etc/other", "x");
    fs::rename(at.join("etc/other"), at.join("etc/another")).unwrap();
    assert!(lab.told(Duration::from_millis(300)).is_none());
    for n in 54..57 {
        replace(&at, RESOLV_CONF, &format!("nameserver 10.0.0.{n}\n"));
        let opened = lab.told_at(Instant::now()).expect("at once");
        assert_eq!(opened.servers, [format!("10.0.0.{n}:53").parse().unwrap()]);
    }
    write(&at, "etc/hosts", "10.0.0.1 isatap\n");
    assert_eq!(text(lab.told(Duration::from_secs(10)).unwrap().hosts), "10.0.0.1 isatap\n");
}

/// Missing or empty for a moment is no change, for longer it is. By a clock of its own.
#[test]
fn what_is_gone_is_believed_after_a_second() {
    let gone: [(_, fn(&_)); 2] = [
        ("removed", |path: &Path| fs::remove_file(path).unwrap()),
        ("emptied", |path: &Path| fs::write(path, "").unwrap()),
    ];
    for (what, gone) in gone {
        let mut lab = Lab::new(|at| write(at, "etc/hosts", "10.0.0.1 isatap\n"));
        let path = lab.folder.path().join("etc/hosts");
        let mut now = Instant::now();
        let mut told_after = |milliseconds| {
            now += Duration::from_millis(milliseconds);
            lab.told_at(now)
        };
        gone(&path);
        for later in [0, 999] {
            assert!(told_after(later).is_none(), "{what}: believed too soon");
        }
        fs::write(&path, "10.0.0.2 isatap\n").unwrap();
        assert_eq!(text(told_after(0).expect(what).hosts), "10.0.0.2 isatap\n", "{what}");
        gone(&path);
        for later in [0, 999] {
            assert!(told_after(later).is_none(), "{what}: believed too soon");
        }
        assert_eq!(text(told_after(1).expect(what).hosts), "", "{what}");
        assert!(told_after(5000).is_none(), "{what}: told twice");
    }
}

/// What goes on behind 64 KiB may be another server.
#[test]
fn no_name_server_is_used_in_part() {
    let line = "\nnameserver 10.0.0.1";
    let start = "#".repeat(MAX_FILE - line.len()) + line;
    for (rest, server) in [("", "10.0.0.1:53"), ("23", "127.0.0.1:53")] {
        let mut lab = Lab::new(|at| write(at, RESOLV_CONF, &format!("{start}{rest}")));
        assert_eq!(lab.files.open().servers, [server.parse().unwrap()], "{rest:?}");
    }
}

/// Changes each 10 ms are told a few times, then once a second, and the last one is told.
#[test]
fn a_storm_is_bounded() {
    let mut lab = Lab::new(|at| write(at, RESOLV_CONF, "0"));
    let at = lab.folder.path().to_owned();
    let begin = Instant::now();
    let storm = spawn(move || {
        for turn in 1..=400 {
            if turn % 3 == 0 {
                fs::remove_file(at.join(RESOLV_CONF)).unwrap();
            }
            replace(&at, RESOLV_CONF, &turn.to_string());
            sleep(Duration::from_millis(10));
        }
    });
    let (told, last) = lab.until_quiet(storm);
    assert!((6..=7 + begin.elapsed().as_secs()).contains(&told), "told {told} times");
    assert_eq!(last, "400");
}
