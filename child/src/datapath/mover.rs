//! Moves packets, in batches, as they are judged.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use isatapd_datapath::{
    Counter, Counters, Failure, Inbound, Instant, LONGEST, LONGEST_ERROR, Origin, Outbound, Outer,
    Path, Table, Traffic,
};
use isatapd_security::sys::{BATCH, Datagram, receive_datagrams, send_datagrams};
use nix::errno::Errno;
use nix::unistd::{read, write};

use super::mail::Ends;
use super::message::{BEFORE_PACKET, Message};
use super::{errors, say};

/// Octets from one packet's room to the next: more than the longest, and not a power of two, so that
/// the beginnings of packets do not compete for the same lines of the processor's cache.
pub(super) const EACH: usize = LONGEST + 1 + 21 * 64;

/// What judges packets, and counts those that it drops; what counts the others.
pub(super) struct Mover {
    path: Path,
    counters: Arc<Counters>,
    traffic: Arc<Traffic>,
    /// To the control thread.
    channel: Arc<OwnedFd>,
    answer: [u8; LONGEST_ERROR],
}

impl Mover {
    /// Lets nothing pass before there is a table.
    pub(super) fn new(
        counters: Arc<Counters>,
        traffic: Arc<Traffic>,
        channel: Arc<OwnedFd>,
    ) -> Self {
        let path = Path::new(Arc::clone(&counters), Arc::clone(&traffic));
        Self { path, counters, traffic, channel, answer: [0; LONGEST_ERROR] }
    }

    /// Packets go by this table from now on.
    pub(super) fn publish(&mut self, table: Arc<Table>) {
        self.path.publish(table);
    }

    /// From IPv4 to the TUN interface: one batch. What is for the engine goes there.
    pub(super) fn inbound(&mut self, now: Instant, ends: &Ends, room: &mut [u8]) {
        let mut lengths = [0; BATCH];
        let socket = ends.whole;
        let mut got = receive_datagrams(socket, room, EACH, &mut lengths);
        if got.is_err_and(|errno| errno != Errno::EAGAIN) {
            // It told of a packet that was sent.
            self.hear_errors(now, ends, None);
            got = receive_datagrams(socket, room, EACH, &mut lengths);
        }
        let buffers = room.chunks_exact_mut(EACH).zip(lengths).take(got.unwrap_or(0));
        for (buffer, length) in buffers {
            let Some(datagram) = buffer.get_mut(..length) else { continue };
            match self.path.inbound(now, datagram) {
                Inbound::Deliver(packet) => {
                    if let Some(packet) = datagram.get(packet) {
                        self.deliver(ends, packet);
                    }
                }
                Inbound::Cut(mut segments) => {
                    while let Some(packet) = segments.next(datagram).and_then(|at| datagram.get(at))
                    {
                        self.deliver(ends, packet);
                    }
                }
                Inbound::Engine { from, packet } => {
                    // Over the IPv4 header's end.
                    let start = packet.start.saturating_sub(BEFORE_PACKET);
                    let Some(message) = datagram.get_mut(start..packet.end) else { continue };
                    if let Some(place) = message.first_chunk_mut() {
                        *place = Message::before_packet(from);
                    }
                    if say(self.channel.as_fd(), message).is_err() {
                        self.counters.add(Counter::NotHeard, 1);
                    }
                }
                Inbound::Drop(_) => {}
            }
        }
    }

    fn deliver(&self, ends: &Ends, packet: &[u8]) {
        if write(&ends.tun, packet).is_ok() {
            self.count(Counter::Received, Counter::ReceivedOctets, packet.len());
        } else {
            self.counters.add(Counter::NotDelivered, 1);
        }
    }

    /// From the TUN interface to IPv4: one batch.
    pub(super) fn outbound(&mut self, now: Instant, ends: &Ends, room: &mut [u8]) {
        let mut batch = [const { None }; BATCH];
        for (place, buffer) in batch.iter_mut().zip(room.chunks_exact_mut(EACH)) {
            let Ok(length) = read(&ends.tun, buffer) else { break };
            let Some(packet) = buffer.get(..length) else { break };
            match self.path.outbound(now, packet, &mut self.answer) {
                Outbound::Send(outer) => *place = Some((outer, length)),
                Outbound::Answer(length) => self.give_answer(ends, Some(length)),
                Outbound::Drop(_) => {}
            }
        }
        for fragment in [false, true] {
            let mut list = [Datagram::NONE; BATCH];
            let mut count = 0_usize;
            let chosen = batch.iter().zip(room.chunks_exact(EACH)).filter_map(|(place, buffer)| {
                let (outer, length) = (*place).filter(|(outer, _)| outer.fragment == fragment)?;
                Some(datagram(outer, buffer.get(..length)?))
            });
            for (place, datagram) in list.iter_mut().zip(chosen) {
                *place = datagram;
                count = count.saturating_add(1);
            }
            self.send(now, ends, fragment, list.get(..count).unwrap_or_default());
        }
        let went = self.path.take_went();
        if went != 0 && say(self.channel.as_fd(), &Message::Traffic(went).octets()).is_err() {
            // Too much waits: the next packet tells it.
            self.traffic.watch_again(went);
        }
    }

    /// Sends a packet of the engine's.
    pub(super) fn own(&mut self, now: Instant, ends: Option<&Ends>, to: Ipv4Addr, packet: &[u8]) {
        let Some(ends) = ends else { return self.counters.add(Counter::NotSent, 1) };
        match self.path.own(to, packet) {
            Outbound::Send(outer) => {
                self.send(now, ends, outer.fragment, &[datagram(outer, packet)]);
            }
            Outbound::Answer(_) | Outbound::Drop(_) => {}
        }
    }

    fn send(&mut self, now: Instant, ends: &Ends, fragment: bool, mut list: &[Datagram<'_>]) {
        let socket = if fragment { ends.fragmenting } else { ends.whole };
        let mut again = false;
        while let Some((first, others)) = list.split_first() {
            let errno = match send_datagrams(socket, list) {
                Ok(sent) => {
                    let (sent, left) = list.split_at_checked(sent).unwrap_or((list, &[]));
                    let octets = sent.iter().map(|datagram| datagram.octets.len()).sum();
                    self.count_many(sent.len(), octets);
                    (list, again) = (left, false);
                    continue;
                }
                Err(errno) => errno,
            };
            let too_long = errno == Errno::EMSGSIZE;
            let told = (too_long && !fragment).then_some(first.octets);
            let of_first = matches!(errno, Errno::EAGAIN | Errno::ENOBUFS)
                || self.hear_errors(now, ends, told);
            if !of_first && !again {
                // It may be of a packet sent before.
                again = true;
                continue;
            }
            self.counters.add(if too_long { Counter::TooBig } else { Counter::NotSent }, 1);
            if !of_first && !too_long {
                let (to, origin, quoted) = (first.to, Origin::Local, first.octets);
                self.failed(now, ends, &Failure { to, origin, quoted });
            }
            (list, again) = (others, false);
        }
    }

    /// Takes in what became of packets. Whether that tells of `sent`, which was just refused.
    pub(super) fn hear_errors(&mut self, now: Instant, ends: &Ends, sent: Option<&[u8]>) -> bool {
        errors::drain(ends.whole, sent, |failure| self.failed(now, ends, failure))
    }

    fn failed(&mut self, now: Instant, ends: &Ends, failure: &Failure<'_>) {
        let consequence = self.path.failed(now, failure, &mut self.answer);
        self.give_answer(ends, consequence.answer);
        if let Some(router) = consequence.suspect {
            // Lost where too much waits: it is a hint.
            let _ = say(self.channel.as_fd(), &Message::Suspect(router).octets());
        }
    }

    fn give_answer(&self, ends: &Ends, length: Option<usize>) {
        if let Some(answer) = length.and_then(|length| self.answer.get(..length))
            && write(&ends.tun, answer).is_err()
        {
            self.counters.add(Counter::NotDelivered, 1);
        }
    }

    fn count(&self, packets: Counter, octets: Counter, length: usize) {
        self.counters.add(packets, 1);
        self.counters.add(octets, u64::try_from(length).unwrap_or_default());
    }

    fn count_many(&self, packets: usize, octets: usize) {
        self.counters.add(Counter::Sent, u64::try_from(packets).unwrap_or_default());
        self.counters.add(Counter::SentOctets, u64::try_from(octets).unwrap_or_default());
    }
}

fn datagram(outer: Outer, octets: &[u8]) -> Datagram<'_> {
    Datagram { to: outer.to, tos: outer.tos, ttl: outer.ttl, octets }
}
