//! What a former child wished for stays for a while when another has begun to wish: of several routers
//! one answers first, and what the others gave is not to go and come again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use isatapd_proto::{MAX_ADDRESSES, MAX_ROUTES, isatap};

use super::{Key, Tunnel, key};
use crate::kernel::{KernelError, Netlink, Origin};

/// From the first wish of a child on: by then a router that is there has answered (RFC 4861 section
/// 6.3.7, MAX_RTR_SOLICITATIONS times RTR_SOLICITATION_INTERVAL).
const GRACE: Duration = Duration::from_secs(12);

/// What is on the tunnel and the present child has not wished for yet.
#[derive(Default)]
pub(super) struct Inherited {
    addresses: BTreeSet<Ipv6Addr>,
    routes: BTreeSet<Key>,
    until: Option<Instant>,
}

impl Inherited {
    pub(super) fn has_address(&self, address: &Ipv6Addr) -> bool {
        self.addresses.contains(address)
    }

    pub(super) fn has_route(&self, route: &Key) -> bool {
        self.routes.contains(route)
    }

    /// The child wishes for these.
    pub(super) fn claim_addresses<'a>(
        &mut self,
        wanted: impl ExactSizeIterator<Item = &'a Ipv6Addr>,
    ) {
        claim(&mut self.addresses, wanted, MAX_ADDRESSES);
        self.begin();
    }

    /// The child wishes for these.
    pub(super) fn claim_routes<'a>(&mut self, wanted: impl ExactSizeIterator<Item = &'a Key>) {
        claim(&mut self.routes, wanted, MAX_ROUTES);
        self.begin();
    }

    /// The child has begun to wish.
    pub(super) fn begin(&mut self) {
        let is_empty = self.addresses.is_empty() && self.routes.is_empty();
        let until = self.until.or_else(|| Instant::now().checked_add(GRACE));
        self.until = until.filter(|_| !is_empty);
    }
}

/// There is never more of both together than one child may have.
fn claim<'a, T: Ord + 'a>(
    inherited: &mut BTreeSet<T>,
    wanted: impl ExactSizeIterator<Item = &'a T>,
    most: usize,
) {
    let count = wanted.len();
    for it in wanted {
        inherited.remove(it);
    }
    if inherited.len().saturating_add(count) > most {
        inherited.clear();
    }
}

impl Tunnel {
    /// Another child comes: all that is there is inherited.
    pub fn hand_down(&mut self) {
        let addresses = self.addresses.values().filter(|a| a.origin != Origin::LinkLocal);
        self.inherited = Inherited {
            addresses: addresses.map(|a| a.address).collect(),
            routes: self.routes.keys().copied().collect(),
            until: None,
        };
    }

    /// The routers of inherited routes stay as long as these do.
    pub(super) fn inherited_routers(&self) -> impl Iterator<Item = Ipv4Addr> {
        let routes = self.routes.iter().filter(|(key, _)| self.inherited.has_route(key));
        routes.filter_map(|(_, route)| Some(isatap::embedded(route.gateway?)?.0))
    }

    /// When what the child has not wished for is to go.
    pub const fn inherited_until(&self) -> Option<Instant> {
        self.inherited.until
    }

    /// Removes it.
    pub fn drop_inherited(&mut self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let Inherited { addresses, routes, .. } = std::mem::take(&mut self.inherited);
        let gone = self.keep_routes(netlink, |route| !routes.contains(&key(route)));
        gone.and(self.keep_addresses(netlink, |a| !addresses.contains(&a.address)))
    }
}
