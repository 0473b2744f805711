//! `tests/lab/demo`, as root and as an ordinary user: what it shows, what it leaves, and what it says
//! where it cannot run.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use isatapd_tests::expect::{self, status};
use isatapd_tests::process::{self, output};
use isatapd_tests::site::{isatapd, lab};
use isatapd_tests::wait::{secs, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The longest that it may take, on a busy machine too.
const LIMIT: Duration = secs(240);

const AS_NOBODY: &str = "exec setpriv --reuid nobody --regid 65534 --clear-groups \"$@\"";

/// The demo and the programs in a folder of their own that everybody may read.
struct Demo(TempDir);

impl Demo {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let built = isatapd().with_file_name("");
        let names = ["isatapd", "isatapd-child", "isatapctl", "isatapd.libexecdir"];
        let programs = names.map(|name| built.join(name)).into_iter().chain([lab("demo")]);
        process::copy(programs, folder.path());
        Self(folder)
    }

    fn folder(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    /// The demo as `shell` runs its arguments, in a mount namespace of its own.
    fn command(&self, shell: &str) -> Command {
        let (folder, mut command) = (self.folder(), Command::new("unshare"));
        let script = format!("{folder}/demo");
        command.args(["--mount", "sh", "-ec", shell, "sh", &script, folder]);
        command
    }

    fn run(&self, shell: &str) -> (Output, String, String) {
        let output = output(&mut self.command(shell), LIMIT);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (shown, errors) = (text(&output.stdout), text(&output.stderr));
        (output, shown, errors)
    }

    /// Panics if the first process of its namespaces stays: with it all others end.
    fn check_gone(&self) {
        let inside = format!("--inside\0{}", self.folder());
        let found = || {
            let all = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
            all.filter_map(|e| fs::read(e.path().join("cmdline")).ok())
                .any(|line| String::from_utf8_lossy(&line).contains(&inside))
        };
        wait_for(secs(30), "the end of the demo's namespaces", || (!found()).then_some(()));
    }
}

/// Panics unless all was shown.
fn check_shown((output, shown, errors): (Output, String, String)) {
    expect::exit(output.status, 0, &format!("{shown}\n{errors}"));
    assert_eq!(errors, "");
    for (what, least) in [("is0: working\n", 2), (" ms  without an answer, ", 5), ("# Done, ", 1)] {
        assert!(shown.matches(what).count() >= least, "{what:?} not {least} times: {shown}");
    }
}

#[test]
fn shows_it_all_to_root() {
    let demo = Demo::new();
    check_shown(demo.run("exec \"$@\""));
    demo.check_gone();
}

/// Where nobody may make user namespaces, it says so.
#[test]
fn shows_it_all_to_an_ordinary_user_with_a_range_of_ids() {
    let demo = Demo::new();
    let ids = format!("{}/ids", demo.folder());
    fs::write(&ids, "nobody:100000:65536\n").expect("a file");
    let shell =
        format!("mount --bind {ids} /etc/subuid; mount --bind {ids} /etc/subgid; {AS_NOBODY}");
    let can = Command::new("unshare")
        .args(["--mount", "sh", "-ec", &shell, "sh", "unshare"])
        .args(["--user", "--map-root-user", "--map-auto", "true"])
        .stderr(Stdio::null())
        .status()
        .expect("unshare");
    let got = demo.run(&shell);
    if can.success() {
        check_shown(got);
    } else {
        expect::exit(got.0.status, 1, &got.2);
    }
    demo.check_gone();
}

#[test]
fn says_in_one_line_what_is_missing_and_makes_nothing() {
    let demo = Demo::new();
    let cases = [
        (r#"mount -t tmpfs tmpfs /usr/sbin; exec "$@""#, 1, "dnsmasq is missing"),
        (r#"mount -t tmpfs tmpfs /dev/net; exec "$@""#, 1, "modprobe tun"),
        (r#"exec "$1" /nowhere"#, 1, "make build"),
        (r#"exec "$1""#, status::USAGE, "usage"),
        (r#"exec "$1" --daemon"#, status::USAGE, "usage"),
        (r#"exec "$@" "$2""#, status::USAGE, "usage"),
        (r#"exec setpriv --bounding-set -sys_admin "$@""#, 1, "namespaces"),
        (r#"exec unshare --user --map-root-user "$@""#, 1, "subuid"),
    ];
    for (shell, want, words) in cases {
        let (output, shown, errors) = demo.run(shell);
        expect::exit(output.status, want, shell);
        assert_eq!(shown, "", "{shell}");
        // What a program says that is asked to do it may be before.
        expect::one_line(errors.lines().last().unwrap_or_default(), &[words]);
    }
    demo.check_gone();
}

#[test]
fn a_step_that_fails_is_the_end_of_it() {
    let demo = Demo::new();
    let shell = r#"mount --bind /bin/false "$(command -v dnsmasq)"; exec "$@""#;
    let (output, _, errors) = demo.run(shell);
    expect::exit(output.status, 1, &errors);
    assert!(errors.ends_with("demo: failed\n"), "{errors}");
    demo.check_gone();
}

#[test]
fn a_signal_at_any_moment_ends_it_and_leaves_nothing() {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL];
    for (signal, after) in signals.into_iter().zip([0, 2, 9, 30]) {
        let demo = Demo::new();
        let mut process = demo
            .command("exec \"$@\"")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let mut shown = BufReader::new(process.stdout.take().expect("a pipe"));
        assert_eq!(shown.by_ref().lines().take(after).count(), after);
        kill(Pid::from_raw(process.id().cast_signed()), signal).expect("kill");
        let ended = process.wait().expect("wait");
        // At the very first there is nothing to say yet.
        let by = ended.code().map(|code| code - 128).or(ended.signal());
        assert_eq!(by, Some(signal as i32), "{signal}: {ended}");
        demo.check_gone();
    }
}
