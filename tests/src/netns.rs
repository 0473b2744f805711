//! Doing something in a network namespace.

use std::fs::File;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// Runs `act` in the named namespace, in a thread of its own; children spawned there stay there.
pub fn within<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{name}");
    in_thread(|| {
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
        act()
    })
}

/// Runs `act` in a new, empty network namespace; needs root.
pub fn in_new<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare (these tests run as root)");
        act()
    })
}

fn in_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| scope.spawn(act).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
