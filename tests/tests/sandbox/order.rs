//! What a probe program is told, as text: a system call and its arguments.

use std::io;

/// Room that calls may read and write.
static ROOM: [std::sync::atomic::AtomicU64; 1024] =
    [const { std::sync::atomic::AtomicU64::new(0) }; 1024];

/// Makes the call in "call NUMBER ARGUMENT...": numbers, `room` for a pointer, `page` for a page of
/// its own. The answer is text as well.
pub fn call(order: &str) -> Option<String> {
    let mut words = order.strip_prefix("call ")?.split(' ');
    let number: libc::c_long = words.next()?.parse().ok()?;
    let mut a = [0; 6];
    for (place, word) in a.iter_mut().zip(words) {
        *place = argument(word)?;
    }
    // SAFETY: the test knows which memory it lets the kernel write to: `room` or `page`.
    let answer = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    Some(if answer == -1 { io::Error::last_os_error().to_string() } else { answer.to_string() })
}

fn argument(word: &str) -> Option<i64> {
    match word {
        "room" => i64::try_from(ROOM.as_ptr().addr()).ok(),
        "page" => {
            let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new page, where the kernel likes.
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
            i64::try_from(page.addr()).ok()
        }
        number => number.parse().ok(),
    }
}
