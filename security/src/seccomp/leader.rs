//! What the process in front of several tunnels may ask of the kernel once it leads them.

use super::{NO_EXEC, Rule, int, rule};

/// The leader's system calls.
pub const RULES: &[Rule] = &[
    // Wait and signal.
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_poll, "the loop; glibc's poll"),
    rule!(SYS_ppoll, "the loop; poll where the kernel has no call of that name"),
    rule!(SYS_read, "signals"),
    rule!(SYS_recvfrom, "what the tunnels' processes say"),
    rule!(SYS_wait4, "collect them"),
    rule!(SYS_kill, "pass signals on to them"),
    rule!(SYS_restart_syscall, "a wait goes on after SIGSTOP and SIGCONT"),
    // Tell: the tunnels' processes, the service manager, the log, who waits for --daemon.
    rule!(SYS_sendto, "messages"),
    rule!(SYS_write, "standard error; readiness"),
    rule!(SYS_socket, [int(0, libc::AF_UNIX as u64)], "the log, if syslogd is another"),
    rule!(SYS_connect, "the same"),
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_dup2, "the standard descriptors, once in the background"),
    rule!(SYS_dup3, "the same"),
    // The pid file, at the end.
    rule!(SYS_newfstatat, "whether it is still ours"),
    rule!(SYS_fstat, "the same"),
    rule!(SYS_statx, "the same"),
    rule!(SYS_unlinkat, "remove it"),
    rule!(SYS_fcntl, "descriptors, as checked builds close them"),
    rule!(SYS_close, "descriptors"),
    // Memory, none of it executable.
    rule!(SYS_brk, "heap"),
    rule!(SYS_mmap, [NO_EXEC], "heap"),
    rule!(SYS_mremap, "heap"),
    rule!(SYS_munmap, "heap"),
    rule!(SYS_madvise, "heap"),
    // The runtime.
    rule!(SYS_futex, "locks and once-cells"),
    rule!(SYS_getrandom, "seeds"),
    rule!(SYS_rt_sigprocmask, "abort"),
    rule!(SYS_rt_sigaction, "abort"),
    rule!(SYS_rt_sigreturn, "the end of a handler"),
    rule!(SYS_getpid, "abort"),
    rule!(SYS_gettid, "panic, abort"),
    rule!(SYS_tgkill, "abort"),
    rule!(SYS_sigaltstack, "exit"),
    rule!(SYS_exit, "end"),
    rule!(SYS_exit_group, "end"),
];
