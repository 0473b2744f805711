//! What is counted instead of being logged each time.

/// Defines the counters, their texts and their number.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// For the log.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// A20, and RFC 4861 section 6.1.2 holds.
    Accepted = "advertisements accepted",
    /// Accepted, but not asked for.
    Unsolicited = "advertisements not asked for",
    Confirmed = "routers confirmed by a neighbour advertisement",
    Probes = "neighbour solicitations sent",
    NoRouter = "advertisements dropped: sender not in the list",
    HopLimit = "advertisements dropped: hop limit not 255",
    Source = "advertisements dropped: source not the router's link-local address",
    Destination = "advertisements dropped: destination not ours",
    Header = "packets from the tunnel dropped: no ICMPv6 in IPv6",
    Checksum = "packets from the tunnel dropped: wrong checksum",
    Excess = "advertisements dropped: too many in a second",
    Malformed = "advertisements dropped: malformed",
    OptionMalformed = "options skipped: malformed",
    OptionExcess = "options skipped: too many",
    PrefixRefused = "prefixes refused",
    RouteRefused = "routes refused",
    HopLimitRefused = "hop limits below 32 ignored",
    MtuRefused = "MTUs below 1280 or above the tunnel's ignored",
    NoRoom = "prefixes, routes or DNS entries beyond what is kept",
    Solicitations = "solicitations sent",
    SolicitationsFailed = "solicitations not sent",
    AdvertsSent = "advertisements sent",
    SolicitNoRouter = "hosts' solicitations dropped: not a router, or no tunnel",
    SolicitMalformed = "hosts' solicitations dropped: malformed",
    SolicitHopLimit = "hosts' solicitations dropped: hop limit not 255",
    SolicitSource = "hosts' solicitations dropped: source not an address of the sender on the link",
    SolicitDestination = "hosts' solicitations dropped: destination not ours",
    SolicitWaits = "hosts' solicitations dropped: the host waits for an answer already",
    SolicitExcess = "hosts' solicitations dropped: too many hosts wait for an answer",
    Queries = "DNS queries sent",
    RepliesMalformed = "DNS replies that are no answer",
    QueriesUnanswered = "DNS queries without answer",
    ServersFailed = "DNS servers that failed",
    NotARouter = "addresses in the DNS or hosts that no router can have",
    RequestsRefused = "requests to the parent refused or failed",
    LinesLeftOut = "log lines left out",
}

/// All counts.
#[derive(Clone, Debug)]
pub(crate) struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// One more.
    pub(crate) fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// So many more.
    pub(crate) fn add(&mut self, counter: Counter, more: usize) {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        if let Some(count) = self.0.get_mut(counter as usize) {
            *count = count.saturating_add(more);
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::ALL.iter().copied().zip(self.0)
    }
}
