//! Which routers packets come from and go to.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use isatapd_datapath::{Inbound, Instant, Outbound, Path, Role, Traffic};
    use isatapd_proto::MtuMethod;

    use super::common::checks::tunnel::{LOCATOR, OURS, ROUTER, ipv4, ipv6, table, v4, v6};

    fn at(secs: u64) -> Instant {
        Instant::since_boot(Duration::from_secs(secs))
    }

    fn path() -> (Path, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        let mut path = Path::new(Arc::default(), Arc::clone(&traffic));
        path.publish(table(Role::Host, MtuMethod::Dynamic).into());
        (path, traffic)
    }

    /// Whether the packet was sent, and of which watched routers that tells.
    fn send(path: &mut Path, to: &str) -> (bool, u64) {
        let verdict = path.outbound(at(1), &ipv6(OURS, v6(to), 59, &[]), &mut [0; 1280]);
        (matches!(verdict, Outbound::Send(_)), path.take_went())
    }

    #[test]
    fn the_next_packet_to_a_router_is_told_of_once() {
        let (mut path, traffic) = path();
        assert_eq!(send(&mut path, "2001:db8:9::1"), (true, 0), "nobody asked");
        traffic.watch(0b11);
        for (to, told) in [
            // Neighbours, the router itself too: no packet goes by it.
            ("2001:db8:1:1:0:5efe:c000:20a", 0),
            ("fe80::5efe:c000:20a", 0),
            ("2001:db8:5::1", 0b10),
            ("2001:db8:5::1", 0),
            ("2001:db8:9::1", 0b01),
            ("2001:db8:9::1", 0),
        ] {
            assert_eq!(send(&mut path, to), (true, told), "{to}");
        }
        // What is not sent goes to nobody.
        traffic.watch(u64::MAX);
        let long = ipv6(OURS, v6("2001:db8:9::1"), 59, &[0; 2000]);
        let verdict = path.outbound(at(1), &long, &mut [0; 1280]);
        assert!(matches!(verdict, Outbound::Answer(_)), "{verdict:?}");
        assert_eq!(path.take_went(), 0);
        // What the engine itself sends is no traffic.
        let own = ipv6(v6("fe80::5efe:c000:201"), v6("fe80::5efe:c000:20a"), 58, &[135; 24]);
        assert!(matches!(path.own(ROUTER, &own), Outbound::Send(_)));
        assert_eq!(path.take_went(), 0);
    }

    #[test]
    fn what_passes_tells_that_its_router_is_there() {
        let (mut path, traffic) = path();
        let mut hear = |secs, from: Ipv4Addr, source: &str| {
            let mut packet = ipv4(from, LOCATOR, &ipv6(v6(source), OURS, 59, &[]));
            let delivered = matches!(path.inbound(at(secs), &mut packet), Inbound::Deliver(_));
            let heard = traffic.last_heard().map(|(slot, at)| (slot.get(), at));
            (delivered, heard.collect::<Vec<_>>())
        };
        let other = v4("192.0.2.11");
        assert_eq!(hear(5, ROUTER, "2001:db8:9::1"), (true, vec![(0, at(5))]));
        assert_eq!(hear(6, other, "2001:db8:9::1"), (true, vec![(0, at(5)), (1, at(6))]));
        // What is dropped does not, nor what comes of others.
        assert_eq!(hear(7, ROUTER, "fe80::5efe:c000:20b").1, [(0, at(5)), (1, at(6))]);
        let neighbour = (v4("192.0.2.77"), "2001:db8:1:1:0:5efe:c000:24d");
        assert_eq!(hear(8, neighbour.0, neighbour.1), (true, vec![(0, at(5)), (1, at(6))]));
        assert_eq!(hear(9, ROUTER, "2001:db8:9::1").1, [(0, at(9)), (1, at(6))]);
    }
}
