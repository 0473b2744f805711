//! One lookup: a name through its candidates, name servers, rounds and transports.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use isatapd_proto::{DnsId, HostName, ServerIndex, Transport};

use crate::wire::dns::{self, Reply};
use crate::wire::resolv_conf::ResolvConf;
use crate::{Instant, rng::Rng};

/// The first wait for a reply; it doubles with each round, up to the `timeout` of resolv.conf, and
/// is that in the last round, so that a slow name server is heard.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What a lookup comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The name has addresses.
    Addresses {
        /// The full name.
        name: HostName,
        /// At least one, of any kind.
        addresses: Vec<Ipv4Addr>,
        /// How long they hold.
        ttl: Duration,
    },
    /// It has none.
    Trouble(Trouble),
}

/// Why a lookup found nothing. The first two are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No candidate exists.
    NoSuchName,
    /// A candidate exists, without IPv4 addresses that could be routers'.
    NoAddress,
    /// All name servers failed.
    ServersFail,
    /// A name server did not answer.
    NoAnswer,
    /// resolv.conf has no name server.
    NoServers,
    /// resolv.conf has no domain to complete it with.
    NoDomain,
}

impl Trouble {
    /// Whether only another resolv.conf ends it.
    pub(super) const fn lasts(self) -> bool {
        matches!(self, Self::NoServers | Self::NoDomain)
    }
}

/// The query under way.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) socket: DnsId,
    pub(super) sent: Option<Sent>,
}

/// A query that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) query_id: u16,
    first: Instant,
    /// When it is sent again, as it or its reply may be lost: after 1, 2, 4 ... s.
    again: Instant,
    /// When the wait is over.
    until: Instant,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Lookup {
    since: Instant,
    /// The first one is asked for.
    candidates: VecDeque<HostName>,
    servers: u8,
    attempts: u8,
    longest_wait: Duration,
    /// The name server that comes first (option rotate).
    first: u8,
    round: u8,
    /// Name servers tried in this round.
    tried: u8,
    transport: Transport,
    edns: bool,
    /// `None`: waits for a socket.
    pub(super) query: Option<Query>,
    /// Whether a name server left this candidate unanswered.
    silent: bool,
    /// Whether one was waited for in vain in this round: a datagram may have been lost.
    lost: bool,
    queries: u32,
    /// The worst of the candidates before.
    trouble: Trouble,
}

impl Lookup {
    /// There is at least one candidate and one name server of `servers`, the second number of
    /// which comes first.
    pub(super) fn new(
        since: Instant,
        candidates: VecDeque<HostName>,
        (servers, first): (u8, u8),
        conf: &ResolvConf,
    ) -> Self {
        Self {
            since,
            candidates,
            servers,
            attempts: conf.attempts,
            longest_wait: conf.timeout,
            first,
            round: 0,
            tried: 0,
            transport: Transport::Udp,
            edns: true,
            query: None,
            silent: false,
            lost: false,
            queries: 0,
            trouble: Trouble::NoSuchName,
        }
    }

    /// When it began.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// The full name asked for.
    pub(super) fn candidate(&self) -> Option<&HostName> {
        self.candidates.front()
    }

    /// The name server to ask, and how.
    pub(super) fn server(&self) -> Option<(ServerIndex, Transport)> {
        let index = self.first.saturating_add(self.tried).checked_rem(self.servers)?;
        Some((index.try_into().ok()?, self.transport))
    }

    /// The socket of the query under way.
    pub(super) fn socket(&self) -> Option<DnsId> {
        self.query.as_ref().map(|query| query.socket)
    }

    /// Whether a name server has left it without an answer.
    pub(super) const fn waits(&self) -> bool {
        self.silent
    }

    /// How many queries it has taken so far.
    pub(super) const fn queries(&self) -> u32 {
        self.queries
    }

    /// When the wait for a reply is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.query.as_ref()?.sent.map(|sent| sent.again.min(sent.until))
    }

    /// Waits for this socket.
    pub(super) const fn uses(&mut self, socket: DnsId) {
        self.query = Some(Query { socket, sent: None });
        self.queries = self.queries.saturating_add(1);
    }

    /// The socket is there: the query is sent.
    pub(super) fn asked(&mut self, now: Instant, rng: &mut Rng) {
        let factor = 1_u32.checked_shl(self.round.into()).unwrap_or(u32::MAX);
        let last = self.round.saturating_add(1) >= self.attempts;
        let wait = if last { self.longest_wait } else { FIRST_WAIT.saturating_mul(factor) };
        let until = now.after(wait.min(self.longest_wait));
        // By TCP nothing is lost.
        let again = if self.transport == Transport::Udp { now.after(FIRST_WAIT) } else { until };
        if let Some(query) = &mut self.query {
            query.sent = Some(Sent { query_id: rng.id(), first: now, again, until });
        }
    }

    /// The query that was sent.
    pub(super) fn message(&self) -> Option<Vec<u8>> {
        let sent = self.query.as_ref()?.sent?;
        dns::query(sent.query_id, self.candidate()?, self.edns)
    }

    /// The same once more, unless the wait is over.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<Vec<u8>> {
        let sent = self.query.as_mut()?.sent.as_mut()?;
        if sent.until <= now {
            return None;
        }
        sent.again = now.after(now.since(sent.first));
        self.message()
    }

    /// The name server has replied; what the lookup comes to, if it is over. The socket is the
    /// caller's to close.
    pub(super) fn replied(&mut self, reply: Reply) -> Option<Finding> {
        self.query = None;
        match reply {
            Reply::Addresses { addresses, ttl } => {
                let name = self.candidates.pop_front()?;
                Some(Finding::Addresses { name, addresses, ttl })
            }
            Reply::NoSuchName { .. } => self.next_candidate(Trouble::NoSuchName),
            Reply::NoData { .. } => self.next_candidate(Trouble::NoAddress),
            Reply::FormatError if self.edns => {
                self.edns = false;
                None
            }
            Reply::Truncated if self.transport == Transport::Udp => {
                self.transport = Transport::Tcp;
                None
            }
            Reply::FormatError | Reply::Truncated | Reply::ServerFailure(_) => self.next_server(),
        }
    }

    /// The name server has not answered in time; likewise.
    pub(super) fn unanswered(&mut self) -> Option<Finding> {
        self.lost = true;
        self.unreachable()
    }

    /// The name server cannot be reached; likewise.
    pub(super) fn unreachable(&mut self) -> Option<Finding> {
        self.query = None;
        self.silent = true;
        self.next_server()
    }

    /// The candidate makes no query; likewise.
    pub(super) fn impossible(&mut self) -> Option<Finding> {
        self.query = None;
        self.next_candidate(Trouble::NoSuchName)
    }

    fn next_server(&mut self) -> Option<Finding> {
        self.transport = Transport::Udp;
        self.edns = true;
        self.tried = self.tried.saturating_add(1);
        if self.tried < self.servers {
            return None;
        }
        self.tried = 0;
        self.round = self.round.saturating_add(1);
        // Who has said no says it again.
        if std::mem::take(&mut self.lost) && self.round < self.attempts {
            return None;
        }
        if self.silent {
            // The next candidate might be answered by somebody else's domain.
            return Some(Finding::Trouble(Trouble::NoAnswer));
        }
        self.next_candidate(Trouble::ServersFail)
    }

    fn next_candidate(&mut self, why: Trouble) -> Option<Finding> {
        self.trouble = match (self.trouble, why) {
            (Trouble::ServersFail, _) | (_, Trouble::ServersFail) => Trouble::ServersFail,
            (Trouble::NoAddress, _) => Trouble::NoAddress,
            _ => why,
        };
        self.candidates.pop_front();
        (self.round, self.tried, self.silent, self.lost) = (0, 0, false, false);
        (self.transport, self.edns) = (Transport::Udp, true);
        self.candidates.is_empty().then_some(Finding::Trouble(self.trouble))
    }
}
