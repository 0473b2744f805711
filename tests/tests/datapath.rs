//! The packet loop as it is: two of them, each with its own TUN interface, sockets, namespace, thread
//! and filter, and a link between them. Needs root.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use isatapd_tests::wait::{secs, wait_for};

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
        fs::copy(folder.join("probe-datapath"), &copy).expect("a copy of the probe");
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
        pair
    }

    fn namespace(&self, end: usize) -> String {
        format!("{}-{end}", self.name)
    }

    fn publish(&mut self) {
        for (end, locator) in self.ends.iter_mut().zip(LOCATORS) {
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
    // There is no table yet.
    assert!(!pair.ping("-c 1 -W 1"));
    assert_eq!((pair.ends[0].count("NoLocator"), pair.ends[0].count("Sent")), (1, 0));
    pair.publish();
    assert!(pair.ping("-c 50 -i 0.002 -W 2"));
    for size in [0, 1200, 1432] {
        assert!(pair.ping(&format!("-c 2 -i 0.01 -W 2 -M do -s {size}")), "{size}");
    }
    for end in &mut pair.ends {
        assert_eq!((end.count("Sent"), end.count("Received")), (56, 56));
    }
    // Fragmented by IPv6, and so many that they come in batches.
    assert!(pair.ping("-c 20 -i 0.002 -W 2 -s 40000"));
    // Detached, nothing passes; nothing ends.
    assert_eq!(pair.ends[1].order("detach"), "done");
    assert!(!pair.ping("-c 1 -W 1"));
}

/// The same filter and the same loss of rights in the thread that moves packets.
#[test]
fn the_thread_is_confined() {
    let mut pair = Pair::start("seccomp");
    pair.publish();
    assert!(pair.ping("-c 1 -W 2"));
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
    assert!(pair.ping("-c 1 -W 2 -M do -s 1252"));
    assert!(!pair.ping("-c 1 -W 1 -M do -s 1253"));
    assert_eq!(pair.ends[0].count("Told"), 1);
    let [_, to] = LOCATORS;
    let route = must(&format!("ip -6 -n {} route get 2001:db8::5efe:{to}", pair.namespace(0)));
    assert!(route.contains("mtu 1300"), "{route}");
    // What may be fragmented is, and passes, once the other end has been told too.
    assert!(pair.ping("-c 4 -i 0.1 -W 2 -s 4000"));
}

/// Nobody at the other end: the way back tells, and nothing ends.
#[test]
fn errors_end_nothing() {
    let mut pair = Pair::start("errors");
    pair.publish();
    assert!(pair.ping("-c 1 -W 2"));
    let there = pair.namespace(1);
    must(&format!("ip -n {there} link set v0 down"));
    let here = pair.namespace(0);
    must(&format!("ip -n {here} link set v0 down"));
    assert!(!pair.ping("-c 20 -i 0.002 -W 1"));
    assert!(pair.ends[0].count("NotSent") > 0, "{}", pair.ends[0].order("count"));
    for namespace in [here, there] {
        must(&format!("ip -n {namespace} link set v0 up"));
    }
    assert!(pair.ping("-c 5 -i 0.2 -W 5"));
}

/// What the engine sends leaves, after its table; a host drops what is for all routers.
#[test]
fn the_engine_sends_by_the_thread() {
    let mut pair = Pair::start("engine");
    pair.publish();
    // From fe80::5efe:10.9.0.1 to ff02::2, ICMPv6 type 133.
    let packet = "6000000000083aff".to_owned()
        + "fe8000000000000000005efe0a090001"
        + "ff020000000000000000000000000002"
        + "8500000000000000";
    assert_eq!(pair.ends[0].order(&format!("transmit 10.9.0.2 {packet}")), "done");
    wait_for(secs(5), "the packet", || (pair.ends[1].count("InnerDestination") == 1).then_some(()));
    assert_eq!(pair.ends[0].count("Sent"), 1);
}
