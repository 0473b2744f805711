//! What is done with what the kernel writes to the TUN interface, and with what IPv4 says of it.

#[cfg(test)]
#[path = "../../../tests/fuzz/src"]
#[allow(
    clippy::arithmetic_side_effects,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared with the fuzz targets, where a panic is the verdict"
)]
mod checks {
    pub mod tunnel;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use isatapd_datapath::{
        Consequence, Counter, Counters, Failure, Instant, LONGEST_ERROR, Origin, Outbound, Outer,
        Path, Role, Route, Source, Table,
    };
    use isatapd_proto::{Mtu, MtuMethod, Preference};

    use super::checks::tunnel::{LOCATOR, OURS, ROUTER, check_error, ipv6, route, table, v4, v6};

    const FAR: &str = "2001:db8:9::1";

    fn at(millis: u64) -> Instant {
        Instant::since_boot(Duration::from_millis(millis))
    }

    struct Tunnel {
        path: Path,
        counters: Arc<Counters>,
        answer: [u8; LONGEST_ERROR],
    }

    impl Tunnel {
        fn by(table: Table) -> Self {
            let counters = Arc::new(Counters::default());
            let mut path = Path::new(counters.clone(), Arc::default());
            path.publish(table.into());
            Self { path, counters, answer: [0xaa; LONGEST_ERROR] }
        }

        fn new(role: Role, method: MtuMethod) -> Self {
            Self::by(table(role, method))
        }

        fn send(&mut self, time: u64, packet: &[u8]) -> Outbound {
            self.path.outbound(at(time), packet, &mut self.answer)
        }

        /// Type, code and word of the error that a packet causes.
        fn refuse(&mut self, time: u64, packet: &[u8]) -> (u8, u8, u32) {
            match self.send(time, packet) {
                Outbound::Answer(length) => check_error(&self.answer[..length], packet),
                other => panic!("{other:?}"),
            }
        }

        fn fail(&mut self, time: u64, to: &str, origin: Origin, quoted: &[u8]) -> Consequence {
            self.path.failed(at(time), &Failure { to: v4(to), origin, quoted }, &mut self.answer)
        }
    }

    fn udp(source: &str, destination: &str, payload: usize) -> Vec<u8> {
        ipv6(v6(source), v6(destination), 17, &vec![0x5a; payload])
    }

    fn needed(mtu: u32) -> Origin {
        Origin::Icmp { kind: 3, code: 4, mtu }
    }

    fn sent_to(verdict: Outbound) -> String {
        match verdict {
            Outbound::Send(outer) => outer.to.to_string(),
            Outbound::Drop(counter) => counter.text().to_owned(),
            Outbound::Answer(_) => "answered".to_owned(),
        }
    }

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

    /// RFC 4213 section 3.2.2: how long a packet may be, and whether DF is not set, by the path MTU.
    #[test]
    fn path_mtus() {
        for (mtu, limit, fragment) in [
            (68, 1280, true),
            (576, 1280, true),
            (0, 1280, true),
            (1280, 1280, true),
            (1299, 1280, true),
            (1300, 1280, false),
            (1301, 1281, false),
            (1400, 1380, false),
            (1499, 1479, false),
            (1500, 1480, false),
            (9000, 1480, false),
            (67, 1480, false),
        ] {
            for origin in [needed(mtu), Origin::TooLong { mtu }] {
                let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
                let first = ipv6(OURS, v6(FAR), 17, &[1; 1440]);
                let consequence = tunnel.fail(0, "192.0.2.10", origin, &first);
                assert_eq!(consequence.suspect, None);
                match consequence.answer {
                    Some(length) => {
                        let error = check_error(&tunnel.answer[..length], &first);
                        assert_eq!(error, (2, 0, limit), "{mtu}");
                    }
                    None => assert_eq!(limit, 1480, "{mtu}"),
                }
                let payload = usize::try_from(limit).unwrap() - 40;
                let fits = ipv6(OURS, v6(FAR), 17, &vec![2; payload]);
                let outer = Outer { to: ROUTER, tos: 0, ttl: None, fragment };
                assert_eq!(tunnel.send(1, &fits), Outbound::Send(outer), "{mtu}");
                let longer = ipv6(OURS, v6(FAR), 17, &vec![3; payload + 1]);
                assert_eq!(tunnel.refuse(1, &longer), (2, 0, limit), "{mtu}");
                assert_eq!(tunnel.counters.get(Counter::TooBig), 1);
                // Of no other destination.
                let other = ipv6(OURS, v6("2001:db8:5::1"), 17, &[4; 1440]);
                assert_eq!(sent_to(tunnel.send(1, &other)), "192.0.2.11");
                // Ten minutes later it is tried again.
                assert_eq!(sent_to(tunnel.send(600_000, &first)), "192.0.2.10");
            }
        }
    }

    #[test]
    fn the_static_method_has_one_mtu() {
        for mtu in [1280, 1400, 1480] {
            let host = table(Role::Host, MtuMethod::Static);
            let mut tunnel = Tunnel::by(Table { mtu: Some(Mtu::try_from(mtu).unwrap()), ..host });
            let first = ipv6(OURS, v6(FAR), 17, &[1; 1440]);
            let consequence = tunnel.fail(0, "192.0.2.10", needed(1290), &first);
            assert_eq!(consequence, Consequence::default());
            let payload = usize::from(mtu) - 40;
            let fits = ipv6(OURS, v6(FAR), 17, &vec![2; payload]);
            let outer = Outer { to: ROUTER, tos: 0, ttl: None, fragment: true };
            assert_eq!(tunnel.send(1, &fits), Outbound::Send(outer));
            let longer = ipv6(OURS, v6(FAR), 17, &vec![3; payload + 1]);
            assert_eq!(tunnel.refuse(1, &longer), (2, 0, mtu.into()));
        }
    }

    #[test]
    fn path_mtus_are_those_of_one_locator() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
        let packet = ipv6(OURS, v6(FAR), 17, &[1; 1440]);
        tunnel.fail(0, "192.0.2.10", needed(1400), &packet);
        tunnel.path.publish(table(Role::Router, MtuMethod::Dynamic).into());
        assert_eq!(tunnel.refuse(1, &packet), (2, 0, 1380));
        let locator = Some(v4("192.0.2.2").try_into().unwrap());
        let moved = Table { locator, ..table(Role::Host, MtuMethod::Dynamic) };
        tunnel.path.publish(moved.into());
        assert_eq!(sent_to(tunnel.send(2, &packet)), "192.0.2.10");
    }

    /// Octet by octet.
    #[test]
    fn a_packet_too_big_is_this() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Static);
        let packet = ipv6(OURS, v6(FAR), 17, &[0; 1441]);
        assert_eq!(tunnel.send(0, &packet), Outbound::Answer(1280));
        let mut expected = vec![0x60, 0, 0, 0, 0x04, 0xd8, 58, 64];
        expected.extend([OURS.octets(), OURS.octets()].concat());
        // 1240 + 58 + 2 (2001:0db8:0001:0001:0000:5efe:c000:0201) + 0200 + 05c8 + 6000 + 05a1 + 1140
        // + 2001:0db8:0001:0001:0000:5efe:c000:0201 + 2001:0db8:0009:0000:0000:0000:0000:0001
        let ours: u32 = 0x2001 + 0xdb8 + 1 + 1 + 0x5efe + 0xc000 + 0x201;
        let far: u32 = 0x2001 + 0xdb8 + 9 + 1;
        let sum = 1240 + 58 + 3 * ours + far + 0x200 + 1480 + 0x6000 + 1441 + 0x1140;
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        expected.extend([2, 0]);
        expected.extend((!folded).to_be_bytes());
        expected.extend([0, 0, 0x05, 0xc8]);
        expected.extend(&packet[..1232]);
        assert_eq!(tunnel.answer[..], expected);
    }

    #[test]
    fn what_is_never_answered() {
        let nowhere = v6("2001:db8:1:1::5");
        let mut tunnel = Tunnel::new(Role::Router, MtuMethod::Static);
        let drop = Outbound::Drop(Counter::NoNeighbour);
        let mut case = |next: u8, payload: &[u8], answered: bool| {
            let verdict = tunnel.send(10_000, &ipv6(OURS, nowhere, next, payload));
            assert_eq!(verdict != drop, answered, "{next} {payload:?}");
        };
        for kind in (0..=127).step_by(16).chain([1, 2, 3, 4, 127]) {
            case(58, &[kind, 0, 0, 0, 0, 0, 0, 0], false);
            case(60, &[58, 0, 1, 4, 0, 0, 0, 0, kind, 0], false);
        }
        case(58, &[128, 0, 0, 0, 0, 0, 0, 0], true);
        case(58, &[], false);
        case(44, &[17, 0, 0, 8, 0, 0, 0, 1, 0], false);
        case(44, &[17, 0, 0, 1, 0, 0, 0, 1, 0], true);
        case(6, &[0; 20], true);

        let without = Table { error_source: None, ..table(Role::Host, MtuMethod::Static) };
        let verdict = Tunnel::by(without).send(0, &ipv6(OURS, nowhere, 17, &[0; 8]));
        assert_eq!(verdict, drop);
        let packet = ipv6(OURS, nowhere, 17, &[0; 8]);
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Static);
        for room in 0..56 {
            let verdict = tunnel.path.outbound(
                at(20_000 + 200 * room),
                &packet,
                &mut vec![0; usize::try_from(room).unwrap()],
            );
            let whole = usize::try_from(room).unwrap();
            assert_eq!(verdict, if room < 48 { drop } else { Outbound::Answer(whole) });
        }
    }

    #[test]
    fn errors_have_a_budget() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Static);
        let packet = ipv6(OURS, v6("2001:db8:1:1::5"), 17, &[0; 8]);
        let far = ipv6(OURS, v6(FAR), 17, &[0; 8]);
        let mut told = |time: u64, count: u64| {
            let before = tunnel.counters.get(Counter::Told);
            for n in 0..count {
                if n % 2 == 0 {
                    tunnel.send(time, &packet);
                } else {
                    tunnel.fail(time, "192.0.2.10", Origin::Local, &far);
                }
            }
            tunnel.counters.get(Counter::Told) - before
        };
        assert_eq!(told(5000, 100), 20);
        assert_eq!(told(5099, 100), 0);
        assert_eq!(told(6000, 100), 10);
        assert_eq!(told(60_000, 100), 20);
        assert_eq!(tunnel.counters.get(Counter::ErrorsRefused), 350);
        assert_eq!(tunnel.counters.get(Counter::NoNeighbour), 200);
    }

    /// Without it a path MTU is never learned; the others can be caused by anybody.
    #[test]
    fn packet_too_big_has_a_budget_of_its_own() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Static);
        let nowhere = ipv6(OURS, v6("2001:db8:1:1::5"), 17, &[0; 8]);
        let long = ipv6(OURS, v6(FAR), 17, &[0; 1441]);
        let mut told = |packet: &[u8]| {
            let answers = (0..100).map(|_| tunnel.send(5000, packet));
            answers.filter(|verdict| matches!(verdict, Outbound::Answer(_))).count()
        };
        assert_eq!([&nowhere, &long, &nowhere].map(|packet| told(packet)), [20, 20, 0]);
    }

    /// The kernel has not sent it, and would not know what is meant.
    #[test]
    fn of_our_own_discovery_nothing_is_told() {
        for (source, kind, answered) in [
            (OURS, 132, true),
            (OURS, 133, false),
            (OURS, 134, false),
            (OURS, 137, false),
            (OURS, 138, true),
            (v6("2001:db8:9::1"), 134, true),
        ] {
            let mut tunnel = Tunnel::new(Role::Router, MtuMethod::Dynamic);
            let to = v6("2001:db8:1:1:0:5efe:c000:24d");
            let packet = ipv6(source, to, 58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
            let consequence = tunnel.fail(0, "192.0.2.77", Origin::Local, &packet);
            assert_eq!(consequence.answer.is_some(), answered, "{source} {kind}");
        }
    }

    #[test]
    fn what_follows_of_icmp() {
        let own = ipv6(OURS, v6(FAR), 17, &[0; 8]);
        let unreachable = Some((1, 3, 0));
        for (origin, expected, suspect) in [
            (Origin::Local, unreachable, true),
            (Origin::Icmp { kind: 3, code: 0, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 3, code: 1, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 3, code: 2, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 3, code: 3, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 3, code: 13, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 11, code: 0, mtu: 0 }, unreachable, true),
            (Origin::Icmp { kind: 11, code: 1, mtu: 0 }, None, true),
            (Origin::Icmp { kind: 12, code: 0, mtu: 0 }, None, true),
            (Origin::Icmp { kind: 4, code: 0, mtu: 0 }, None, false),
            (Origin::Icmp { kind: 5, code: 1, mtu: 0 }, None, false),
            (Origin::Icmp { kind: 0, code: 0, mtu: 0 }, None, false),
            (needed(1400), None, false),
        ] {
            let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
            let consequence = tunnel.fail(0, "192.0.2.10", origin, &own);
            let error = consequence.answer.map(|n| check_error(&tunnel.answer[..n], &own));
            assert_eq!(error, expected, "{origin:?}");
            assert_eq!(consequence.suspect, suspect.then_some(ROUTER), "{origin:?}");
            // Quoted too short to say more.
            let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
            for end in 0..40 {
                let consequence = tunnel.fail(1000 * end as u64, "192.0.2.10", origin, &own[..end]);
                let suspect = suspect.then_some(ROUTER);
                assert_eq!(consequence, Consequence { answer: None, suspect });
            }
        }
    }

    /// A forged error about what we cannot have sent changes nothing.
    #[test]
    fn only_what_we_can_have_sent() {
        let own = "2001:db8:1:1:0:5efe:c000:201";
        let neighbour = "2001:db8:1:1:0:5efe:c000:24d";
        for (source, destination, to, host, router) in [
            (own, FAR, "192.0.2.10", true, true),
            (own, FAR, "192.0.2.11", false, false),
            (own, FAR, "192.0.2.99", false, false),
            (own, neighbour, "192.0.2.77", true, true),
            (own, neighbour, "192.0.2.10", false, false),
            (own, FAR, "127.0.0.1", false, false),
            // The less specific one, before there was the other.
            (own, "2001:db8:5::1", "192.0.2.10", true, true),
            (FAR, neighbour, "192.0.2.77", false, true),
            (FAR, "2001:db8:1:1::5", "192.0.2.77", false, false),
            ("fe80::1", neighbour, "192.0.2.77", false, false),
            ("::1", neighbour, "192.0.2.77", false, false),
            ("ff02::1", neighbour, "192.0.2.77", false, false),
            (FAR, "ff02::1", "192.0.2.77", false, false),
        ] {
            for (role, believed) in [(Role::Host, host), (Role::Router, router)] {
                let mut tunnel = Tunnel::new(role, MtuMethod::Dynamic);
                let packet = udp(source, destination, 1440);
                let consequence = tunnel.fail(0, to, needed(1400), &packet);
                assert_eq!(consequence.answer.is_some(), believed, "{source} {destination} {to}");
                let consequence = tunnel.fail(0, to, Origin::Local, &packet);
                assert_eq!(consequence.answer.is_some(), believed, "{source} {destination} {to}");
                let member = matches!(to, "192.0.2.10" | "192.0.2.11");
                assert_eq!(consequence.suspect, (believed && member).then(|| v4(to)));
            }
        }
        // Our own solicitation: nobody to tell, but a hint.
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
        let packet = udp("fe80::5efe:c000:201", "ff02::2", 8);
        let consequence = tunnel.fail(0, "192.0.2.10", Origin::Local, &packet);
        assert_eq!(consequence, Consequence { answer: None, suspect: Some(ROUTER) });
    }

    /// Hints have a budget, too.
    #[test]
    fn suspects_are_few() {
        let mut tunnel = Tunnel::new(Role::Host, MtuMethod::Dynamic);
        let mut hints = |time| {
            let mut fail = || tunnel.fail(time, "192.0.2.10", Origin::Local, &[]).suspect;
            (0..50).filter(|_| fail().is_some()).count()
        };
        assert_eq!([0, 999, 1000, 3000].map(&mut hints), [10, 0, 1, 2]);
    }
}
