//! What /proc says of a process, and programs that are run.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{poll, secs, wait_for};

/// A line of /proc/PID/status, without its name.
pub fn status(pid: Pid, key: &str) -> String {
    let path = format!("/proc/{pid}/status");
    let all = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = all.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{path} has no {key}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A size in /proc/PID/status, in KiB.
pub fn kib(pid: Pid, key: &str) -> u64 {
    status(pid, key).trim_end_matches(" kB").parse().expect("KiB")
}

/// The KiB of memory of its own: pages of the program come and go.
pub fn resident(pid: Pid) -> u64 {
    kib(pid, "RssAnon")
}

/// What /proc/PID/task/*/status says of its threads.
fn threads(pid: Pid) -> impl Iterator<Item = String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
}

/// Whether all its threads sleep: none waits for a processor.
pub fn sleeps(pid: Pid) -> bool {
    threads(pid).all(|status| status.contains("\nState:\tS"))
}

/// How often its threads have had a processor.
pub fn switches(pid: Pid) -> u64 {
    let counts = |status: String| {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.map(|(_, count)| count.trim().parse::<u64>().expect("a count")).sum::<u64>()
    };
    threads(pid).map(counts).sum()
}

/// A set of capabilities: `CapEff` and the like.
pub fn capabilities(pid: Pid, set: &str) -> u64 {
    u64::from_str_radix(&status(pid, set), 16).expect("a hexadecimal set")
}

/// The soft and the hard limit of that name in /proc/PID/limits.
pub fn limit(pid: Pid, name: &str) -> (String, String) {
    let path = format!("/proc/{pid}/limits");
    let all = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = all.lines().find_map(|l| l.strip_prefix(name)).expect("a limit of that name");
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
}

/// Where a link of /proc/PID leads: `exe`, `cwd`, `root`.
pub fn link(pid: Pid, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}"))
        .unwrap_or_else(|e| panic!("/proc/{pid}/{name}: {e}"))
}

/// The open descriptors and what they are, by number.
pub fn descriptors(pid: Pid) -> Vec<(i32, String)> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let mut found: Vec<(i32, String)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// The processor time that a process has taken, its threads included. /proc/PID/stat is four ticks of
/// 10 ms too coarse for two processes that rest.
pub fn processor_time(pid: Pid) -> Duration {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: a number and a timespec are written, each where there is room for it.
    let result = unsafe {
        libc::clock_getcpuclockid(pid.as_raw(), &raw mut clock)
            | libc::clock_gettime(clock, &raw mut time)
    };
    assert_eq!(result, 0, "the clock of process {pid}");
    let [seconds, nanoseconds] =
        [time.tv_sec, time.tv_nsec].map(|n| u64::try_from(n).expect("a time"));
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// The children of a process.
pub fn children(pid: Pid) -> Vec<Pid> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|p| p.parse().ok().map(Pid::from_raw)).collect()
}

/// Whether the process was started by this name.
pub fn is_called(pid: Pid, name: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(name.as_bytes()))
}

/// Whether the process is there: until its last thread has ended and its descriptors are closed.
pub fn is_alive(pid: Pid) -> bool {
    match pidfd(pid) {
        Ok(fd) => !ends_within(&fd, PollTimeout::ZERO),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
        Err(error) => panic!("pidfd_open: {error}"),
    }
}

/// Panics unless the process is gone soon: one that was killed needs a processor to end.
pub fn await_gone(pid: Pid) {
    wait_for(secs(30), &format!("the end of process {pid}"), || (!is_alive(pid)).then_some(()));
}

/// Waits for a child's end, and wakes up at once: what is measured is not the steps of looking.
pub fn await_end(process: &mut Child, limit: Duration) -> Option<ExitStatus> {
    if let Some(status) = process.try_wait().expect("wait") {
        return Some(status);
    }
    let fd = pidfd(Pid::from_raw(process.id().cast_signed())).expect("pidfd_open");
    ends_within(&fd, PollTimeout::try_from(limit).expect("a limit"));
    process.try_wait().expect("wait")
}

fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let number =
        i32::try_from(number).ok().filter(|n| *n >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn ends_within(process: &OwnedFd, limit: PollTimeout) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, limit).expect("poll") > 0
}

/// A program, killed with its children when dropped.
pub struct Guard(pub Child);

impl Guard {
    /// The program itself.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if let Ok(None) = self.0.try_wait() {
            let orphans = children(self.pid());
            let _ = self.0.kill();
            let _ = self.0.wait();
            for orphan in orphans {
                let _ = kill(orphan, Signal::SIGKILL);
            }
        }
    }
}

/// Copies programs to a file or into a folder, by another process: what this one writes, a child that
/// another thread has just forked may have open for writing still, and it cannot run (ETXTBSY).
pub fn copy(programs: impl IntoIterator<Item = impl AsRef<OsStr>>, to: &Path) {
    let mut command = Command::new("cp");
    assert!(command.args(programs).arg(to).status().expect("cp").success());
}

/// Runs a command to its end, or asks it to end after `limit`; what it wrote.
pub fn output(command: &mut Command, limit: Duration) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    if poll(limit, || process.try_wait().expect("wait")).is_none() {
        kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).expect("kill");
    }
    process.wait_with_output().expect("wait")
}
