//! The DNS sockets asked for and had.

use isatapd_proto::{DnsId, MAX_DNS_SOCKETS, Request, Seq, ServerIndex, Transport};

use crate::Action;
use crate::context::Context;

/// At most [`MAX_DNS_SOCKETS`], those not yet there included.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    next: u32,
}

#[derive(Debug)]
struct Socket {
    id: DnsId,
    seq: Seq,
    /// Whether it is there: one that is not yet cannot be closed.
    ready: bool,
}

impl Sockets {
    /// Whether another may be asked for.
    pub(super) fn has_room(&self) -> bool {
        self.sockets.len() < MAX_DNS_SOCKETS
    }

    /// Asks for one.
    pub(super) fn open(
        &mut self,
        cx: &mut Context,
        server: ServerIndex,
        transport: Transport,
    ) -> DnsId {
        let id = DnsId(self.next);
        self.next = self.next.wrapping_add(1);
        let seq = cx.send(Request::OpenDns { id, server, transport });
        self.sockets.push(Socket { id, seq, ready: false });
        id
    }

    /// It is there; whether it was asked for.
    pub(super) fn ready(&mut self, id: DnsId) -> bool {
        let socket = self.sockets.iter_mut().find(|socket| socket.id == id);
        socket.is_some_and(|socket| !std::mem::replace(&mut socket.ready, true))
    }

    /// Done with it. If it is still to come it is closed then.
    pub(super) fn close(&mut self, cx: &mut Context, id: DnsId) {
        if self.sockets.iter().any(|socket| socket.id == id && socket.ready) {
            self.lost(cx, id);
        }
    }

    /// It failed.
    pub(super) fn lost(&mut self, cx: &mut Context, id: DnsId) {
        self.sockets.retain(|socket| socket.id != id);
        cx.act(Action::CloseDns(id));
    }

    /// The parent's answer; the socket that will not come, if this is about one.
    pub(super) fn done(&mut self, cx: &mut Context, seq: Seq) -> Option<DnsId> {
        // The socket comes before its `Done`: if it has not come, it will not, whatever the outcome.
        let id = self.sockets.iter().find(|s| s.seq == seq && !s.ready)?.id;
        self.lost(cx, id);
        Some(id)
    }
}
