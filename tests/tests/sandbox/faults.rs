//! A step that fails must end the start, and say its name.

use std::process::Command;

use libc::{EACCES, ENOSYS, EOPNOTSUPP, EPERM};

use crate::probe::{PARENT, program};

/// What the stand-in for the parent writes.
fn start(fault: &[i64]) -> String {
    let mut parent = Command::new(PARENT);
    parent.arg(program()).arg("fault").args(fault.iter().map(i64::to_string));
    let output = parent.output().expect("the stand-in for the parent");
    String::from_utf8(output.stdout).expect("text")
}

/// A system call, perhaps with (argument, value), and how the step is called.
type Step = (i64, Option<(i64, i64)>, &'static str);

#[rustfmt::skip]
const BEFORE_EXEC: &[Step] = &[
    (libc::SYS_pipe2, None, "pipe2"),
    (libc::SYS_fcntl, Some((1, libc::F_DUPFD_CLOEXEC as i64)), "fcntl(F_DUPFD_CLOEXEC)"),
    (libc::SYS_rt_sigprocmask, None, "sigprocmask"),
    (libc::SYS_clone, None, "fork"),
    (libc::SYS_dup2, None, "dup2"),
    (libc::SYS_close_range, Some((2, libc::CLOSE_RANGE_CLOEXEC as i64)), "close_range"),
    (libc::SYS_rt_sigaction, None, "sigaction"),
    (libc::SYS_setsid, None, "setsid"),
    (libc::SYS_fchdir, None, "fchdir"),
    (libc::SYS_chroot, None, "chroot"),
    (libc::SYS_prctl, Some((0, libc::PR_CAPBSET_DROP as i64)), "prctl(PR_CAPBSET_DROP)"),
    (libc::SYS_prctl, Some((0, libc::PR_CAP_AMBIENT as i64)), "prctl(PR_CAP_AMBIENT_CLEAR_ALL)"),
    (libc::SYS_prctl, Some((0, libc::PR_SET_SECUREBITS as i64)), "prctl(PR_SET_SECUREBITS)"),
    (libc::SYS_setgroups, None, "setgroups"),
    (libc::SYS_setresgid, None, "setresgid"),
    (libc::SYS_setresuid, None, "setresuid"),
    (libc::SYS_capset, None, "capset"),
    (libc::SYS_prctl, Some((0, libc::PR_SET_NO_NEW_PRIVS as i64)), "prctl(PR_SET_NO_NEW_PRIVS)"),
    (libc::SYS_prctl, Some((0, libc::PR_SET_PDEATHSIG as i64)), "prctl(PR_SET_PDEATHSIG)"),
    (libc::SYS_execveat, None, "execveat"),
];

#[test]
fn before_exec() {
    for (call, condition, step) in BEFORE_EXEC {
        for errno in [EPERM, ENOSYS] {
            let text = start(&fault(*call, errno, *condition));
            let why = std::io::Error::from_raw_os_error(errno).to_string();
            let why = why.split(" (").next().expect("a text");
            let want = format!("spawn: {step}: {why}\nchildren: Err(ECHILD)\n");
            assert_eq!(text.replace("not supported", "not implemented"), want);
        }
    }
}

#[rustfmt::skip]
const AFTER_EXEC: &[Step] = &[
    (libc::SYS_close_range, Some((2, 0)), "close_range"),
    (libc::SYS_fcntl, Some((1, libc::F_GETFD as i64)), "fcntl(F_GETFD)"),
    (libc::SYS_getresuid, None, "getresuid"),
    (libc::SYS_getresgid, None, "getresgid"),
    (libc::SYS_getgroups, None, "getgroups"),
    (libc::SYS_capget, None, "capget"),
    (libc::SYS_prctl, Some((0, libc::PR_CAPBSET_READ as i64)), "prctl(PR_CAPBSET_READ)"),
    (libc::SYS_unshare, None, "not given up: other threads"),
    (libc::SYS_newfstatat, None, "stat"),
    (libc::SYS_prctl, Some((0, libc::PR_SET_DUMPABLE as i64)), "prctl(PR_SET_DUMPABLE)"),
    (libc::SYS_prctl, Some((0, libc::PR_SET_MDWE as i64)), "prctl(PR_SET_MDWE)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_FSIZE as i64)), "setrlimit(RLIMIT_FSIZE)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_CORE as i64)), "setrlimit(RLIMIT_CORE)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_MEMLOCK as i64)), "setrlimit(RLIMIT_MEMLOCK)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_MSGQUEUE as i64)), "setrlimit(RLIMIT_MSGQUEUE)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_SIGPENDING as i64)), "setrlimit(RLIMIT_SIGPENDING)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_NOFILE as i64)), "setrlimit(RLIMIT_NOFILE)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_DATA as i64)), "setrlimit(RLIMIT_DATA)"),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_AS as i64)), "setrlimit(RLIMIT_AS)"),
    (libc::SYS_landlock_create_ruleset, None, "landlock: "),
    (libc::SYS_landlock_restrict_self, None, "landlock: failed to restrict the calling thread"),
    (libc::SYS_prctl, Some((0, libc::PR_GET_NO_NEW_PRIVS as i64)), "prctl(PR_GET_NO_NEW_PRIVS)"),
    (libc::SYS_prctl, Some((0, libc::PR_GET_DUMPABLE as i64)), "prctl(PR_GET_DUMPABLE)"),
    (libc::SYS_clone3, None, "thread: "),
    (libc::SYS_prlimit64, Some((1, libc::RLIMIT_NPROC as i64)), "setrlimit(RLIMIT_NPROC)"),
];

#[test]
fn after_exec() {
    for (call, condition, step) in AFTER_EXEC {
        for errno in [EPERM, EOPNOTSUPP] {
            assert_refused(&start(&fault(*call, errno, *condition)), step);
        }
    }
    // After it the test's own filter could not be installed either.
    assert_refused(&start(&fault(libc::SYS_seccomp, EACCES, None)), "seccomp: ");
}

/// The calls that would leave something of root, made to seem to work: the child sees through it.
#[rustfmt::skip]
const FEIGNED: &[Step] = &[
    (libc::SYS_chroot, None, "not given up: the file system"),
    (libc::SYS_prctl, Some((0, libc::PR_CAPBSET_DROP as i64)), "not given up: capabilities"),
    (libc::SYS_setgroups, None, "not given up: supplementary groups"),
    (libc::SYS_setresgid, None, "not given up: root"),
    (libc::SYS_setresuid, None, "not given up: root"),
];

#[test]
fn feigned() {
    for (call, condition, step) in FEIGNED {
        assert_refused(&start(&fault(*call, 0, *condition)), step);
    }
}

/// Nothing fails: the bench itself works.
#[test]
fn no_fault() {
    let text = start(&fault(libc::SYS_reboot, EPERM, None));
    assert!(
        text.starts_with("child: ready: uid 65534 gid 65534 capabilities 0x0 of 0x0"),
        "{text}"
    );
}

fn fault(call: i64, errno: i32, condition: Option<(i64, i64)>) -> Vec<i64> {
    let mut fault = vec![call, errno.into()];
    fault.extend(condition.into_iter().flat_map(<[i64; 2]>::from));
    fault
}

fn assert_refused(text: &str, step: &str) {
    assert!(text.starts_with(&format!("child: error: {step}")), "{step}: {text}");
    let ended = text.lines().nth(1).expect("how the child ended");
    assert!(ended.starts_with("ended: Exited(") && ended.ends_with(", 71)"), "{step}: {text}");
}
