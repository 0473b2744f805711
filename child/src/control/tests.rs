use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use isatapd_proto::control::MAX_ANSWER;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};

use super::*;

const START: Instant = Instant::since_boot(Duration::from_secs(1000));

/// One at a time: a process that a test starts would keep other tests' sockets open for a moment.
static ALONE: Mutex<()> = Mutex::new(());

struct Bench {
    control: Control,
    engine: Engine,
    address: UnixAddr,
    _folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

fn seqpacket(flags: SockFlag) -> OwnedFd {
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap()
}

impl Bench {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let address = UnixAddr::new(&path).unwrap();
        let listener = seqpacket(SockFlag::SOCK_NONBLOCK);
        bind(listener.as_raw_fd(), &address).unwrap();
        listen(&listener, Backlog::MAXALLOWABLE).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut control = Control::new(nix::unistd::getuid(), Arc::default());
        control.listen(listener);
        Self { control, engine: Engine::new([1; 32]), address, _folder: folder, _alone: alone }
    }

    fn client(&self) -> OwnedFd {
        let client = seqpacket(SockFlag::SOCK_NONBLOCK);
        connect(client.as_raw_fd(), &self.address).unwrap();
        client
    }

    fn serve(&mut self, after: u64) {
        self.control.serve(&self.engine, START.after(Duration::from_secs(after))).unwrap();
    }
}

fn query(ask: Ask) -> Vec<u8> {
    encode(&Query { version: Version, ask }).unwrap()
}

fn say(client: &OwnedFd, octets: &[u8]) {
    assert_eq!(send(client.as_raw_fd(), octets, MsgFlags::MSG_NOSIGNAL), Ok(octets.len()));
}

fn hear(client: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut octets = vec![0; MAX_ANSWER];
    let len = recv(client.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT)?;
    octets.truncate(len);
    Ok(octets)
}

/// End of file, without an answer.
fn is_closed(client: &OwnedFd) -> bool {
    matches!(hear(client), Ok(octets) if octets.is_empty())
        || hear(client) == Err(Errno::ECONNRESET)
}

#[test]
fn a_query_is_answered_once() {
    let mut bench = Bench::new();
    bench.control.counters.add(Counter::Received, 7);
    let client = bench.client();
    bench.serve(0);
    assert_eq!(hear(&client), Err(Errno::EAGAIN));
    say(&client, &query(Ask::Show));
    bench.serve(1);
    let Told::Show(show) = decode::<Answer>(&hear(&client).unwrap()).unwrap().told else {
        panic!("asked to show")
    };
    assert!(!show.working && !show.why.is_empty());
    assert_eq!((&*show.counters[0].what, show.counters[0].count), ("packets received", 7));
    assert!(is_closed(&client));
    assert_eq!((bench.control.deadline(), bench.control.refused), (None, 0));

    let client = bench.client();
    say(&client, &query(Ask::Counters));
    bench.serve(1);
    let Told::Counters(counters) = decode::<Answer>(&hear(&client).unwrap()).unwrap().told else {
        panic!("asked for counters")
    };
    let all = Counter::ALL.len() + 1 + bench.engine.counters().len();
    assert_eq!(counters.len(), all);
    assert!(all <= MAX_COUNTERS);
}

#[test]
fn one_that_says_nothing_is_closed_and_wakes_nobody_before() {
    let mut bench = Bench::new();
    assert_eq!(bench.control.deadline(), None);
    let (silent, gone) = (bench.client(), bench.client());
    bench.serve(0);
    assert_eq!(bench.control.deadline(), Some(START.after(IDLE)));
    drop(gone);
    bench.serve(4);
    assert!(!is_closed(&silent));
    assert_eq!((bench.control.clients.len(), bench.control.refused), (1, 0));
    bench.serve(5);
    assert!(is_closed(&silent));
    assert_eq!((bench.control.deadline(), bench.control.refused), (None, 1));
}

/// They do not even read.
#[test]
fn answers_that_nobody_reads_hold_nobody_up() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..100).map(|_| bench.client()).collect();
    for some in clients.chunks(MOST) {
        for client in some {
            say(client, &query(Ask::Show));
        }
    }
    for _ in 0..10 {
        bench.serve(0);
    }
    assert_eq!(bench.control.deadline(), None);
}

#[test]
fn the_seventeenth_waits_in_vain() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..=MOST).map(|_| bench.client()).collect();
    bench.serve(0);
    let closed: Vec<_> = clients.iter().map(is_closed).collect();
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
    assert!(closed[MOST]);
    assert_eq!(bench.control.refused, 1);
    say(&clients[0], &query(Ask::Counters));
    bench.serve(1);
    assert!(!hear(&clients[0]).unwrap().is_empty());
    let another = bench.client();
    say(&another, &query(Ask::Counters));
    bench.serve(1);
    assert!(!hear(&another).unwrap().is_empty());
}

#[test]
fn what_is_no_query_is_not_answered() {
    let mut bench = Bench::new();
    let good = query(Ask::Show);
    let garbage: [&[u8]; 6] = [
        &[0],
        &good[..5],
        &[&good[..], &[0]].concat(),
        &[good[0], 0, 9, 9, 9, 9],
        &[1; 4096],
        &[1; 5000],
    ];
    for octets in garbage {
        let client = bench.client();
        say(&client, octets);
        bench.serve(0);
        if version_of(octets).is_none_or(|version| version == VERSION) {
            assert!(is_closed(&client), "{octets:?}");
        }
    }
    assert_eq!(bench.control.deadline(), None);
    // Another version is told ours.
    let client = bench.client();
    let other = (VERSION + 1).to_le_bytes();
    say(&client, &[&other[..], &[7]].concat());
    bench.serve(0);
    let octets = hear(&client).unwrap();
    assert_eq!(version_of(&octets), Some(VERSION));
    assert_eq!(decode::<Answer>(&octets).unwrap().told, Told::OtherVersion);
}

#[test]
fn root_and_our_own_user_may_ask() {
    let mut bench = Bench::new();
    let me = nix::unistd::getuid();
    for (own, answered) in [(me, true), (Uid::from_raw(4711), me.is_root())] {
        bench.control.own = own;
        let client = bench.client();
        say(&client, &query(Ask::Show));
        bench.serve(0);
        assert_eq!(!is_closed(&client), answered, "{own}");
    }
    assert_eq!(bench.control.refused, (!me.is_root()).into());
}

const SOCKET: &str = "ISATAPD_TEST_CONTROL";

/// Nobody can be accepted: it is said, tried again later, and until then it wakes nobody.
#[test]
fn a_listener_that_fails_is_left_alone_for_a_while() {
    let mut bench = Bench::new();
    let serve = |bench: &mut Bench, after| {
        bench.control.serve(&bench.engine, START.after(Duration::from_secs(after)))
    };
    let client = bench.client();
    serve(&mut bench, 0).unwrap();
    // It does not listen.
    let good = bench.control.listener.replace(seqpacket(SockFlag::SOCK_NONBLOCK).into()).unwrap();
    assert_eq!(serve(&mut bench, 1).unwrap_err().raw_os_error(), Some(Errno::EINVAL as i32));
    say(&client, &query(Ask::Show));
    assert_eq!(bench.control.descriptors().count(), 1, "the client");
    serve(&mut bench, 2).unwrap();
    assert!(!hear(&client).unwrap().is_empty(), "others are served");
    assert_eq!(bench.control.deadline(), Some(START.after(Duration::from_secs(11))));
    bench.control.listener = Some(good);
    let client = bench.client();
    say(&client, &query(Ask::Show));
    serve(&mut bench, 10).unwrap();
    assert_eq!(hear(&client), Err(Errno::EAGAIN));
    serve(&mut bench, 11).unwrap();
    assert!(!hear(&client).unwrap().is_empty());
    assert_eq!((bench.control.deadline(), bench.control.descriptors().count()), (None, 1));
}

/// Only root can become others, to be refused.
#[test]
fn other_users_are_closed() {
    assert!(nix::unistd::getuid().is_root(), "this test needs root");
    let mut bench = Bench::new();
    bench.control.own = Uid::from_raw(4711);
    let path = bench.address.path().unwrap().to_owned();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    for (uid, answered) in [(4711, true), (4712, false)] {
        let mut client = Command::new("/proc/self/exe")
            .args(["--exact", "control::tests::a_client_of_another_user"])
            .env(SOCKET, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .uid(uid)
            .spawn()
            .unwrap();
        let status = loop {
            if let Some(status) = client.try_wait().unwrap() {
                break status;
            }
            let fds = bench.control.descriptors();
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            poll(&mut fds, PollTimeout::from(10_u8)).unwrap();
            bench.serve(0);
        };
        assert_eq!(status.success(), answered, "uid {uid}");
    }
    assert_eq!(bench.control.refused, 1);
}

/// The other process of the test above: fails unless it is answered.
#[test]
fn a_client_of_another_user() {
    let Ok(path) = std::env::var(SOCKET) else { return };
    let client = seqpacket(SockFlag::empty());
    connect(client.as_raw_fd(), &UnixAddr::new(path.as_str()).unwrap()).unwrap();
    say(&client, &query(Ask::Counters));
    let mut octets = vec![0; MAX_ANSWER];
    let len = recv(client.as_raw_fd(), &mut octets, MsgFlags::empty()).unwrap();
    decode::<Answer>(&octets[..len]).unwrap();
}
