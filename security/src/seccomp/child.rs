//! What the child's control thread may ask of the kernel, once it has all that it needs: to wait, and to use, read
//! and close the descriptors that it was given. It can make no descriptor and name nothing.

use super::{NO_EXEC, NOT_FIXED, Rule, int, null, rule};

/// The control thread's system calls.
pub const RULES: &[Rule] = &[
    // Wait.
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_poll, "the loop; glibc's poll"),
    rule!(SYS_ppoll, "the loop; poll where the kernel has no call of that name"),
    rule!(SYS_timerfd_settime, "the next moment at which something is due"),
    rule!(SYS_clock_gettime, "time, where it is not read without a call"),
    // Read.
    rule!(SYS_read, "the timer, resolv.conf, hosts, TCP"),
    rule!(SYS_recvfrom, "DNS answers"),
    rule!(SYS_recvmsg, "the parent's messages with descriptors; advertisements with hop limit"),
    // The operator's tools.
    rule!(SYS_accept4, [int(3, libc::SOCK_CLOEXEC as u64)], "a tool on the control socket"),
    rule!(
        SYS_getsockopt,
        [int(1, libc::SOL_SOCKET as u64), int(2, libc::SO_PEERCRED as u64)],
        "whose process it is"
    ),
    // Say: only to where the parent has connected the socket.
    rule!(SYS_sendto, [null(4)], "the parent, name servers, routers; never to an address"),
    rule!(SYS_write, [int(0, 2)], "the runtime's last words"),
    rule!(SYS_close, [NOT_FIXED], "done with a query, a router or a file"),
    rule!(
        SYS_fcntl,
        [int(1, libc::F_GETFD as u64)],
        "the runtime's check at close in debug builds"
    ),
    // Memory, none of it executable.
    rule!(SYS_brk, "heap"),
    rule!(SYS_mmap, [NO_EXEC], "heap"),
    rule!(SYS_mprotect, [NO_EXEC], "heap of other C libraries"),
    rule!(SYS_mremap, "heap"),
    rule!(SYS_munmap, "heap"),
    rule!(SYS_madvise, "heap"),
    // The runtime.
    rule!(SYS_futex, "locks and once-cells, at exit too"),
    rule!(SYS_getrandom, "seeds"),
    rule!(SYS_gettid, "the name of the thread in the runtime's last words"),
    rule!(SYS_restart_syscall, "a wait goes on after SIGSTOP and SIGCONT"),
    rule!(SYS_sigaltstack, "the runtime at exit"),
    // Not exit, which would leave the other thread alone.
    rule!(SYS_exit_group, "end"),
];
