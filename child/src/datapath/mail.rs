//! What the control thread leaves for the packet loop.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isatapd_datapath::Table;
use isatapd_security::protocol_41;

/// The descriptors that packets pass by: made by the parent, non-blocking.
pub(crate) struct Ends {
    /// The queue of the TUN interface, without a header before packets.
    pub(super) tun: OwnedFd,
    /// A raw socket of protocol 41 that never fragments (DF is set), and receives packets, and what
    /// became of those that either sent.
    pub(super) whole: BorrowedFd<'static>,
    /// Another that lets packets be fragmented, and receives nothing.
    pub(super) fragmenting: BorrowedFd<'static>,
}

impl Ends {
    /// A queue, and the sockets that this process was started with.
    pub(crate) fn new(tun: OwnedFd) -> Self {
        let [whole, fragmenting] = protocol_41::inherited();
        Self { tun, whole, fragmenting }
    }
}

/// What is new since the mail was taken.
#[derive(Default)]
pub(super) struct Mail {
    /// The table to go by.
    pub(super) table: Option<Arc<Table>>,
    /// Packets no longer pass by the descriptors in use.
    pub(super) detach: bool,
    /// The descriptors to use from now on.
    pub(super) ends: Option<Ends>,
}

/// One place for each: what is newer replaces what was not taken.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Mail>);

impl Mailbox {
    /// Leaves a table.
    pub(super) fn publish(&self, table: Arc<Table>) {
        self.open().table = Some(table);
    }

    /// Leaves descriptors, or that there are none.
    pub(super) fn attach(&self, ends: Option<Ends>) {
        let mut mail = self.open();
        (mail.detach, mail.ends) = (true, ends);
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut *self.open())
    }

    /// A panic ends the process, so no lock is ever poisoned.
    fn open(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
