//! Hosts, each with a point in time: a table that does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use isatapd_proto::UnicastV4;
use isatapd_proto::isatap::UBit;

use crate::Instant;

/// How a host is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The source of its solicitation.
    pub(crate) address: Ipv6Addr,
    /// The form of our link-local address that it knows.
    pub(crate) form: UBit,
}

/// At most `N` hosts, told apart by IPv4 address: one host has many IPv6 addresses. Every operation
/// takes time logarithmic in `N`.
#[derive(Debug, Default)]
pub(crate) struct Timed<const N: usize> {
    hosts: BTreeMap<UnicastV4, (Instant, Client)>,
    order: BTreeSet<(Instant, UnicastV4)>,
}

impl<const N: usize> Timed<N> {
    /// Whether there is no room for another.
    pub(crate) fn is_full(&self) -> bool {
        self.hosts.len() >= N
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Puts `host` at this time, whatever was known of it. If there are too many, the one of the
    /// earliest time is removed.
    pub(crate) fn insert(&mut self, at: Instant, host: UnicastV4, client: Client) {
        if let Some((before, _)) = self.hosts.insert(host, (at, client)) {
            self.order.remove(&(before, host));
        }
        self.order.insert((at, host));
        if self.hosts.len() > N {
            self.pop();
        }
    }

    pub(crate) fn get(&self, host: UnicastV4) -> Option<(Instant, Client)> {
        self.hosts.get(&host).copied()
    }

    /// The earliest time.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Removes the one of the earliest time.
    pub(crate) fn pop(&mut self) -> Option<(UnicastV4, Client)> {
        let (_, host) = self.order.pop_first()?;
        self.hosts.remove(&host).map(|(_, client)| (host, client))
    }

    /// All of them, the latest first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = UnicastV4> {
        self.order.iter().rev().map(|(_, host)| *host)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::since_boot(Duration::from_secs(seconds))
    }

    fn host(number: u8) -> UnicastV4 {
        Ipv4Addr::new(10, 0, 0, number).try_into().unwrap()
    }

    #[test]
    fn the_oldest_goes_and_each_is_there_once() {
        let client = Client { address: Ipv6Addr::LOCALHOST, form: UBit::Local };
        let mut table = Timed::<3>::default();
        for (time, number) in [(1, 1), (2, 2), (3, 3), (4, 1)] {
            table.insert(at(time), host(number), client);
        }
        assert!(table.is_full());
        table.insert(at(5), host(4), client);
        assert_eq!(table.get(host(2)), None);
        assert_eq!(table.get(host(1)), Some((at(4), client)));
        assert_eq!(table.latest().collect::<Vec<_>>(), [host(4), host(1), host(3)]);
        assert_eq!((table.first(), table.len()), (Some(at(3)), 3));
        assert_eq!(table.pop(), Some((host(3), client)));
        assert_eq!(table.order.len(), table.hosts.len());
    }
}
