//! What /proc shows of the child, and what it cannot do even without its filter.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use isatapd_security::identity::Identity;
use isatapd_security::protocol_41::{FRAGMENTING_FD, WHOLE_FD};
use isatapd_security::spawn::{EmptyRoot, Plan, Program};
use nix::unistd::Pid;

use crate::probe::{Outcome, Probe, program};

fn of(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect(file)
}

fn link(pid: Pid, file: &str) -> String {
    fs::read_link(format!("/proc/{pid}/{file}")).expect(file).to_string_lossy().into_owned()
}

#[test]
fn ids_capabilities_and_flags() {
    let probe = Probe::filtered();
    let text = of(probe.pid, "status");
    let status: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once(":\t")).collect();
    let none = "0000000000000000";
    for (key, want) in [
        ("Uid", "65534\t65534\t65534\t65534"),
        ("Gid", "65534\t65534\t65534\t65534"),
        ("Groups", ""),
        ("Umask", "0077"),
        ("Threads", "2"),
        ("CapInh", none),
        ("CapPrm", none),
        ("CapEff", none),
        ("CapBnd", none),
        ("CapAmb", none),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("SigBlk", none),
    ] {
        assert_eq!(status.get(key).map(|value| value.trim()), Some(want), "{key}");
    }
    // A session of its own: no terminal to type into.
    let stat = of(probe.pid, "stat");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3));
    assert_eq!(session, Some(probe.pid.to_string().as_str()));
    // Not dumpable: /proc belongs to root.
    assert_eq!(fs::metadata(format!("/proc/{}/environ", probe.pid)).expect("environ").uid(), 0);
}

#[test]
fn nothing_comes_along() {
    let probe = Probe::filtered();
    assert_eq!(of(probe.pid, "environ"), "");
    assert_eq!(of(probe.pid, "cmdline"), "isatapd-child\0");
    let folder = format!("/proc/{}/fd", probe.pid);
    let mut numbers: Vec<_> =
        fs::read_dir(folder).expect("fd").map(|entry| entry.expect("fd").file_name()).collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5"]);
    for number in [0, 1, 2, 4, 5] {
        assert_eq!(link(probe.pid, &format!("fd/{number}")), "/dev/null");
    }
    assert!(link(probe.pid, "fd/3").starts_with("socket:["));
    // A program of its own at addresses of its own.
    assert_ne!(of(probe.pid, "maps"), fs::read_to_string("/proc/self/maps").expect("maps"));
}

#[test]
fn the_root_is_empty_for_ever() {
    let probe = Probe::filtered();
    for file in ["root", "cwd"] {
        assert!(link(probe.pid, file).ends_with(" (deleted)"), "{}", link(probe.pid, file));
    }
    let root = format!("/proc/{}/root", probe.pid);
    assert_eq!(fs::read_dir(&root).expect("root").count(), 0);
    // Not even by the host's root.
    assert!(fs::write(format!("{root}/file"), "").is_err());
    assert!(fs::create_dir(format!("{root}/folder")).is_err());
}

#[test]
fn limits() {
    let probe = Probe::filtered();
    let text = of(probe.pid, "limits");
    for (name, want) in [
        ("Max processes", "0"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max locked memory", "0"),
        ("Max msgqueue size", "0"),
        ("Max pending signals", "32"),
        ("Max open files", "160"),
        ("Max data size", "33554432"),
        ("Max address space", "33554432"),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let mut words = line.split_whitespace();
        assert_eq!((words.next(), words.next()), (Some(want), Some(want)), "{name}");
    }
}

/// Each thread is confined as the other, with a filter of its own.
#[test]
fn both_threads_are_confined() {
    let probe = Probe::filtered();
    let tasks = fs::read_dir(format!("/proc/{}/task", probe.pid)).expect("task");
    let mut filters = Vec::new();
    for task in tasks {
        let text = fs::read_to_string(task.expect("task").path().join("status")).expect("status");
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            line.trim().to_owned()
        };
        assert_eq!((of("Seccomp:"), of("NoNewPrivs:")), ("2".into(), "1".into()));
        assert_eq!((of("CapEff:"), of("CapBnd:")), ("0".repeat(16), "0".repeat(16)));
        filters.push(of("Seccomp_filters:").parse::<u32>().expect("a number"));
    }
    let inherited = fs::read_to_string("/proc/self/status").expect("status");
    let inherited = inherited.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    let inherited: u32 = inherited.expect("a line").trim().parse().expect("a number");
    assert_eq!(filters, [inherited + 1; 2]);
}

/// Each layer for itself: here the filter is not there yet.
#[test]
fn without_the_filter_still_nothing() {
    let mut probe = Probe::start("proven");
    let denied = [
        // Landlock's part comes after ids and the empty root; each of these meets one of them.
        ("setresuid", format!("{} 0 0 0", libc::SYS_setresuid)),
        ("setgroups", format!("{} 0 0", libc::SYS_setgroups)),
        ("chroot", format!("{} room", libc::SYS_chroot)),
        ("open . O_RDONLY", format!("{} -100 room 0", libc::SYS_openat)),
        ("fork", format!("{} 17 0 0 0 0", libc::SYS_clone)),
        ("kill of init", format!("{} 1 0", libc::SYS_kill)),
        ("raw socket", format!("{} 10 3 58", libc::SYS_socket)),
        ("packet socket", format!("{} 17 3 0", libc::SYS_socket)),
        ("lock", format!("{} page 4096", libc::SYS_mlock)),
    ];
    // Since Linux 6.3 the kernel itself refuses it (prctl's PR_GET_MDWE, 66); else the filter does.
    let refuses = format!("call {} 66 0 0 0 0", libc::SYS_prctl);
    let executable = ("executable page", format!("{} page 4096 5", libc::SYS_mprotect));
    let executable = (probe.order(&refuses) == Outcome::Said("1".into())).then_some(executable);
    for (what, call) in denied.into_iter().chain(executable) {
        let Outcome::Said(answer) = probe.order(&format!("call {call}")) else {
            panic!("{what}: ended")
        };
        assert!(answer.contains("(os error "), "{what}: {answer}");
    }
}

/// Without sockets of protocol 41 their numbers are /dev/null's, as above; else they are there.
#[test]
fn the_sockets_have_their_numbers() {
    // Sockets that can be told apart.
    let pair = std::os::unix::net::UnixDatagram::pair().expect("a pair");
    let names: Vec<_> = [&pair.0, &pair.1]
        .map(|end| fs::read_link(format!("/proc/self/fd/{}", end.as_raw_fd())).expect("a name"))
        .into();
    let plan = Plan {
        program: Program::open(program()).expect("the probe"),
        root: EmptyRoot::new().expect("a root"),
        identity: Identity::lookup("nobody").expect("nobody"),
        protocol_41: Some([pair.0.into(), pair.1.into()]),
    };
    for _ in 0..2 {
        let probe = Probe::start_by(&plan, "filtered");
        let found: Vec<_> = [WHOLE_FD, FRAGMENTING_FD]
            .map(|number| {
                fs::read_link(format!("/proc/{}/fd/{number}", probe.pid)).expect("a link")
            })
            .into();
        assert_eq!(found, names);
    }
}

/// A folder of the host that the child holds by accident: Landlock closes it.
#[test]
fn landlock_denies_what_a_descriptor_leads_to() {
    let folder = fs::File::open("/etc").expect("/etc");
    let mut probe = Probe::start("proven");
    // The child's next numbers are 6 and 7. The name for openat comes out of the pipe.
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    nix::unistd::write(&writer, b".\0").expect("a pipe with room");
    let fds = [folder.as_fd(), reader.as_fd()];
    let said = probe.pass(&format!("call {} 7 room 2", libc::SYS_read), &fds);
    assert_eq!(said, Outcome::Said("2".into()));
    let said = probe.order(&format!("call {} 6 room 0", libc::SYS_openat));
    assert_eq!(said, Outcome::Said("Permission denied (os error 13)".into()));
}

/// A message whose descriptors do not all fit is an error, not a short list.
#[test]
fn more_descriptors_than_fit() {
    let file = fs::File::open("/dev/null").expect("/dev/null");
    let fds = [file.as_fd(); 8];
    let mut probe = Probe::filtered();
    let order = format!("call {}", libc::SYS_gettid);
    let taken = (0..40).take_while(|_| matches!(probe.pass(&order, &fds), Outcome::Said(_)));
    // Of 160 numbers 0 to 5 are taken.
    assert_eq!(taken.count(), 19);
}
