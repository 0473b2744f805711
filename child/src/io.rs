//! What the engine's actions do to sockets, and what sockets tell the engine.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use isatapd_engine::{Action, Input, Instant, Traffic};
use isatapd_proto::isatap::UBit;
use isatapd_proto::{
    Backend, DnsId, Link, Request, Seq, Slot, State, Transport, UnicastV4, Up, encode,
};

use crate::clock::Clock;
use crate::control::Control;
use crate::datapath::{DataPath, Ends};
use crate::dns::DnsSocket;
use crate::icmp6::RouterSocket;
use crate::uplink::Uplink;

/// Messages kept for a parent that does not take them; with more it is not well, and nor are we.
const MOST_WAITING: usize = 256;
/// So long after IPv6 works, what had to be done is done.
const SETTLED: Duration = Duration::from_secs(3);

/// All descriptors of the child.
pub(crate) struct Io {
    pub(crate) uplink: Uplink,
    pub(crate) clock: Clock,
    pub(crate) data_path: DataPath,
    pub(crate) routers: BTreeMap<(Slot, UBit), RouterSocket>,
    pub(crate) dns: BTreeMap<DnsId, DnsSocket>,
    pub(crate) control: Control,
    locator: Option<UnicastV4>,
    has_data_path: bool,
    /// When the code of the start is to be forgotten.
    pub(crate) settled_at: Option<Instant>,
    /// Sockets asked for: the transport of each.
    asked: BTreeMap<DnsId, Transport>,
    waiting: VecDeque<Vec<u8>>,
    /// What waits is held back until the data path has sent the engine's packets: until this barrier.
    held: Option<u64>,
    /// The parent hears that both threads are well when this barrier comes back.
    pinged: Option<u64>,
}

impl Io {
    /// No sockets yet.
    pub(crate) const fn new(
        uplink: Uplink,
        clock: Clock,
        data_path: DataPath,
        control: Control,
    ) -> Self {
        Self {
            uplink,
            clock,
            data_path,
            routers: BTreeMap::new(),
            dns: BTreeMap::new(),
            control,
            locator: None,
            has_data_path: false,
            settled_at: None,
            asked: BTreeMap::new(),
            waiting: VecDeque::new(),
            held: None,
            pinged: None,
        }
    }

    /// Closes the sockets if the tunnel they were made for is no more.
    pub(crate) fn follow(&mut self, link: &Link) {
        let locator = link.tunnel.map(|tunnel| tunnel.locator);
        if locator.is_none() || locator != self.locator {
            self.routers.clear();
        }
        if link.tunnel.is_none_or(|tunnel| tunnel.backend != Backend::Tun) && self.has_data_path {
            self.data_path.detach();
            self.has_data_path = false;
        }
        self.locator = locator;
    }

    /// When the data path last heard each router; nothing without one.
    pub(crate) fn last_heard(&self) -> Vec<(Slot, Instant)> {
        let traffic = self.has_data_path.then(|| self.data_path.traffic());
        traffic.into_iter().flat_map(Traffic::last_heard).collect()
    }

    /// Has packets pass by these descriptors from now on.
    pub(crate) fn attach(&mut self, ends: Ends) {
        self.data_path.attach(ends);
        self.has_data_path = true;
    }

    /// Takes the DNS socket that came for `id`; false if it was not asked for, or no longer.
    pub(crate) fn take_dns(&mut self, id: DnsId, socket: OwnedFd) -> bool {
        let Some(transport) = self.asked.remove(&id) else { return false };
        self.dns.insert(id, DnsSocket::new(socket, transport));
        true
    }

    /// Does what the engine wants. What fails is for the engine to hear.
    pub(crate) fn perform(&mut self, action: Action) -> io::Result<Option<Input<'static>>> {
        match action {
            Action::Send(up) => self.send(&up)?,
            Action::Solicit { slot, form, bytes } => {
                let sent = match self.routers.get(&(slot, form)) {
                    Some(socket) => socket.send(&bytes),
                    None => Err(io::ErrorKind::NotConnected.into()),
                };
                if let Err(error) = sent {
                    let error = error.to_string();
                    return Ok(Some(Input::SolicitFailed { slot, form, error }));
                }
            }
            Action::Transmit { to, packet } => self.data_path.transmit(to, &packet),
            Action::Publish(table) => self.data_path.publish(table),
            Action::Watch(slots) => self.data_path.traffic().watch(slots),
            Action::CloseRouter(slot) => self.routers.retain(|(s, _), _| *s != slot),
            Action::SendDns { id, bytes } => {
                let socket = self.dns.get_mut(&id);
                if let Some(Err(error)) = socket.map(|socket| socket.send(&bytes)) {
                    return Ok(Some(Input::DnsFailed { id, error: error.to_string() }));
                }
            }
            Action::CloseDns(id) => {
                self.asked.remove(&id);
                self.dns.remove(&id);
            }
        }
        Ok(None)
    }

    fn send(&mut self, up: &Up) -> io::Result<()> {
        match &up.request {
            Request::OpenDns { id, transport, .. } => drop(self.asked.insert(*id, *transport)),
            // The parent takes the data path away when it has heard that.
            Request::Report(State::Finished) if self.has_data_path => {
                self.flush()?;
                self.held = Some(self.data_path.barrier());
            }
            Request::Report(State::Working) => self.settled_at = Some(Clock::now()?.after(SETTLED)),
            _ => {}
        }
        if self.waiting.len() >= MOST_WAITING {
            return Err(io::Error::other("the parent does not listen"));
        }
        self.waiting.push_back(encode(up).map_err(io::Error::other)?);
        self.flush()
    }

    /// Whether messages wait for the parent to take them.
    pub(crate) fn is_waiting(&self) -> bool {
        self.held.is_none() && !self.waiting.is_empty()
    }

    /// The parent wants a sign of life: of the other thread first.
    pub(crate) fn ping(&mut self) {
        self.pinged = Some(self.data_path.barrier());
    }

    /// The data path has done all that it was given before this barrier.
    pub(crate) fn release(&mut self, barrier: u64) -> io::Result<()> {
        self.held.take_if(|at| *at <= barrier);
        if self.pinged.take_if(|at| *at <= barrier).is_some() {
            let up = Up { seq: Seq(0), request: Request::Pong };
            self.waiting.push_back(encode(&up).map_err(io::Error::other)?);
        }
        self.flush()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.held.is_none()
            && let Some(octets) = self.waiting.front()
        {
            match self.uplink.send(octets) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
