//! What became of packets, counted. Shared with the thread that shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the counters, their names and their number.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// For people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Packets written to the TUN interface.
    Received = "packets received",
    /// Octets of them.
    ReceivedOctets = "octets received",
    /// Packets sent by IPv4.
    Sent = "packets sent",
    /// Octets of them, without the IPv4 header.
    SentOctets = "octets sent",
    /// ICMPv6 errors that were made.
    Told = "errors told to the sender",

    /// There is no locator.
    NoLocator = "dropped: the tunnel has no IPv4 address yet",
    /// Shorter than an IPv4 and an IPv6 header, or than the IPv4 header says; not protocol 41.
    OuterMalformed = "dropped: not a whole packet of IPv4 protocol 41",
    /// IPv4 options.
    OuterOptions = "dropped: with IPv4 options",
    /// The kernel reassembles, so what is still a fragment is forged.
    OuterFragment = "dropped: a fragment of an IPv4 packet",
    /// To another address than the locator.
    OuterDestination = "dropped: not to our IPv4 address",
    /// From 0/8, 127/8, 224/4 or 240/4.
    OuterSource = "dropped: from an IPv4 address that no host has",
    /// From an IPv4 address of this host.
    OuterOwn = "dropped: from an IPv4 address of our own",
    /// From a broadcast address of a network of ours.
    OuterBroadcast = "dropped: from an IPv4 broadcast address",
    /// Not IPv6.
    InnerVersion = "dropped: not IPv6 inside",
    /// The IPv6 header says more than arrived.
    InnerLength = "dropped: IPv6 packet cut off",
    /// RFC 2675.
    InnerJumbo = "dropped: jumbogram",
    /// RFC 4213 section 3.6.
    InnerSource = "dropped: from an IPv6 address that no packet may come from",
    /// From an IPv6 address of ours.
    InnerOwn = "dropped: from an IPv6 address of our own",
    /// An ISATAP address of the link, but of another node (RFC 5214 section 7.3).
    SourceMismatch = "dropped: source does not embed the outer source",
    /// Neither from a neighbour nor by a router.
    SourceForeign = "dropped: source is not of this link, and the sender is no router of the list",
    /// For somebody else (a host), or for nobody (a router).
    InnerDestination = "dropped: destination is not ours",
    /// RFC 4291 section 2.5.6.
    LinkLocalTransit = "dropped: link-local packet for somebody else",
    /// RFC 6324.
    LoopIn = "dropped: would go round through another tunnel or router",
    /// RFC 6040 section 4.2.
    Congestion = "dropped: congestion marked, but the sender does not know of that",
    /// RFC 6980, or to hide it from us.
    HiddenDiscovery = "dropped: neighbour discovery behind an extension header",
    /// What stands behind them cannot be seen.
    Extensions = "dropped: extension headers cut off or too many",
    /// Redirects are not used.
    Redirect = "dropped: redirect",
    /// Only a router answers them.
    Solicitation = "dropped: router solicitation to a host",
    /// RFC 5214 section 8.3.3.
    Advertisement = "dropped: router advertisement not by a router of the list",

    /// Not IPv6, or of another length than it says.
    NotIpv6 = "not sent: not a whole IPv6 packet",
    /// An address that no packet on the tunnel may have.
    BadAddress = "not sent: with an address that no packet may have",
    /// The tunnel has none (RFC 5214 section 6.3).
    Multicast = "not sent: multicast",
    /// What the daemon does itself, or what the tunnel has no use for.
    KernelDiscovery = "not sent: router discovery or listener report of the kernel",
    /// RFC 4291 section 2.5.6.
    Scope = "not sent: from a link-local address to beyond the link",
    /// No route.
    NoRoute = "not sent: no route",
    /// On the link, but no ISATAP address with an IPv4 address of a host; or it cannot be reached.
    NoNeighbour = "not sent: neighbour unreachable",
    /// The next hop is this host.
    ToOurselves = "not sent: to ourselves",
    /// A router's: the next hop is where it came from.
    BackToSender = "not sent: back to where it came from",
    /// RFC 6324.
    LoopOut = "not sent: goes round through another tunnel or router",
    /// Longer than the way allows.
    TooBig = "not sent: longer than the path MTU",
    /// The TUN interface did not take a packet: it is down.
    NotDelivered = "dropped: not taken by the interface",
    /// IPv4 did not take a packet: no route, no room.
    NotSent = "not sent: not taken by IPv4",
    /// More solicitations and advertisements than the engine can hear.
    NotHeard = "dropped: more router discovery than can be heard",
    /// The budget for errors is spent.
    ErrorsRefused = "errors not told: too many",
}

impl Counter {
    /// Whether it counts packets that went nowhere.
    pub const fn is_drop(self) -> bool {
        use Counter::{ErrorsRefused, Received, ReceivedOctets, Sent, SentOctets, Told};
        !matches!(self, Received | ReceivedOctets | Sent | SentOctets | Told | ErrorsRefused)
    }
}

/// All counts, from the start of the process.
#[derive(Debug)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Counter::ALL.len()])
    }
}

impl Counters {
    /// So many more.
    pub fn add(&self, counter: Counter, more: u64) {
        if let Some(count) = self.0.get(counter as usize) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The present count.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_have_the_same_text() {
        let texts: BTreeSet<_> = Counter::ALL.iter().map(|counter| counter.text()).collect();
        assert_eq!(texts.len(), Counter::ALL.len());
        for counter in Counter::ALL {
            let said =
                ["dropped: ", "not sent: "].iter().any(|what| counter.text().starts_with(what));
            assert_eq!(counter.is_drop(), said, "{counter:?}");
        }
    }

    #[test]
    fn each_has_its_own_place() {
        let counters = Counters::default();
        for (place, counter) in (1..).zip(Counter::ALL) {
            counters.add(*counter, place);
        }
        for (place, counter) in (1..).zip(Counter::ALL) {
            assert_eq!(counters.get(*counter), place);
        }
    }
}
