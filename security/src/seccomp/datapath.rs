//! What the child's data-path thread may ask of the kernel: to wait, and to move packets. It can
//! make no descriptor and name nothing but the IPv4 destination of a packet of protocol 41: a filter
//! does not see where a packet goes, so those calls are for the two sockets of that protocol alone.

use super::{FRAGMENTING, NO_EXEC, NOT_FIXED, Rule, WHOLE, int, null, rule};

/// The data-path thread's system calls.
pub const RULES: &[Rule] = &[
    // Wait.
    #[cfg(target_arch = "x86_64")]
    rule!(SYS_poll, "the loop; glibc's poll"),
    rule!(SYS_ppoll, "the loop; poll where the kernel has no call of that name"),
    rule!(SYS_clock_gettime, "time, where it is not read without a call"),
    // Packets.
    rule!(SYS_read, "packets from the TUN interface"),
    rule!(SYS_write, "packets to the TUN interface"),
    rule!(SYS_recvmmsg, [WHOLE], "packets from IPv4"),
    rule!(SYS_sendmmsg, [WHOLE], "packets to IPv4"),
    rule!(SYS_sendmmsg, [FRAGMENTING], "packets to IPv4 that may become fragments"),
    rule!(SYS_recvmsg, [WHOLE], "what became of packets: the error queue"),
    // The other thread, and the parent.
    rule!(SYS_recvfrom, "the control thread's packets and wake-ups"),
    rule!(SYS_sendto, [null(4)], "packets for the control thread; last words to the parent"),
    rule!(SYS_futex, "the mailbox; the heap"),
    rule!(SYS_close, [NOT_FIXED], "descriptors that were replaced"),
    rule!(
        SYS_fcntl,
        [int(1, libc::F_GETFD as u64)],
        "the runtime's check at close in debug builds"
    ),
    // Memory, none of it executable.
    rule!(SYS_brk, "heap"),
    rule!(SYS_mmap, [NO_EXEC], "heap"),
    rule!(SYS_mremap, "heap"),
    rule!(SYS_munmap, "heap"),
    rule!(SYS_madvise, "heap"),
    // The runtime.
    rule!(SYS_restart_syscall, "a wait goes on after SIGSTOP and SIGCONT"),
    rule!(SYS_sigaltstack, "the runtime at exit"),
    rule!(SYS_exit_group, "end of the child"),
];
