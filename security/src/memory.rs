//! What a small process need not keep.

use std::ffi::c_void;

unsafe extern "C" {
    /// The first octet of the program in memory, and the first after its code (ld(1)).
    static __executable_start: u8;
    static etext: u8;
}

/// Gives back the memory of the program's code, most of which has run at the start and will not
/// again. What does is mapped anew from the file, which no process can write. Nothing depends on it.
pub fn forget_startup_code() {
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start).addr().next_multiple_of(PAGE);
    let len = (&raw const etext).addr().saturating_sub(start) / PAGE * PAGE;
    let first = (&raw const __executable_start).with_addr(start);
    // SAFETY: the range is the program's own headers, constants and code: mapped from the file, never
    // written, so that the pages come back as they were.
    unsafe { libc::madvise(first.cast_mut().cast::<c_void>(), len, libc::MADV_DONTNEED) };
}
