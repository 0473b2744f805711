//! What becomes of packets that do not pass: path MTUs, and errors, made of our own and of IPv4's.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use isatapd_datapath::{Consequence, Counter, Origin, Outbound, Outer, Role, Table};
    use isatapd_proto::{Mtu, MtuMethod};

    use super::common::checks::tunnel::{OURS, ROUTER, check_error, ipv6, table, v4, v6};
    use super::common::{FAR, Tunnel, at, needed, sent_to, udp};

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
