//! The program itself, against a socket that answers as told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::{JoinHandle, spawn};

use isatapd_proto::control::{
    Answer, Ask, Count, MAX_QUERY, Query, Seconds, Told, VERSION, Version,
};
use isatapd_proto::{Bounded, Text, decode, encode};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, bind, listen, recv,
    send, shutdown, socket,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_isatapctl");

struct Site {
    folder: tempfile::TempDir,
    listener: Option<OwnedFd>,
}

impl Site {
    fn new(kind: SockType) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let listener = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let path = folder.path().join("control");
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(4).unwrap()).unwrap();
        Self { folder, listener: Some(listener) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Takes one query and answers it by these octets, if any.
    fn answer(&mut self, octets: Option<Vec<u8>>) -> JoinHandle<Ask> {
        let listener = UnixListener::from(self.listener.take().unwrap());
        spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let mut query = [0; MAX_QUERY];
            let len = recv(client.as_raw_fd(), &mut query, MsgFlags::empty()).unwrap();
            if let Some(octets) = octets {
                send(client.as_raw_fd(), &octets, MsgFlags::empty()).unwrap();
            }
            decode::<Query>(&query[..len]).unwrap().ask
        })
    }
}

fn isatapctl(words: &str, socket: &Path) -> Output {
    Command::new(PROGRAM).args(words.split(' ')).arg("-s").arg(socket).output().unwrap()
}

/// The status, and the only line on the standard error.
fn complaint(output: &Output) -> (i32, String) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.stdout.is_empty() && text.lines().count() == 1, "{output:?}");
    (output.status.code().unwrap(), text.trim_end().to_owned())
}

fn counters() -> Vec<u8> {
    let count = Count { what: Text::cut("solicitations sent"), count: 3 };
    let told = Told::Counters(Bounded::first_of([count]));
    encode(&Answer { version: Version, told }).unwrap()
}

#[test]
fn without_a_child_it_is_said_when_the_next_comes() {
    let mut site = Site::new(SockType::SeqPacket);
    let told = Told::Restarting(Seconds(8));
    let isatapd = site.answer(Some(encode(&Answer { version: Version, told }).unwrap()));
    let (status, line) = complaint(&isatapctl("show -j", &site.path()));
    isatapd.join().unwrap();
    assert_eq!(status, 75);
    assert_eq!(
        line,
        "isatapctl: isatapd-child keeps ending; another is started in 8 s, the tunnel stays meanwhile"
    );
}

#[test]
fn an_answer_is_printed() {
    for (words, expected) in [
        ("show counters", "solicitations sent  3\n"),
        (
            "-j show counters",
            "{\n  \"counters\": [\n    {\n      \"what\": \"solicitations sent\",\n      \
             \"count\": 3\n    }\n  ]\n}\n",
        ),
    ] {
        let mut site = Site::new(SockType::SeqPacket);
        let asked = site.answer(Some(counters()));
        let output = isatapctl(words, &site.path());
        assert_eq!(asked.join().unwrap(), Ask::Counters);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn an_answer_that_is_none_is_one_line() {
    let other = encode(&Answer { version: Version, told: Told::OtherVersion }).unwrap();
    let cases: [(Option<Vec<u8>>, i32, &str); 5] = [
        (None, 75, "closed without an answer: too many ask, or only root may"),
        (Some(other), 76, "isatapd is of another version than isatapctl"),
        (Some(vec![9, 0, 1, 2, 3]), 76, "isatapd is of another version than isatapctl"),
        (Some([&VERSION.to_le_bytes()[..], &[9, 9]].concat()), 76, "malformed message"),
        (Some([counters(), vec![0]].concat()), 76, "1 octets after the message"),
    ];
    for (octets, status, line) in cases {
        let mut site = Site::new(SockType::SeqPacket);
        let asked = site.answer(octets);
        let (code, text) = complaint(&isatapctl("show", &site.path()));
        assert_eq!(asked.join().unwrap(), Ask::Show);
        assert!(code == status && text.contains(line), "{code}: {text}");
    }
}

#[test]
fn nobody_there_is_one_line() {
    let mut site = Site::new(SockType::SeqPacket);
    let path = site.path();
    // For those as well that a child of another thread still has.
    shutdown(site.listener.take().unwrap().as_raw_fd(), Shutdown::Both).unwrap();
    let expected = (69, format!("isatapctl: {}: isatapd does not run", path.display()));
    assert_eq!(complaint(&isatapctl("show", &path)), expected);
    fs::remove_file(&path).unwrap();
    assert_eq!(complaint(&isatapctl("show", &path)), expected);
    let site = Site::new(SockType::Stream);
    let (code, text) = complaint(&isatapctl("show", &site.path()));
    assert!(code == 76 && text.ends_with("not the socket of isatapd"), "{text}");
    let (code, text) = complaint(&isatapctl("show me", &site.path()));
    assert_eq!((code, &*text), (64, "isatapctl: me: not a command; see --help"));
}

/// It listens, and does not answer.
#[test]
fn patience_ends() {
    let site = Site::new(SockType::SeqPacket);
    let (code, text) = complaint(&isatapctl("show", &site.path()));
    assert!(code == 75 && text.ends_with(": no answer"), "{text}");
}

#[test]
fn a_reader_may_leave() {
    let mut site = Site::new(SockType::SeqPacket);
    let mut program = Command::new(PROGRAM)
        .args(["show", "counters", "-s"])
        .arg(site.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(program.stdout.take());
    site.answer(Some(counters())).join().unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Only root can become somebody else.
#[test]
fn others_may_not_ask() {
    let site = Site::new(SockType::SeqPacket);
    let me = fs::metadata("/proc/self").unwrap();
    assert_eq!(me.uid(), 0, "this test needs root");
    fs::set_permissions(site.path(), Permissions::from_mode(0o600)).unwrap();
    let copy = site.folder.path().join("isatapctl");
    // By another process: a child of another thread could have the file open for writing still.
    assert!(Command::new("cp").arg(PROGRAM).arg(&copy).status().unwrap().success());
    let output = Command::new(copy).uid(65_534).arg("-s").arg(site.path()).output().unwrap();
    let (code, text) = complaint(&output);
    assert!(code == 77 && text.ends_with("only root may ask"), "{text}");
}
