//! The packet loop as it is: two of them, each with its own TUN interface, sockets, namespace, thread
//! and filter, and a link between them. Needs root.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use isatapd_tests::netns::within;
use isatapd_tests::process;
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use nix::unistd::Pid;

/// The child's stand-in, static as the child is: its root is empty.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_probe-datapath")).parent().expect("a folder");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["rustc", "--offline", "-p", "isatapd-tests", "--bin", "probe-datapath"]);
        cargo.arg("--target-dir").arg(folder.parent().expect("a target folder"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.args(["--", "-C", "target-feature=+crt-static"]);
        let output = cargo.output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe-datapath");
        let _ = fs::remove_file(&copy);
        process::copy([folder.join("probe-datapath")], &copy);
        copy
    })
}

fn run(line: &str) -> (bool, String) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    let output = command.args(words).output().expect("a program");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn must(line: &str) -> String {
    let (good, text) = run(line);
    assert!(good, "{line}: {text}");
    text
}

/// Two namespaces and a link between them, each with a tunnel.
struct Pair {
    name: String,
    ends: Vec<End>,
}

struct End {
    parent: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    child: String,
}

const LOCATORS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)];

impl Pair {
    fn start(test: &str) -> Self {
        let name = format!("dp-{test}-{}", std::process::id());
        let [a, b] = [0, 1].map(|end| format!("{name}-{end}"));
        must(&format!("ip netns add {a}"));
        must(&format!("ip netns add {b}"));
        must(&format!("ip -n {a} link add v0 type veth peer name v0 netns {b}"));
        let mut pair = Self { name, ends: Vec::new() };
        for (end, locator) in LOCATORS.iter().enumerate() {
            let namespace = pair.namespace(end);
            must(&format!("ip -n {namespace} address add {locator}/24 dev v0"));
            must(&format!("ip -n {namespace} link set v0 up"));
            let mut parent = Command::new("ip")
                .args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_probe-tunnel")])
                .arg(program())
                .arg(locator.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the stand-in for the parent");
            let orders = parent.stdin.take().expect("a pipe");
            let answers = BufReader::new(parent.stdout.take().expect("a pipe"));
            let mut end = End { parent, orders, answers, child: String::new() };
            end.child = end.answer();
            pair.ends.push(end);
        }
        // A link that has just come up loses packets.
        for end in 0..2 {
            let shows = || must(&format!("ip -n {} link show v0", pair.namespace(end)));
            wait_for(secs(30), "the link", || shows().contains("state UP").then_some(()));
        }
        pair
    }

    fn namespace(&self, end: usize) -> String {
        format!("{}-{end}", self.name)
    }

    fn publish(&mut self) {
        // What the first has to send comes to the others.
        for (end, locator) in self.ends.iter_mut().zip(LOCATORS).rev() {
            assert_eq!(end.order(&format!("publish {locator}")), "done");
        }
    }

    fn ping(&self, options: &str) -> bool {
        let [_, to] = LOCATORS;
        let namespace = self.namespace(0);
        run(&format!("ip netns exec {namespace} ping -6 {options} 2001:db8::5efe:{to}")).0
    }
}

impl End {
    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("it is alive");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it is alive");
        line.trim_end().to_owned()
    }

    fn count(&mut self, name: &str) -> u64 {
        let text = self.order("count");
        let found = text.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")));
        found.map_or(0, |count| count.parse().expect("a number"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for end in &mut self.ends {
            // The child sees the end of its channel.
            let _ = end.parent.kill();
            let _ = end.parent.wait();
        }
        for end in 0..2 {
            run(&format!("ip netns delete {}", self.namespace(end)));
        }
    }
}

#[test]
fn packets_pass_between_two() {
    let mut pair = Pair::start("pass");
    // There is no table yet: what is sent waits for it.
    assert!(!pair.ping("-c 1 -W 1"));
    assert_eq!(pair.ends[0].order("count"), "counted");
    pair.publish();
    assert!(pair.ping("-c 50 -i 0.002 -W 10"));
    for size in [0, 1200, 1432] {
        assert!(pair.ping(&format!("-c 2 -i 0.01 -W 10 -M do -s {size}")), "{size}");
    }
    for end in &mut pair.ends {
        assert_eq!((end.count("Sent"), end.count("Received")), (57, 57));
    }
    // Fragmented by IPv6, and so many that they come in batches.
    assert!(pair.ping("-c 20 -i 0.002 -W 10 -s 40000"));
    // Detached, nothing passes; nothing ends.
    assert_eq!(pair.ends[1].order("detach"), "done");
    assert!(!pair.ping("-c 1 -W 1"));
}

/// The same filter and the same loss of rights in the thread that moves packets.
#[test]
fn the_thread_is_confined() {
    let mut pair = Pair::start("seccomp");
    pair.publish();
    assert!(pair.ping("-c 1 -W 10"));
    for end in &pair.ends {
        let tasks = fs::read_dir(format!("/proc/{}/task", end.child)).expect("tasks");
        let tasks: Vec<_> = tasks.map(|task| task.expect("a task").path()).collect();
        assert_eq!(tasks.len(), 2);
        for task in tasks {
            let status = fs::read_to_string(task.join("status")).expect("status");
            let has = |line: &str| status.lines().any(|have| have == line);
            assert!(has("Seccomp:\t2") && has("NoNewPrivs:\t1"), "{status}");
            assert!(has("Uid:\t65534\t65534\t65534\t65534"), "{status}");
            assert!(has("CapEff:\t0000000000000000"), "{status}");
        }
    }
}

/// A path with a smaller MTU than the interface's: the sender is told, then it fits.
#[test]
fn a_smaller_link_is_told_of() {
    let mut pair = Pair::start("mtu");
    for end in 0..2 {
        must(&format!("ip -n {} link set v0 mtu 1320", pair.namespace(end)));
    }
    pair.publish();
    // 1300 octets of IPv6 fit: 40 of header, 8 of ICMPv6, 1252 of data.
    assert!(pair.ping("-c 1 -W 10 -M do -s 1252"));
    assert!(!pair.ping("-c 1 -W 1 -M do -s 1253"));
    assert_eq!((pair.ends[0].count("Told"), pair.ends[0].count("TooBig")), (1, 1));
    let [_, to] = LOCATORS;
    let route = must(&format!("ip -6 -n {} route get 2001:db8::5efe:{to}", pair.namespace(0)));
    assert!(route.contains("mtu 1300"), "{route}");
    // What may be fragmented is, and passes, once the other end has been told too.
    assert!(pair.ping("-c 4 -i 0.1 -W 10 -s 4000"));
}

/// Nobody at the other end: the way back tells, and nothing ends.
#[test]
fn errors_end_nothing() {
    let mut pair = Pair::start("errors");
    pair.publish();
    assert!(pair.ping("-c 1 -W 10"));
    let there = pair.namespace(1);
    must(&format!("ip -n {there} link set v0 down"));
    let here = pair.namespace(0);
    must(&format!("ip -n {here} link set v0 down"));
    assert!(!pair.ping("-c 20 -i 0.002 -W 1"));
    assert!(pair.ends[0].count("NotSent") > 0, "{}", pair.ends[0].order("count"));
    for namespace in [here, there] {
        must(&format!("ip -n {namespace} link set v0 up"));
    }
    assert!(pair.ping("-c 5 -i 0.2 -W 10"));
}

/// A packet that is too big is told of behind many errors of others, which lose no other packet.
#[test]
fn errors_of_others_hide_nothing() {
    const ERRORS: u64 = 200;
    let mut pair = Pair::start("others");
    for end in 0..2 {
        must(&format!("ip -n {} link set v0 mtu 1320", pair.namespace(end)));
    }
    pair.publish();
    assert!(pair.ping("-c 1 -W 10"));
    let here = pair.namespace(0);
    let child = Pid::from_raw(pair.ends[0].child.parse().expect("a pid"));
    let count = |name: &str| {
        let shown = must(&format!("ip netns exec {here} nstat -asz {name}"));
        let line = shown.lines().find_map(|line| line.strip_prefix(name)).expect("a counter");
        line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number")
    };
    for (ping, comes) in [("-c 1 -W 1 -M do -s 1253", false), ("-c 1 -W 10", true)] {
        // All of them, and the packet, wait for it.
        kill(child, Signal::SIGSTOP).expect("the child");
        let (errors, sent) = (count("IcmpInDestUnreachs"), count("Icmp6OutEchos"));
        within(&pair.namespace(1), || (0..ERRORS).for_each(|_| deny(LOCATORS)));
        let all = || (count("IcmpInDestUnreachs") == errors + ERRORS).then_some(());
        wait_for(secs(30), "the errors", all);
        thread::scope(|scope| {
            let ping = scope.spawn(|| pair.ping(ping));
            wait_for(secs(30), "the packet", || (count("Icmp6OutEchos") > sent).then_some(()));
            kill(child, Signal::SIGCONT).expect("the child");
            assert_eq!(ping.join().expect("a ping"), comes);
        });
    }
    let counts = ["Told", "TooBig", "NotSent"].map(|name| pair.ends[0].count(name));
    assert_eq!(counts, [1, 1, 0], "{}", pair.ends[0].order("count"));
}

/// Says from the second to the first that a packet of protocol 41 did not reach it (RFC 792).
fn deny([first, second]: [Ipv4Addr; 2]) {
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    let header = [0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 41, 0, 0];
    message.extend([&header[..], &first.octets(), &second.octets(), &[0x60; 8]].concat());
    let words = message.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum = words.sum::<u32>();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a sum");
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let (kind, protocol) = (SockType::Raw, SockProtocol::Icmp);
    let socket = socket(AddressFamily::Inet, kind, SockFlag::empty(), protocol).expect("root");
    let to = SockaddrIn::from(SocketAddrV4::new(first, 0));
    sendto(socket.as_raw_fd(), &message, &to, MsgFlags::empty()).expect("a way");
}

/// ICMPv6 of this type from one end's link-local address, in hexadecimal.
fn discovery(kind: u8, destination: &str) -> String {
    let source = "fe8000000000000000005efe0a090001";
    format!("6000000000083aff{source}{destination}{kind:02x}00000000000000")
}

/// What the engine sends leaves, after its table, and all of it before that is said; a host drops what
/// is for all routers.
#[test]
fn the_engine_sends_by_the_thread() {
    let mut pair = Pair::start("engine");
    pair.publish();
    let packet = discovery(133, "ff020000000000000000000000000002");
    for times in [1, 4095] {
        assert_eq!(pair.ends[0].order(&format!("transmit {times} 10.9.0.2 {packet}")), "done");
        assert_eq!(pair.ends[0].count("Sent") % 4095, 1);
        wait_for(secs(30), "the packet", || {
            (pair.ends[1].count("InnerDestination") >= 1).then_some(())
        });
    }
    assert_eq!((pair.ends[0].count("Sent"), pair.ends[0].count("NotSent")), (4096, 0));
}

/// Advertisements that nobody takes are counted, and keep nothing else from passing.
#[test]
fn a_control_thread_that_does_not_hear() {
    let mut pair = Pair::start("deaf");
    pair.publish();
    assert_eq!(pair.ends[1].order("publish 10.9.0.2 10.9.0.1"), "done");
    let packet = discovery(134, "fe8000000000000000005efe0a090002");
    assert_eq!(pair.ends[0].order(&format!("transmit 2000 10.9.0.2 {packet}")), "done");
    wait_for(secs(30), "a full queue", || (pair.ends[1].count("NotHeard") > 0).then_some(()));
    assert!(pair.ping("-c 5 -i 0.002 -W 10"));
    assert!(
        pair.ends[1].order("heard").starts_with("Packet(10.9.0.1, [96, 0, 0, 0, 0, 8, 58, 255")
    );
    // Nothing but the wish to say so waits for room.
    assert_eq!(pair.ends[1].order("transmit 1 10.9.0.1 00"), "done");
}

/// A router that does not answer ARP is told of to the engine; another host is not.
#[test]
fn a_router_that_is_not_there_is_suspect() {
    let mut pair = Pair::start("suspect");
    pair.publish();
    must(&format!("ip -n {} link set v0 arp off", pair.namespace(1)));
    // The kernel tells its own sockets by ICMP, too.
    must(&format!("ip -n {} link set lo up", pair.namespace(0)));
    assert!(!pair.ping("-c 1 -W 5"));
    // By both sockets, but once.
    wait_for(secs(30), "the word of it", || (pair.ends[0].count("Told") > 0).then_some(()));
    assert_eq!(pair.ends[0].count("Told"), 1);
    assert_eq!(pair.ends[0].order("publish 10.9.0.1 10.9.0.2"), "done");
    assert!(!pair.ping("-c 1 -W 5"));
    assert_eq!(pair.ends[0].order("heard"), "Suspect(10.9.0.2)");
}

/// Of a router that is watched the engine is told once that a packet went there; and what came from it
/// is known.
#[test]
fn traffic_by_a_router_is_told() {
    let mut pair = Pair::start("traffic");
    pair.publish();
    assert_eq!(pair.ends[0].order("publish 10.9.0.1 10.9.0.2"), "done");
    let namespace = pair.namespace(0);
    must(&format!("ip -n {namespace} route add 2001:db8:9::/48 dev is0"));
    let far = || run(&format!("ip netns exec {namespace} ping -6 -c 1 -W 1 2001:db8:9::1")).0;
    assert!(!far(), "nobody answers");
    assert_eq!(pair.ends[0].order("alive"), "[]");
    assert_eq!(pair.ends[0].order("watch 1"), "done");
    assert!(pair.ping("-c 1 -W 10"), "a neighbour, though it is the router");
    assert_eq!(pair.ends[0].order("alive"), "[0]");
    assert!(!far() && !far());
    assert_eq!(pair.ends[0].order("watch 1"), "done");
    assert!(!far());
    for _ in 0..2 {
        assert_eq!(pair.ends[0].order("heard"), "Traffic(1)");
    }
}

/// Another copy of the descriptor, again and again, costs no packet.
#[test]
fn descriptors_change_under_traffic() {
    let mut pair = Pair::start("swap");
    pair.publish();
    assert!(pair.ping("-c 1 -W 10"));
    let (mut sent, mut times) = (1, 0);
    // No more at once than an interface keeps for who has no processor.
    while times <= 10 {
        sent += 300;
        times += swap_under_traffic(&mut pair);
    }
    for end in &mut pair.ends {
        assert_eq!((end.count("Sent"), end.count("Received")), (sent, sent));
    }
}

/// How often while 300 packets pass.
fn swap_under_traffic(pair: &mut Pair) -> u64 {
    thread::scope(|scope| {
        let (namespace, [_, to]) = (pair.namespace(0), LOCATORS);
        let ping = format!("ip netns exec {namespace} ping -6 -q -c 300 -i 0.002 -W 10");
        let traffic = scope.spawn(move || must(&format!("{ping} 2001:db8::5efe:{to}")));
        let mut times = 0;
        while !traffic.is_finished() {
            for end in &mut pair.ends {
                assert_eq!(end.order("attach"), "done");
            }
            times += 1;
        }
        times
    })
}

/// Who deletes the interface stops its packets, not the loop.
#[test]
fn an_interface_that_is_deleted() {
    let mut pair = Pair::start("deleted");
    pair.publish();
    assert!(pair.ping("-c 1 -W 10"));
    must(&format!("ip -n {} link delete is0", pair.namespace(1)));
    assert!(!pair.ping("-c 3 -i 0.01 -W 1"));
    assert_eq!(pair.ends[1].order("transmit 1 10.9.0.1 00"), "done");
}

/// The receiving kernel merges TCP packets before the loop sees them.
#[test]
fn merged_packets_pass() {
    const OCTETS: usize = 16 << 20;
    let mut pair = Pair::start("merged");
    for end in 0..2 {
        let namespace = pair.namespace(end);
        must(&format!("ip netns exec {namespace} ethtool -K v0 gro on tso off"));
        // A network card hands over more than one at a time; this link has to wait for more.
        let wait = "echo 200000 >/sys/class/net/v0/gro_flush_timeout";
        let mut shell = Command::new("ip");
        shell.args(["netns", "exec", &namespace, "sh", "-c", wait]);
        assert!(shell.status().expect("ip").success());
    }
    pair.publish();
    let addresses = LOCATORS.map(|v4| format!("2001:db8::5efe:{v4}").parse::<Ipv6Addr>().unwrap());
    for (from, to) in [(0, 1), (1, 0)] {
        let listener = within(&pair.namespace(to), || {
            TcpListener::bind((addresses[to], 0)).expect("our address")
        });
        let port = listener.local_addr().expect("bound").port();
        let mut sender = within(&pair.namespace(from), || {
            TcpStream::connect((addresses[to], port)).expect("a listener")
        });
        let data: Vec<u8> = (0..=250).cycle().take(OCTETS).collect();
        let (mut receiver, _) = listener.accept().expect("a connection");
        receiver.set_read_timeout(Some(secs(10))).expect("a timeout");
        sender.set_write_timeout(Some(secs(10))).expect("a timeout");
        let mut arrived = vec![0; OCTETS];
        thread::scope(|scope| {
            scope.spawn(|| sender.write_all(&data).expect("room"));
            receiver.read_exact(&mut arrived).expect("data");
        });
        assert!(arrived == data);
    }
}
