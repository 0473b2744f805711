//! The parent's own sandbox, and that of the process in front of several.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use isatapd_security::parent::{ABSENT, CAPABILITIES, RULES};
use isatapd_security::seccomp::Rule;
use isatapd_security::{child, leader};

use crate::filter::forbidden;
use crate::probe::{PARENT, program};

fn run(arguments: &[&str]) -> Output {
    let mut parent = Command::new(PARENT);
    parent.arg(program()).args(arguments).output().expect("the stand-in for the parent")
}

#[test]
fn starts_a_replacement_under_its_own_sandbox() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let output = run(&["replace", path]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}: {text}", output.status);
    let lines: Vec<_> = text.lines().collect();
    let [first, confined, proc, killed, second, ended, read, denied @ ..] = lines.as_slice() else {
        panic!("{text}")
    };
    assert!(first.starts_with("child: ready: "), "{first}");
    let kept = CAPABILITIES.iter().fold(0_u64, |set, kept| set | 1 << kept.number);
    let want =
        format!("confined: uid 0 gid 0 capabilities {kept:#x} of {kept:#x} no-new-privs true");
    assert!(confined.starts_with(&want), "{confined}");
    assert_eq!(*proc, "no /proc");
    assert!(killed.starts_with("first: Signaled(") && killed.contains("SIGKILL"), "{killed}");
    assert!(second.starts_with("child: ready: "), "{second}");
    assert!(ended.starts_with("second: Exited(") && ended.ends_with(", 0)"), "{ended}");
    assert_eq!(*read, "read: 1");
    assert_eq!(denied.len(), 3);
    for line in denied {
        assert!(line.ends_with("Err(Some(13))") || line.ends_with("Err(Some(17))"), "{line}");
    }
}

/// A folder of /proc is another to Landlock once the kernel has forgotten it: nobody may let it.
#[test]
fn what_the_kernel_forgets_stays_allowed() {
    let mut alone = Command::new("unshare");
    alone.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", PARENT]);
    let output = alone.arg(program()).arg("forget").output().expect("unshare");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text, "before: Ok(())\ndone\nafter: Ok(())\n", "{}", output.status);
}

/// Arguments that live, and arguments that die, for each rule with conditions.
#[rustfmt::skip]
const PROBES: &[(i64, &[&str], &[&str])] = &[
    (libc::SYS_socket, &["1 1 0", "16 3 0", "2 2 0", "10 2 0", "17 526338 0"], &["17 3 0", "17 2 0", "40 1 0", "0 0 0", "44 2 0"]),
    (libc::SYS_socketpair, &["1 5 0 room"], &["2 5 0 room"]),
    (libc::SYS_ioctl, &["0 35316 room", "0 35317 room", "0 35318 room", "0 1074025674 room", "0 1074025675 room"],
        &["0 35319 room", "0 35313 room", "0 21505 room", "0 21522 room", "0 35090 room", "0 1074025676 1"]),
    (libc::SYS_mmap, &["0 4096 3 34 -1 0"], &["0 4096 7 34 -1 0", "0 4096 5 34 -1 0"]),
    (libc::SYS_mprotect, &["page 4096 3"], &["page 4096 5"]),
    // CLONE_NEWUSER, CLONE_THREAD, plain vfork; a thread with a new namespace, one that shares less.
    (libc::SYS_clone, &[],
        &["268435473 0", "65536 0", "16657 0", "272432896 0", "3998720 0"]),
    (libc::SYS_prctl, &["24 0", "47 4 0", "28 239", "38 1", "1 9", "23 0", "39 0", "3 0", "4 0", "65 1"],
        &["8 1", "15 room", "22 1 room", "35 1 0"]),
    (libc::SYS_recvmmsg, &["4 room 0 0 0"], &["3 room 0 0 0", "5 room 0 0 0"]),
    (libc::SYS_sendmmsg, &["4 room 0 0", "5 room 0 0"], &["3 room 0 0", "6 room 0 0"]),
    (libc::SYS_accept4, &["0 0 0 524288"], &["0 0 0 0", "0 0 0 526336"]),
    (libc::SYS_unshare, &["65536"], &["0", "268435456", "1073741824"]),
];

/// The same for the leader.
const LEADERS: &[(i64, &[&str], &[&str])] = &[
    (libc::SYS_socket, &["1 1 0"], &["16 3 0", "2 2 0", "10 2 0", "17 3 0", "40 1 0"]),
    (libc::SYS_mmap, &["0 4096 3 34 -1 0"], &["0 4096 7 34 -1 0", "0 4096 5 34 -1 0"]),
];

/// Who: the stand-in's act, the table, its probes, and what is said to be absent.
type Who = (
    &'static str,
    &'static [Rule],
    &'static [(i64, &'static [&'static str], &'static [&'static str])],
    &'static [Rule],
);
const BOTH: [Who; 2] = [("order", RULES, PROBES, ABSENT), ("lead", leader::RULES, LEADERS, &[])];

#[test]
fn conditions() {
    for (act, table, probes, _) in BOTH {
        for rule in table.iter().filter(|rule| !rule.conditions.is_empty()) {
            assert!(
                probes.iter().any(|probe| probe.0 == rule.number),
                "{} has no probe",
                rule.name
            );
        }
        for (number, live, die) in probes {
            let mut tried = 0;
            for arguments in *live {
                let output = run(&[act, &format!("call {number} {arguments}")]);
                assert!(output.status.success(), "{number} {arguments}: {}", output.status);
                tried += 1;
            }
            let rules = table.iter().filter(|rule| rule.number == *number).count();
            // fork and the thread live in the test of the replacement.
            let elsewhere = *number == libc::SYS_clone;
            assert!(tried == rules || elsewhere, "{number}: a rule without a probe");
            for arguments in *die {
                let output = run(&[act, &format!("call {number} {arguments}")]);
                assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{number} {arguments}");
            }
        }
    }
}

/// The leader may do nothing that those behind it may not, and none of what they make or change.
#[test]
fn who_leads_may_less() {
    let conditions = |rule: &Rule| format!("{:?}", rule.conditions);
    for rule in leader::RULES {
        let mut same = RULES.iter().filter(|of| of.number == rule.number);
        let may = |of: &Rule| of.conditions.is_empty() || conditions(of) == conditions(rule);
        assert!(same.any(may), "{}", rule.name);
    }
    for number in [libc::SYS_clone, libc::SYS_execveat, libc::SYS_openat, libc::SYS_ioctl] {
        assert!(leader::RULES.iter().all(|rule| rule.number != number), "{number}");
    }
}

/// A replacement inherits the parent's filter, which is asked beside its own.
#[test]
fn what_a_child_may_do_its_parent_may() {
    let allowed: BTreeSet<i64> = RULES.iter().map(|rule| rule.number).collect();
    for rule in child::RULES.iter().chain(child::DATA_PATH_RULES) {
        assert!(allowed.contains(&rule.number), "{}", rule.name);
    }
}

#[test]
fn every_other_number_dies() {
    for (act, table, _, absent) in BOTH {
        let allowed: BTreeSet<i64> = table.iter().chain(absent).map(|rule| rule.number).collect();
        for number in forbidden(&allowed) {
            let output = run(&[act, &format!("call {number}")]);
            assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{act} {number}");
        }
    }
}

#[test]
fn what_is_absent_is_said_to_be() {
    for rule in ABSENT {
        assert!(RULES.iter().all(|other| other.number != rule.number), "{}", rule.name);
        let output = run(&["order", &format!("call {} room 88", rule.number)]);
        assert!(output.status.success(), "{}: {}", rule.name, output.status);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("(os error 38)"), "{}: {text}", rule.name);
    }
}

#[test]
fn every_rule_and_capability_has_a_reason() {
    assert!(RULES.iter().chain(ABSENT).chain(leader::RULES).all(|rule| !rule.reason.is_empty()));
    assert!(CAPABILITIES.iter().all(|kept| !kept.reason.is_empty()));
}
