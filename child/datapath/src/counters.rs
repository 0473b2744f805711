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
    /// The TUN interface did not take a packet: it is down.
    NotDelivered = "not taken by the interface",
    /// IPv4 did not take a packet: no route, no room.
    NotSent = "not taken by IPv4",
    /// More solicitations and advertisements than the engine can hear.
    NotHeard = "solicitations and advertisements beyond what can be heard",
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
