//! Makes one system call of this process and its children fail.

use std::io;

use libc::sock_filter;

/// `[number, errno]`, or `[number, errno, argument, value]`: only if that argument is that int.
/// Errno 0: the call has no effect, but seems to have worked.
pub fn install(fault: &[u32]) -> io::Result<()> {
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset);
    let unless = |value, skip| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value);
    let answer = |value| step(libc::BPF_RET | libc::BPF_K, 0, value);
    // struct seccomp_data: number at 0, arguments from 16, their low half first.
    let mut filter = match *fault {
        [number, _] => vec![load(0), unless(number, 1)],
        [number, _, argument, value] => {
            vec![load(0), unless(number, 3), load(16 + 8 * argument), unless(value, 1)]
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    filter.push(answer(libc::SECCOMP_RET_ERRNO | fault[1]));
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives here.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn step(code: u32, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("BPF codes are short"), jt: 0, jf, k }
}
