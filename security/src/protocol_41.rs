//! The child's sockets of protocol 41: at the same two numbers as long as it lives, so that its filter
//! can tell them from all other descriptors. They alone may name where a packet goes.

use std::os::fd::{BorrowedFd, RawFd};

use crate::CHILD_FD;

/// The one that receives, and with the dynamic MTU method never fragments, after exec.
pub const WHOLE_FD: RawFd = CHILD_FD + 1;
/// The one that lets packets be fragmented, and receives nothing, after exec.
pub const FRAGMENTING_FD: RawFd = CHILD_FD + 2;

/// What [`spawn`](crate::spawn::spawn) left at [`WHOLE_FD`] and [`FRAGMENTING_FD`].
pub fn inherited() -> [BorrowedFd<'static>; 2] {
    // SAFETY: `spawn` puts something at each, nothing here owns them, and the filters let no thread
    // close them.
    [WHOLE_FD, FRAGMENTING_FD].map(|number| unsafe { BorrowedFd::borrow_raw(number) })
}
