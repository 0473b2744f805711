//! What is done with what the kernel writes to the TUN interface.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isatapd_datapath::{Counter, Outbound, Outer, Path, Role, Route, Source, Table};
    use isatapd_proto::{MtuMethod, Preference};

    use super::common::checks::tunnel::{LOCATOR, OURS, ROUTER, ipv6, route, table, v4, v6};
    use super::common::{FAR, Tunnel, at, sent_to, udp};

    #[test]
    fn next_hops() {
        let own = "2001:db8:1:1:0:5efe:c000:201";
        let ll = "fe80::5efe:c000:201";
        let (unreachable, scope) = (Err((1, 3)), Err((1, 2)));
        for (source, destination, expected) in [
            (own, FAR, Ok("192.0.2.10")),
            (own, "2001:db8:5::1", Ok("192.0.2.11")),
            (own, "2001:db8:1:1:0:5efe:c000:24d", Ok("192.0.2.77")),
            (own, "2001:db8:1:1:200:5efe:808:809", Ok("8.8.8.9")),
            (ll, "fe80::5efe:c000:24d", Ok("192.0.2.77")),
            (ll, "fe80::200:5efe:c000:24d", Ok("192.0.2.77")),
            (ll, "2001:db8:1:1:0:5efe:c000:24d", Ok("192.0.2.77")),
            // An ISATAP address of another link is none of ours.
            (own, "2001:db8:2:1:0:5efe:c000:24d", Ok("192.0.2.10")),
            (own, "2001:db8:1:1::5", unreachable),
            (own, "2001:db8:1:1:100:5efe:c000:24d", unreachable),
            (own, "2001:db8:1:1:0:5efe:c000:2ff", unreachable),
            (own, "2001:db8:1:1:0:5efe:c000:201", unreachable),
            (own, "2001:db8:1:1:200:5efe:a09:909", unreachable),
            (own, "2001:db8:1:1:0:5efe:7f00:1", unreachable),
            (own, "2001:db8:1:1:0:5efe:0:1", unreachable),
            (own, "2001:db8:1:1:0:5efe:e000:1", unreachable),
            (own, "2001:db8:1:1:0:5efe:f000:1", unreachable),
            (own, "2001:db8:1:1:0:5efe:ffff:ffff", unreachable),
            (ll, "fe80::1", unreachable),
            (ll, "fe80:0:0:1:0:5efe:c000:24d", unreachable),
            (ll, FAR, scope),
            ("::", FAR, Ok("not sent: with an address that no packet may have")),
            ("::1", FAR, Ok("not sent: with an address that no packet may have")),
            ("ff02::1", FAR, Ok("not sent: with an address that no packet may have")),
            (own, "::1", Ok("not sent: with an address that no packet may have")),
            (own, "::ffff:8.8.8.8", Ok("not sent: with an address that no packet may have")),
            (own, "ff02::1", Ok("not sent: multicast")),
            (own, "ff0e::1", Ok("not sent: multicast")),
        ] {
            for role in [Role::Host, Role::Router] {
                let mut tunnel = Tunnel::new(role, MtuMethod::Static);
                let packet = udp(source, destination, 8);
                match expected {
                    Ok(to) => assert_eq!(sent_to(tunnel.send(0, &packet)), to, "{destination}"),
                    Err((kind, code)) => {
                        assert_eq!(tunnel.refuse(0, &packet), (kind, code, 0), "{destination}");
                    }
                }
            }
        }
        let mut empty =
            Tunnel::by(Table { routes: vec![], ..table(Role::Host, MtuMethod::Static) });
        assert_eq!(empty.refuse(0, &udp(own, FAR, 8)), (1, 0, 0));
        assert_eq!(empty.counters.get(Counter::NoRoute), 1);
    }

    /// Which of the routes is taken: each is destination, slot, preference, reachable.
    #[test]
    fn choice_of_a_router() {
        use Preference::{High, Low, Medium};
        const ALL: &str = "::/0";
        const SOME: &str = "2001:db8:9::/48";
        for (routes, advertisers, expected) in [
            (&[(ALL, Some(0), Medium, true), (ALL, Some(1), Medium, true)][..], 0b11, 0),
            (&[(ALL, Some(0), Low, true), (ALL, Some(1), Medium, true)], 0b11, 1),
            (&[(ALL, Some(0), Medium, true), (ALL, Some(1), High, true)], 0b11, 1),
            // Longer before preferred.
            (&[(SOME, Some(0), Low, true), (ALL, Some(1), High, true)], 0b11, 0),
            // Reachable before longer (RFC 4191 section 3.2), unless none is.
            (&[(SOME, Some(0), High, false), (ALL, Some(1), Low, true)], 0b11, 1),
            (&[(SOME, Some(0), Low, false), (ALL, Some(1), High, false)], 0b11, 0),
            (&[(ALL, Some(0), High, false), (ALL, Some(1), Low, true)], 0b11, 1),
            // Who advertised the prefix of the source before preferred, but not before longer.
            (&[(ALL, Some(0), High, true), (ALL, Some(1), Low, true)], 0b10, 1),
            (&[(SOME, Some(0), Low, true), (ALL, Some(1), High, true)], 0b10, 0),
            (&[(ALL, Some(0), Low, true), (ALL, Some(1), Low, false)], 0b10, 0),
            (&[(ALL, Some(0), Low, true), (ALL, Some(1), Low, true)], 0b100, 0),
            (&[(ALL, Some(63), Low, true), (ALL, Some(1), High, true)], 1 << 63, 0),
            // The administrator's goes for any source.
            (&[(ALL, None, Medium, true), (ALL, Some(1), Medium, true)], 0b10, 0),
            (&[("2001:db8:8::/48", Some(0), High, true), (ALL, Some(1), Low, true)], 0b1, 1),
        ] {
            let hops = ["192.0.2.10", "192.0.2.11"];
            let routes =
                routes.iter().zip(hops).map(|(&(to, slot, preference, reachable), hop)| {
                    let route = route(to, hop, slot.unwrap_or(0), preference);
                    let slot = slot.and(route.slot);
                    Route { slot, reachable, ..route }
                });
            let routes: Vec<_> = routes.collect();
            let prefix = v6("2001:db8:1:1::").try_into().unwrap();
            let sources = vec![Source { prefix, advertisers }];
            let table =
                Table { routes: routes.clone(), sources, ..table(Role::Host, MtuMethod::Static) };
            let verdict = Tunnel::by(table).send(0, &ipv6(OURS, v6(FAR), 17, &[0; 8]));
            assert_eq!(sent_to(verdict), hops[expected], "{routes:?} {advertisers:b}");
        }
    }

    #[test]
    fn routes_without_a_router_and_to_ourselves() {
        let direct = |destination: &str| {
            let way = route("2001:db8:2:1::/64", "192.0.2.10", 0, Preference::Medium);
            let routes = vec![Route { next_hop: None, ..way }];
            let mut tunnel = Tunnel::by(Table { routes, ..table(Role::Host, MtuMethod::Static) });
            sent_to(tunnel.send(0, &ipv6(OURS, v6(destination), 17, &[0; 8])))
        };
        assert_eq!(direct("2001:db8:2:1:0:5efe:c000:24d"), "192.0.2.77");
        assert_eq!(direct("2001:db8:2:1::1"), "answered");

        for hop in ["192.0.2.1", "10.9.9.9"] {
            let routes = vec![route("::/0", hop, 0, Preference::Medium)];
            let mut tunnel = Tunnel::by(Table { routes, ..table(Role::Host, MtuMethod::Static) });
            let verdict = tunnel.send(0, &ipv6(OURS, v6(FAR), 17, &[0; 8]));
            assert_eq!(verdict, Outbound::Drop(Counter::ToOurselves));
        }
    }

    #[test]
    fn a_router_sends_nothing_back() {
        let back = Outbound::Drop(Counter::BackToSender);
        for (source, destination, is_back) in [
            ("2001:db8:1:1:0:5efe:c000:24d", "2001:db8:1:1:200:5efe:c000:24d", true),
            ("2001:db8:1:1:200:5efe:c000:20a", FAR, true),
            ("2001:db8:1:1:0:5efe:c000:24d", "2001:db8:1:1:0:5efe:c000:24e", false),
            ("2001:db8:2:1:0:5efe:c000:20a", FAR, false),
            ("2001:db8:1:1:0:5efe:c000:201", FAR, false),
        ] {
            let packet = udp(source, destination, 8);
            let verdict = Tunnel::new(Role::Router, MtuMethod::Static).send(0, &packet);
            assert_eq!(verdict == back, is_back, "{source} {destination}");
            let verdict = Tunnel::new(Role::Host, MtuMethod::Static).send(0, &packet);
            assert!(matches!(verdict, Outbound::Send(_)));
        }
    }

    /// RFC 6324: from another tunnel whose end we are, and to another router; but not of our own.
    #[test]
    fn a_router_sends_nothing_round() {
        let round = Outbound::Drop(Counter::LoopOut);
        let (near, router) = ("2001:db8:1:1:0:5efe:c000:24d", "2001:db8:1:1:0:5efe:c000:20b");
        for (source, destination, is_round) in [
            ("2002:c000:201::1", near, true),
            ("2001:db8:2:1:200:5efe:c000:201", near, true),
            ("2002:a09:909::1", near, false),
            ("2002:c000:202::1", near, false),
            ("2001:db8:2:1:0:5efe:c000:24e", near, false),
            (FAR, router, true),
            ("2001:db8:1:1:0:5efe:c000:24d", router, true),
            ("2001:db8:1:1:0:5efe:c000:201", router, false),
            ("fe80::5efe:c000:24d", "fe80::5efe:c000:20b", false),
            (FAR, near, false),
            (FAR, "2001:db8:5::1", false),
        ] {
            let packet = udp(source, destination, 8);
            let verdict = Tunnel::new(Role::Router, MtuMethod::Static).send(0, &packet);
            assert_eq!(verdict == round, is_round, "{source} {destination}");
            let verdict = Tunnel::new(Role::Host, MtuMethod::Static).send(0, &packet);
            assert!(verdict != round, "{source} {destination}");
        }
    }

    #[test]
    fn the_kernels_own_noise_is_not_sent() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Static);
        let (ll, neighbour) = (v6("fe80::5efe:c000:201"), v6("fe80::5efe:c000:24d"));
        let report = [58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0];
        let noise = Outbound::Drop(Counter::KernelDiscovery);
        for kind in 128..=143 {
            let verdict = tunnel.send(0, &ipv6(ll, neighbour, 58, &[kind, 0, 0, 0, 0, 0, 0, 0]));
            let is_noise = [130, 131, 132, 133, 134, 137, 143].contains(&kind);
            assert_eq!(verdict == noise, is_noise, "{kind}");
        }
        assert_eq!(tunnel.send(0, &ipv6(ll, neighbour, 0, &report)), noise);
        let verdict = tunnel.send(0, &ipv6(ll, v6("ff02::16"), 0, &report));
        assert_eq!(verdict, Outbound::Drop(Counter::Multicast));
        let whole = udp("2001:db8:1:1:0:5efe:c000:201", FAR, 8);
        for end in 0..whole.len() {
            assert_eq!(tunnel.send(0, &whole[..end]), Outbound::Drop(Counter::NotIpv6));
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(tunnel.send(0, &longer), Outbound::Drop(Counter::NotIpv6));
        let without = Path::new(Arc::default(), Arc::default()).outbound(at(0), &whole, &mut []);
        assert_eq!(without, Outbound::Drop(Counter::NoLocator));
    }

    #[test]
    fn the_outer_header() {
        for (inherit_ttl, hop_limit, ttl) in
            [(false, 3, None), (true, 3, Some(3)), (true, 255, Some(255)), (true, 0, Some(1))]
        {
            for ecn in 0..4 {
                let host = table(Role::Host, MtuMethod::Dynamic);
                let mut tunnel = Tunnel::by(Table { inherit_ttl, ..host });
                let mut packet = ipv6(OURS, v6(FAR), 17, &[0; 8]);
                packet[0] = 0x6f;
                packet[1] = 0xcf | ecn << 4;
                packet[7] = hop_limit;
                let outer = Outer { to: ROUTER, tos: ecn, ttl, fragment: false };
                assert_eq!(tunnel.send(0, &packet), Outbound::Send(outer));
                let outer = Outer { fragment: true, ..outer };
                assert_eq!(tunnel.path.own(ROUTER, &packet), Outbound::Send(outer));
            }
        }
    }

    #[test]
    fn packets_of_the_engine() {
        let tunnel = Tunnel::new(Role::Router, MtuMethod::Dynamic);
        let packet =
            ipv6(v6("fe80::5efe:c000:201"), v6("ff02::2"), 58, &[133, 0, 0, 0, 0, 0, 0, 0]);
        let own = |to: &str, packet: &[u8]| sent_to(tunnel.path.own(v4(to), packet));
        assert_eq!(own("192.0.2.77", &packet), "192.0.2.77");
        assert_eq!(own("192.0.2.77", &packet[1..]), Counter::NotIpv6.text());
        assert_eq!(own("10.9.9.9", &packet), Counter::ToOurselves.text());
        for to in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.255"] {
            assert_eq!(own(to, &packet), Counter::NoNeighbour.text());
        }
        let without = Path::new(Arc::default(), Arc::default()).own(LOCATOR, &packet);
        assert_eq!(without, Outbound::Drop(Counter::NoLocator));
    }
}
