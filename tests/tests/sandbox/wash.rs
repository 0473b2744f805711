//! What the parent's caller can leave in it: nothing.

use std::process::Command;

use crate::probe::{PARENT, program};

#[test]
fn the_parent_is_washed() {
    // An open file, no standard input, a signal that must not be ignored, a lax umask.
    let script = "trap '' CHLD USR1; umask 0; exec 9</etc/passwd 0<&-; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, PARENT]).arg(program()).arg("washed");
    shell.env("NOTIFY_SOCKET", "/run/notify").env("JOURNAL_STREAM", "8:1").env("LD_BIND_NOW", "1");
    let output = shell.output().expect("a shell");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(!text.contains("/etc/passwd"), "{text}");
    // The first number is standard input.
    let first = text.lines().find(|line| line.starts_with("fd: "));
    assert_eq!(first, Some("fd: /dev/null"), "{text}");
    for line in [
        "kept: Kept { notify_socket: Some(\"/run/notify\"), watchdog: None, watchdog_pid: None, \
         journal_stream: Some(\"8:1\") }",
        "environment: 0",
        "SigBlk:\t0000000000000000",
        "Umask:\t0027",
        "THP_enabled:\t0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
    let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("SigIgn");
    let ignored = u64::from_str_radix(ignored, 16).expect("a set");
    // SIGPIPE alone, of the signals that have a name.
    assert_eq!(ignored & 0x7fff_ffff, 1 << (libc::SIGPIPE - 1), "{ignored:x}");
}

#[test]
fn a_program_that_others_can_write_is_not_the_childs() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use isatapd_security::spawn::Program;

    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("program"), folder.path().join("link"));
    std::fs::copy(program(), &file).expect("a copy");
    symlink(&file, &link).expect("a link");
    let with = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
    for (mode, good) in [(0o755, true), (0o775, false), (0o757, false)] {
        with(mode).expect("a mode");
        assert_eq!(Program::open(&file).is_ok(), good, "{mode:o}");
    }
    with(0o755).expect("a mode");
    assert!(Program::open(&link).is_err());
    assert!(Program::open(folder.path()).is_err());
    std::os::unix::fs::chown(&file, Some(65534), None).expect("another owner");
    assert!(Program::open(&file).is_err());
}
