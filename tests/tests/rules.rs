//! Rules of the tree: who may depend on whom, and where `unsafe` may stand.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runtimes, of which no program has one: a loop with poll(2) does.
const RUNTIMES: [&str; 6] =
    ["async-global-executor", "async-io", "async-std", "mio", "smol", "tokio"];
/// What reads or makes network bytes.
const PARSERS: [&str; 6] =
    ["domain", "isatapd-datapath", "isatapd-engine", "pnet", "pnet_base", "pnet_packet"];
/// What configures the kernel.
const NETLINK: [&str; 6] = [
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-proto",
    "netlink-sys",
    "rtnetlink",
    "neli",
];
/// What could do I/O, read the clock or draw randomness.
const SYSTEM: [&str; 8] =
    ["getrandom", "landlock", "libc", "mio", "nix", "rustix", "seccompiler", "socket2"];
/// Never part of a program.
const TOOLS: [&str; 5] = ["isatapd-tests", "proptest", "quickcheck", "serde_json", "tempfile"];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of the crates that are compiled for a package, itself included.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .current_dir(top())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo tree prints UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn forbid(package: &str, crates: &[&[&str]]) {
    let tree = tree(package);
    assert!(tree.contains(package), "{tree:?}");
    // Not println!, which a test that passes keeps to itself.
    let _ = writeln!(io::stderr(), "{package}: {} crates in all", tree.len());
    let found: Vec<_> = crates.iter().copied().flatten().filter(|c| tree.contains(**c)).collect();
    assert!(found.is_empty(), "{package} depends on {found:?}");
}

#[test]
fn the_parent_reads_no_network_bytes() {
    forbid("isatapd", &[&PARSERS, &RUNTIMES, &TOOLS]);
}

#[test]
fn the_child_configures_no_kernel() {
    forbid("isatapd-child", &[&NETLINK, &RUNTIMES, &TOOLS, &["isatapd", "clap", "syslog"]]);
}

#[test]
fn the_engine_and_the_data_path_do_no_io() {
    for package in ["isatapd-engine", "isatapd-datapath"] {
        forbid(package, &[&SYSTEM, &NETLINK, &RUNTIMES, &TOOLS, &["isatapd-security"]]);
    }
}

#[test]
fn the_contract_stands_alone() {
    let others = ["isatapd", "isatapd-child", "isatapd-engine", "isatapd-security"];
    forbid("isatapd-proto", &[&SYSTEM, &PARSERS, &NETLINK, &RUNTIMES, &TOOLS, &others]);
}

/// It has no part in what runs: the contract, and what it takes to ask.
#[test]
fn the_tool_only_asks() {
    let ours = ["isatapd", "isatapd-child", "isatapd-datapath", "isatapd-security"];
    let tools: Vec<_> = TOOLS.into_iter().filter(|tool| *tool != "serde_json").collect();
    forbid(
        "isatapctl",
        &[&PARSERS, &NETLINK, &RUNTIMES, &tools, &ours, &["landlock", "seccompiler"]],
    );
}

#[test]
fn security_knows_nothing_of_the_rest() {
    let others = ["isatapd", "isatapd-child", "isatapd-proto"];
    forbid("isatapd-security", &[&PARSERS, &NETLINK, &RUNTIMES, &TOOLS, &others]);
}

/// They are given the time, the seed and the bytes; the standard library must not give more.
#[test]
fn the_engine_and_the_data_path_use_no_io_of_the_standard_library() {
    const FORBIDDEN: [&str; 9] = [
        "std::fs",
        "std::env",
        "std::io",
        "std::process",
        "std::thread",
        "UdpSocket",
        "TcpStream",
        "Instant::now",
        "SystemTime",
    ];
    for folder in ["child/engine/src", "child/datapath/src"] {
        check_sources(folder, &FORBIDDEN);
    }
}

#[test]
fn unsafe_stands_in_security_only() {
    for folder in ["proto", "parent", "child", "ctl"] {
        check_sources(
            folder,
            &["unsafe fn", "unsafe {", "unsafe impl", "unsafe extern", "(unsafe_code"],
        );
    }
    let manifest = fs::read_to_string(top().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"), "the lint that keeps it so");
    for package in ["proto", "parent", "child", "child/engine", "child/datapath", "ctl"] {
        let path = top().join(package).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package} has the lints");
    }
}

/// Else the service manager takes away what the parent is built with.
#[test]
fn the_unit_allows_the_families_of_sockets_that_the_parent_makes() {
    let read = |path: &str| fs::read_to_string(top().join(path)).expect("UTF-8");
    let (rules, unit) = (read("security/src/seccomp/parent.rs"), read("dist/isatapd.service"));
    let family = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        format!("AF_{}", &text[..end])
    };
    let made: BTreeSet<String> = rules.split("libc::AF_").skip(1).map(family).collect();
    let line = unit.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies="));
    let allowed = line.expect("a list").split(' ').map(str::to_owned).collect();
    assert_eq!(made, allowed);
}

/// Panics if a source file below `folder` holds one of these outside comments.
fn check_sources(folder: &str, forbidden: &[&str]) {
    let files = sources(&top().join(folder));
    assert!(!files.is_empty(), "no sources in {folder}");
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = forbidden.iter().find(|f| code.contains(**f));
            assert!(found.is_none(), "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
