//! The filters of the child's two threads, rule by rule and number by number.

use std::collections::BTreeSet;

use isatapd_security::child::{DATA_PATH_RULES, RULES};
use isatapd_security::seccomp::Rule;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::probe::{Outcome, Probe};

/// The threads: how an order for one begins, and its table.
const THREADS: [(&str, &[Rule]); 2] = [("", RULES), ("data ", DATA_PATH_RULES)];

/// Only the data path's: for packets it may write to any descriptor, and name addresses by the
/// sockets of protocol 41, which are at 4 and 5.
const DATA_PATH_PROBES: &[Arguments] = &[
    ("write", "1 room 8", &[]),
    ("recvmmsg", "4 room 0 0 0", &["3 room 0 0 0", "5 room 0 0 0", "6 room 0 0 0"]),
    ("sendmmsg", "4 room 0 0", &["0 room 0 0", "3 room 0 0", "6 room 0 0", "-1 room 0 0"]),
    ("sendmmsg", "5 room 0 0", &["7 room 0 0", "20 room 0 0"]),
    ("recvmsg", "4 room 64", &["3 room 64", "0 room 64", "5 room 64", "6 room 64"]),
];

/// For each rule: arguments that live, and, if it has conditions, some that die.
type Arguments = (&'static str, &'static str, &'static [&'static str]);
const PROBES: &[Arguments] = &[
    ("poll", "room 0 0", &[]),
    ("ppoll", "room 0 room 0 8", &[]),
    ("timerfd_settime", "1 0 room 0", &[]),
    ("clock_gettime", "7 room", &[]),
    ("read", "0 room 8", &[]),
    ("recvfrom", "3 room 8 64 0 0", &[]),
    ("recvmsg", "3 room 64", &[]),
    // Only with SOCK_CLOEXEC, and only for SO_PEERCRED.
    ("accept4", "3 0 0 524288", &["3 0 0 0", "3 0 0 526336"]),
    (
        "getsockopt",
        "3 1 17 room room",
        &["3 1 4 room room", "3 41 17 room room", "3 1 31 room room"],
    ),
    // A destination dies, also one whose low half is 0.
    ("sendto", "0 room 8 0 0 0", &["3 room 8 0 room 28", "3 room 8 0 4294967296 28"]),
    ("write", "2 room 8", &["1 room 8", "3 room 8"]),
    // Another descriptor would take the number.
    ("close", "6", &["0", "1", "2", "3", "4", "5", "4294967300"]),
    // F_GETFD; not F_DUPFD, F_SETFD, F_SETFL, F_DUPFD_CLOEXEC.
    ("fcntl", "0 1", &["0 0 50", "0 2 0", "0 4 0", "0 1030 50"]),
    ("brk", "0", &[]),
    ("mmap", "0 4096 3 34 -1 0", &["0 4096 7 34 -1 0", "0 4096 4 34 -1 0", "0 4096 5 2 3 0"]),
    ("mprotect", "page 4096 3", &["page 4096 7", "page 4096 4"]),
    ("mremap", "page 4096 8192 1 0", &[]),
    ("munmap", "page 4096", &[]),
    ("madvise", "page 4096 4", &[]),
    ("futex", "room 1 1 0 0 0", &[]),
    ("getrandom", "room 8 0", &[]),
    ("gettid", "", &[]),
    ("restart_syscall", "", &[]),
    ("sigaltstack", "0 0", &[]),
    ("exit_group", "0", &[]),
];

/// Each rule of each thread with a probe: as many of a name as there are rules of it, in order.
fn probes() -> Vec<(&'static str, &'static Rule, &'static Arguments)> {
    let mut all = Vec::new();
    for (thread, rules) in THREADS {
        let own: &[_] = if thread.is_empty() { &[] } else { DATA_PATH_PROBES };
        for (at, rule) in rules.iter().enumerate() {
            let same = |other: &&Rule| other.name == rule.name;
            let before = rules[..at].iter().filter(same).count();
            let of = |list: &'static [Arguments]| {
                list.iter().filter(|probe| probe.0 == rule.name).collect::<Vec<_>>()
            };
            let found = if of(own).is_empty() { of(PROBES) } else { of(own) };
            assert_eq!(found.len(), rules.iter().filter(same).count(), "{thread}{}", rule.name);
            all.push((thread, rule, found[before]));
        }
    }
    all
}

#[test]
fn every_rule_allows_what_it_says() {
    for (thread, rule, (_, lives, _)) in probes() {
        let order = format!("{thread}call {} {lives}", rule.number);
        let outcome = Probe::filtered().order(order.trim());
        let good = match rule.name {
            "exit_group" => matches!(outcome, Outcome::Ended(WaitStatus::Exited(_, 0))),
            _ => matches!(outcome, Outcome::Said(_)),
        };
        assert!(good, "{order}: {outcome:?}");
    }
}

#[test]
fn every_condition_forbids_the_rest() {
    for (thread, rule, (_, _, dies)) in probes() {
        assert_eq!(rule.conditions.is_empty(), dies.is_empty(), "{}", rule.name);
        for arguments in *dies {
            let order = format!("{thread}call {} {arguments}", rule.number);
            let outcome = Probe::filtered().order(&order);
            assert!(outcome.killed(), "{order}: {outcome:?}");
        }
    }
}

/// Beyond the last number of Linux 6.18 (470), and x32's own (512 to 547).
const LAST_NUMBER: i64 = 560;

/// uretprobe and uprobe of x86_64: the kernel asks no filter, as they work only in the page that it
/// maps for its own probes, and does nothing elsewhere (arch/x86/kernel/uprobes.c).
const UPROBES: &[i64] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

/// Every number but those.
pub fn forbidden(allowed: &BTreeSet<i64>) -> impl Iterator<Item = i64> {
    let asked = |number: &i64| !allowed.contains(number) && !UPROBES.contains(number);
    (0..=LAST_NUMBER).filter(asked)
}

#[test]
fn every_other_number_dies() {
    for (thread, rules) in THREADS {
        let allowed: BTreeSet<i64> = rules.iter().map(|rule| rule.number).collect();
        for number in forbidden(&allowed) {
            let outcome = Probe::filtered().order(&format!("{thread}call {number}"));
            assert!(outcome.killed(), "{thread}{number}: {outcome:?}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_architectures_die() {
    const X32: i64 = 0x4000_0000;
    for (thread, rules) in THREADS {
        let outcome = Probe::filtered().order(&format!("{thread}i386"));
        assert!(outcome.killed(), "{outcome:?}");
        for rule in rules {
            let outcome = Probe::filtered().order(&format!("{thread}call {}", X32 + rule.number));
            assert!(outcome.killed(), "{thread}x32 {}: {outcome:?}", rule.name);
        }
    }
}

#[test]
fn the_table_is_small_and_explained() {
    for (thread, rules) in THREADS {
        let numbers: BTreeSet<i64> = rules.iter().map(|rule| rule.number).collect();
        assert!(numbers.len() <= 30, "{thread}{}", numbers.len());
        assert!(rules.iter().all(|rule| !rule.reason.is_empty()));
    }
}

/// The thread that moves packets has no more than the other but for moving packets.
#[test]
fn the_data_path_is_tighter() {
    let of = |rules: &[Rule]| rules.iter().map(|rule| rule.name).collect::<BTreeSet<_>>();
    let (control, data) = (of(RULES), of(DATA_PATH_RULES));
    let more: Vec<_> = data.difference(&control).copied().collect();
    assert_eq!(more, ["recvmmsg", "sendmmsg"]);
    assert!(data.len() < control.len());
}

#[test]
fn a_panic_is_heard() {
    for order in ["panic", "data panic"] {
        let mut probe = Probe::filtered();
        let Outcome::Said(line) = probe.order(order) else { panic!("nothing was said") };
        assert!(line.starts_with("panic at tests/src/bin/probe-child.rs:"), "{line}");
        assert!(line.ends_with(": as told"), "{line}");
        let outcome = probe.end();
        assert!(matches!(outcome, Outcome::Ended(WaitStatus::Exited(_, 70))), "{outcome:?}");
    }
}

/// The data-path thread does not end alone.
#[test]
fn threads_end_together() {
    let outcome = Probe::filtered().order("data exit");
    assert!(matches!(outcome, Outcome::Ended(WaitStatus::Exited(_, 71 | 0))), "{outcome:?}");
}

#[test]
fn a_crash_is_no_violation() {
    for order in ["crash", "data crash"] {
        let outcome = Probe::filtered().order(order);
        assert!(outcome.killed_by(Signal::SIGSEGV), "{outcome:?}");
    }
}

#[test]
fn memory_is_limited() {
    let mut probe = Probe::filtered();
    for thread in ["", "data "] {
        assert_eq!(probe.order(&format!("{thread}grow 8")), Outcome::Said("true".into()));
        assert_eq!(probe.order(&format!("{thread}grow 32")), Outcome::Said("false".into()));
    }
}
