//! What the parent may ask of the kernel after start. Paths are Landlock's business, rights those
//! of capabilities; here are the calls. The filter is the child's too until it has its own, so what
//! starting a child takes is here as well.

use super::{Condition, FRAGMENTING, NO_EXEC, Rule, Test, WHOLE, Width, int, rule};

/// The kernel's PRL (linux/if_tunnel.h): SIOCGETPRL, SIOCADDPRL, SIOCDELPRL.
const fn prl(number: u64) -> Condition {
    int(1, 0x89f0 + number)
}

/// TUNSETIFF of linux/if_tun.h.
#[allow(clippy::unnecessary_cast, reason = "its type differs by architecture and C library")]
const MAKE_TUN: Condition = int(1, libc::TUNSETIFF as u64);
/// TUNSETPERSIST of linux/if_tun.h.
#[allow(clippy::unnecessary_cast, reason = "its type differs by architecture and C library")]
const LEAVE_TUN: Condition = int(1, libc::TUNSETPERSIST as u64);

/// prctl(2): which option.
const fn option(option: libc::c_int) -> Condition {
    int(0, option.cast_unsigned() as u64)
}

/// clone(2) as fork: a process, with no namespace, thread or shared memory.
const FORK: Condition = Condition {
    argument: 0,
    width: Width::Long,
    test: Test::Is((libc::CLONE_CHILD_CLEARTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD) as u64),
};

/// clone(2) as a thread, as glibc makes one: all is shared.
const THREAD: Condition = Condition {
    argument: 0,
    width: Width::Long,
    test: Test::Is(
        (libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID) as u64,
    ),
};

/// The kind of the socket that tells of traffic, as it is made.
const TRAFFIC_SOCKET: u64 =
    (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).unsigned_abs() as u64;

/// System calls that seem not to exist (ENOSYS): glibc makes do without.
pub const ABSENT: &[Rule] = &[rule!(
    SYS_clone3,
    "a child's thread: its flags are in memory, where no filter can look; glibc then uses clone"
)];

/// The parent's system calls.
pub const RULES: &[Rule] = &[
    // Wait.
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_poll, "the loop; glibc's poll"),
    rule!(SYS_ppoll, "the loop; poll where the kernel has no call of that name"),
    rule!(SYS_timerfd_create, "the child's timer, made before its own filter"),
    rule!(SYS_timerfd_settime, "the same"),
    rule!(SYS_clock_gettime, "time, where it is not read without a call"),
    rule!(SYS_signalfd4, "signals as descriptors"),
    rule!(SYS_rt_sigprocmask, "signals as descriptors; around fork"),
    rule!(SYS_rt_sigaction, "a child's signals back to default"),
    rule!(SYS_rt_sigreturn, "the end of a handler"),
    rule!(SYS_restart_syscall, "a wait goes on after SIGSTOP and SIGCONT"),
    // Sockets: netlink, the log, the channel, the child's.
    rule!(SYS_socket, [int(0, libc::AF_UNIX as u64)], "the log"),
    rule!(SYS_socket, [int(0, libc::AF_NETLINK as u64)], "routing"),
    rule!(SYS_socket, [int(0, libc::AF_INET as u64)], "name servers; ioctls for the PRL"),
    rule!(SYS_socket, [int(0, libc::AF_INET6 as u64)], "name servers; the child's ICMPv6"),
    rule!(
        SYS_socket,
        [int(0, libc::AF_PACKET as u64), int(1, TRAFFIC_SOCKET)],
        "whether packets leave by the kernel's tunnel; never read"
    ),
    rule!(SYS_socketpair, [int(0, libc::AF_UNIX as u64)], "the channel"),
    rule!(SYS_bind, "the child's sockets of protocol 41 to the locator; netlink"),
    rule!(SYS_connect, "the child's sockets, the log"),
    rule!(SYS_setsockopt, "the child's sockets, netlink"),
    rule!(SYS_getsockopt, "what became of a connect; the kind of a socket"),
    rule!(SYS_getsockname, "our own netlink port"),
    rule!(SYS_sendto, "messages"),
    rule!(SYS_sendmsg, "messages with descriptors"),
    rule!(SYS_recvfrom, "messages"),
    rule!(SYS_recvmsg, "messages with descriptors"),
    rule!(SYS_ioctl, [prl(4)], "read the PRL"),
    rule!(SYS_ioctl, [prl(5)], "add to the PRL"),
    rule!(SYS_ioctl, [prl(6)], "delete from the PRL"),
    rule!(SYS_ioctl, [MAKE_TUN], "make the TUN interface; Landlock lets no other device be opened"),
    rule!(SYS_ioctl, [LEAVE_TUN], "leave the TUN interface for the next start, and take it over"),
    // Files, where Landlock lets us.
    rule!(SYS_inotify_init1, "resolv.conf, hosts"),
    rule!(SYS_inotify_add_watch, "resolv.conf, hosts"),
    rule!(SYS_openat, "resolv.conf, hosts, settings of the tunnel"),
    rule!(SYS_newfstatat, "what a file is"),
    rule!(SYS_fstat, "what a file is"),
    rule!(SYS_statx, "what a file is"),
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_readlink, "the runtime of a static program looks for itself"),
    rule!(SYS_readlinkat, "where resolv.conf leads; the same as readlink"),
    rule!(SYS_lseek, "files"),
    rule!(SYS_read, "files, signals, inotify"),
    rule!(SYS_write, "files, standard error"),
    rule!(SYS_unlinkat, "pid file and lock, at the end"),
    rule!(SYS_renameat, "the state that SIGUSR1 asks for replaces the one before as a whole"),
    rule!(SYS_fcntl, "locks, non-blocking, copies of descriptors"),
    rule!(SYS_umask, "files; a child"),
    rule!(SYS_close, "descriptors"),
    // Memory, none of it executable.
    rule!(SYS_brk, "heap"),
    rule!(SYS_mmap, [NO_EXEC], "heap"),
    rule!(SYS_mprotect, [NO_EXEC], "heap; a child's relocated data"),
    rule!(SYS_mremap, "heap"),
    rule!(SYS_munmap, "heap"),
    rule!(SYS_madvise, "heap"),
    // The runtime.
    rule!(SYS_futex, "locks and once-cells"),
    rule!(SYS_getrandom, "seeds"),
    rule!(SYS_getpid, "log, pid file"),
    rule!(SYS_gettid, "panic, abort"),
    rule!(SYS_tgkill, "abort"),
    rule!(SYS_sigaltstack, "at start of a child, at exit"),
    rule!(SYS_exit, "end"),
    rule!(SYS_exit_group, "end"),
    // Start, end and collect a child: what is done before its program runs ...
    rule!(SYS_pipe2, "the child's report of a failed step"),
    rule!(SYS_clone, [FORK], "fork"),
    rule!(SYS_wait4, "collect a child"),
    rule!(SYS_kill, "end a child that hangs"),
    rule!(SYS_set_robust_list, "the runtime, after fork and at start"),
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_dup2, "its descriptors"),
    rule!(SYS_dup3, "its descriptors"),
    rule!(SYS_close_range, "its descriptors"),
    rule!(SYS_setsid, "its session"),
    rule!(SYS_fchdir, "its root"),
    rule!(SYS_chroot, "its root"),
    rule!(SYS_setgroups, "its ids"),
    rule!(SYS_setresgid, "its ids"),
    rule!(SYS_setresuid, "its ids; the proof that there is no way back"),
    rule!(SYS_capset, "its capabilities"),
    rule!(SYS_prctl, [option(libc::PR_CAPBSET_DROP)], "its capabilities"),
    rule!(SYS_prctl, [option(libc::PR_CAP_AMBIENT)], "its capabilities"),
    rule!(SYS_prctl, [option(libc::PR_SET_SECUREBITS)], "its capabilities"),
    rule!(SYS_prctl, [option(libc::PR_SET_NO_NEW_PRIVS)], "its capabilities"),
    rule!(SYS_prctl, [option(libc::PR_SET_PDEATHSIG)], "it does not outlive us"),
    rule!(SYS_execveat, "its program; Landlock lets no other be executed"),
    // ... and what its program does until it has its own filter.
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_arch_prctl, "the runtime: thread-local storage"),
    rule!(SYS_set_tid_address, "the runtime"),
    rule!(SYS_rseq, "the runtime"),
    rule!(SYS_prlimit64, "the runtime: stack; limits"),
    rule!(SYS_sched_getaffinity, "the runtime: stack"),
    rule!(SYS_getresuid, "proof of ids"),
    rule!(SYS_getresgid, "proof of ids"),
    rule!(SYS_setfsuid, "proof of ids"),
    rule!(SYS_getgroups, "proof of ids"),
    rule!(SYS_capget, "proof of capabilities"),
    rule!(SYS_clone, [THREAD], "its data-path thread"),
    rule!(SYS_prctl, [option(libc::PR_CAPBSET_READ)], "proof of capabilities"),
    rule!(SYS_prctl, [option(libc::PR_GET_NO_NEW_PRIVS)], "proof of capabilities"),
    rule!(SYS_prctl, [option(libc::PR_GET_DUMPABLE)], "its status"),
    rule!(SYS_prctl, [option(libc::PR_SET_DUMPABLE)], "nobody may trace it"),
    rule!(SYS_prctl, [option(libc::PR_SET_MDWE)], "no memory becomes executable"),
    rule!(SYS_unshare, [int(0, libc::CLONE_THREAD as u64)], "proof of one thread"),
    rule!(SYS_recvmmsg, [WHOLE], "its packets, all its life"),
    rule!(SYS_sendmmsg, [WHOLE], "its packets, all its life"),
    rule!(SYS_sendmmsg, [FRAGMENTING], "its packets, all its life"),
    rule!(SYS_accept4, [int(3, libc::SOCK_CLOEXEC as u64)], "the operator's tools, all its life"),
    rule!(SYS_landlock_create_ruleset, "its Landlock"),
    rule!(SYS_landlock_restrict_self, "its Landlock"),
    rule!(SYS_seccomp, "its filter"),
];
