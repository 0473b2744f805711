//! What a small process need not keep.

/// Gives back the memory of the program's code, most of which has run at the start and will not
/// again. What does is mapped anew from the file, which only root can write. Nothing depends on it.
#[cfg(target_arch = "x86_64")]
pub fn forget_startup_code() {
    const PAGE: usize = 4096;
    unsafe extern "C" {
        /// The first octet of the program in memory, and the first after its code (ld(1)).
        static __executable_start: u8;
        static etext: u8;
    }
    let start = (&raw const __executable_start).addr().next_multiple_of(PAGE);
    let len = (&raw const etext).addr().saturating_sub(start) / PAGE * PAGE;
    let first = (&raw const __executable_start).with_addr(start);
    // SAFETY: the whole pages of the program's headers, constants and code. They are mapped from the
    // file and never written: relocations are in data only, and those segments come after. On
    // x86_64 segments are aligned to the page, so there is no hole in which something else could be.
    unsafe { libc::madvise(first.cast_mut().cast(), len, libc::MADV_DONTNEED) };
}

/// Nothing: where segments are aligned to more than a page there may be something else between them.
#[cfg(not(target_arch = "x86_64"))]
pub const fn forget_startup_code() {}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    /// What is forgotten comes back: this code runs on, and constants and data are as before.
    #[test]
    fn code_comes_back() {
        let text = ["a", "b"].map(str::to_owned);
        for _ in 0..3 {
            super::forget_startup_code();
            assert_eq!(text.concat(), "ab");
        }
    }
}
