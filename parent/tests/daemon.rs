//! `--daemon` tells how it went by its exit status, and leaves the terminal alone.

#![allow(clippy::unwrap_used, reason = "tests, and what they share")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The example, which cargo builds beside the tests.
fn daemonise(action: &str, file: &Path) -> Command {
    let me = std::env::current_exe().unwrap();
    let program: PathBuf = me.ancestors().nth(2).unwrap().join("examples/daemonise");
    assert!(program.exists(), "build it: cargo build -p isatapd --examples");
    let mut command = Command::new(program);
    command.arg(action).arg(file);
    command
}

fn run(action: &str, file: &Path) -> Output {
    // The output ends when the daemon has let go of it too.
    daemonise(action, file).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn success() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    // Opening it for reading waits for the daemon, which outlives the command.
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = run("ready", &fifo);
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    let state = fs::read_to_string(&fifo).unwrap();
    let (links, stat) = state.split_once('\n').unwrap();
    assert_eq!(links, r#"["/", "/dev/null", "/dev/null", "/dev/null"]"#);
    // proc(5): pid (comm) state ppid pgrp session tty_nr
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!((fields[0], fields[0], "0"), (fields[4], fields[5], fields[6]));
}

#[test]
fn failure() {
    let output = run("fail", Path::new(""));
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "isatapd: is0: in the way\n");
}

#[test]
fn death() {
    let output = run("abort", Path::new(""));
    assert_eq!(output.status.code(), Some(71));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "isatapd: --daemon: ended before it was ready: SIGABRT\n");
}

#[test]
fn a_daemon_that_nobody_waits_for_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = daemonise("late", &fifo);
    let mut original = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Two processes hold the pipe: the daemon is there once the original has one child.
    let children = format!("/proc/{0}/task/{0}/children", original.id());
    while fs::read_to_string(&children).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let input = original.stdin.take().unwrap();
    original.kill().unwrap();
    original.wait().unwrap();
    drop(input);
    let told = fs::read_to_string(&fifo).unwrap();
    assert!(told.contains("the caller is gone"), "{told}");
    let mut stderr = String::new();
    original.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}
