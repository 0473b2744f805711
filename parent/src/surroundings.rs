//! What the data path goes by that is not of our making: told to the child when it changes.

use isatapd_proto::isatap;
use isatapd_proto::{Bounded, Event, ForeignRoute, MAX_FOREIGN, Surroundings, UnicastV4};
use log::warn;

use crate::kernel::{AnyRoute, KernelError, Netlink};
use crate::run::Daemon;
use crate::tunnel::Tunnel;

impl Daemon<'_> {
    /// Looks, and tells if it is not what the child knows. Of a TUN interface only.
    pub(crate) fn follow_surroundings(&mut self) -> Result<(), KernelError> {
        let Some(tunnel) = self.tunnel.as_ref().filter(|tunnel| tunnel.is_tun()) else {
            return Ok(());
        };
        let (found, counts) = surroundings(tunnel, &mut self.with.netlink)?;
        if let Some((what, count)) = too_many(counts)
            && !std::mem::replace(&mut self.said.too_many, true)
        {
            let name = tunnel.name();
            warn!("{name}: {count} {what}: its checks know only the first {MAX_FOREIGN}");
        }
        if self.surroundings.as_ref() != Some(&found) {
            self.tell(&Event::Surroundings(found.clone()), Vec::new());
            self.surroundings = Some(found);
        }
        Ok(())
    }
}

/// How many there are of each kind.
type Counts = [(&'static str, usize); 4];

fn too_many(counts: Counts) -> Option<(&'static str, usize)> {
    counts.into_iter().find(|(_, count)| *count > MAX_FOREIGN)
}

fn surroundings(
    tunnel: &Tunnel,
    netlink: &mut Netlink,
) -> Result<(Surroundings, Counts), KernelError> {
    let host = netlink.own_addresses()?;
    let locator = tunnel.spec().local.get();
    let others = host.iter().map(|own| own.address).filter(|address| *address != locator);
    let own: Vec<_> = [locator].into_iter().chain(others).collect();
    let mut broadcasts: Vec<_> = host.iter().filter_map(|own| own.broadcast).collect();
    broadcasts.sort_unstable();
    broadcasts.dedup();
    let mut addresses = tunnel.foreign_addresses(netlink)?;
    addresses.sort_unstable();
    let routes = best(tunnel.foreign_routes(netlink)?, tunnel.least_metric());
    let counts = [
        ("IPv4 addresses of the host", own.len()),
        ("IPv4 broadcast addresses of the host", broadcasts.len()),
        ("addresses of others on it", addresses.len()),
        ("routes of others through it", routes.len()),
    ];
    let found = Surroundings {
        own: Bounded::first_of(own),
        broadcasts: Bounded::first_of(broadcasts),
        addresses: Bounded::first_of(addresses),
        routes: Bounded::first_of(routes),
    };
    Ok((found, counts))
}

/// In order; of those to the same destination only the kernel's choice. `least`: metric of ours.
fn best(mut routes: Vec<AnyRoute>, least: u32) -> Vec<ForeignRoute> {
    routes.sort_unstable_by_key(|route| (route.destination, route.metric, route.gateway));
    let mut routes: Vec<_> = routes.into_iter().filter_map(|r| foreign(r, least)).collect();
    routes.dedup_by_key(|route| route.destination);
    routes
}

/// `None`: its gateway is no ISATAP address, so nothing can be sent there (RFC 5214 section 7.1).
fn foreign(route: AnyRoute, least: u32) -> Option<ForeignRoute> {
    let next_hop = match route.gateway.map(isatap::embedded) {
        None => None,
        Some(embedded) => Some(UnicastV4::try_from(embedded?.0).ok()?),
    };
    let behind = route.metric >= least;
    Some(ForeignRoute { destination: route.destination, next_hop, behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_isatap_gateways_are_next_hops() {
        let destination = "2001:db8::/32".parse().unwrap();
        for (gateway, expected) in [
            (None, Some(None)),
            (Some("fe80::5efe:a00:65"), Some(Some("10.0.0.101"))),
            (Some("2001:db8::200:5efe:a00:65"), Some(Some("10.0.0.101"))),
            (Some("fe80::1"), None),
            (Some("fe80::5efe:7f00:1"), None),
        ] {
            let gateway = gateway.map(|text| text.parse().unwrap());
            let found = foreign(AnyRoute { destination, gateway, metric: 1024 }, 2048);
            let hop = found.map(|f| f.next_hop.map(|hop| hop.get().to_string()));
            assert_eq!(hop, expected.map(|hop| hop.map(str::to_owned)), "{gateway:?}");
        }
    }

    #[test]
    fn the_least_metric_is_the_kernels_choice() {
        let route = |net: &str, router: &str, metric| AnyRoute {
            destination: net.parse().unwrap(),
            gateway: Some(format!("fe80::5efe:{router}").parse().unwrap()),
            metric,
        };
        let all = vec![
            route("::/0", "10.0.0.9", 4096),
            route("2001:db8::/32", "10.0.0.1", 2048),
            route("2001:db8::/32", "10.0.0.2", 2047),
            route("2001:db8::/32", "10.0.0.3", 3000),
        ];
        // Ours may have others than the first.
        for (least, behind) in [(2048, true), (4096, true), (4608, false)] {
            let told = best(all.clone(), least)
                .into_iter()
                .map(|r| (r.destination.to_string(), r.next_hop.unwrap().to_string(), r.behind));
            let expected = [("::/0", "10.0.0.9", behind), ("2001:db8::/32", "10.0.0.2", false)];
            assert!(told.eq(expected.map(|(net, hop, behind)| (net.into(), hop.into(), behind))));
        }
    }
}
