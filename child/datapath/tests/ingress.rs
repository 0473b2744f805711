//! Every ingress rule with every combination of outer and inner address classes. What each class
//! means is written beside it; the verdict follows from that, not from the octets.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use isatapd_datapath::{Counter, Counters, Inbound, Instant, Path, Role, Table};
    use isatapd_proto::MtuMethod;

    use super::common::checks::inbound::judge;
    use super::common::checks::tunnel::{LOCATOR, OURS, ROUTER, ipv4, ipv6, table, v4, v6};

    /// Outer sources: why each is dropped, if it is; whether it is in the PRL.
    const OUTER: [(&str, Option<Counter>, bool); 20] = [
        ("192.0.2.10", None, true),
        ("198.51.100.7", None, true),
        ("192.0.2.77", None, false),
        ("10.1.2.3", None, false),
        ("8.8.8.9", None, false),
        ("100.64.0.1", None, false),
        ("192.0.2.0", None, false),
        ("223.255.255.255", None, false),
        ("192.0.2.1", Some(Counter::OuterOwn), false),
        ("10.9.9.9", Some(Counter::OuterOwn), false),
        ("192.0.2.255", Some(Counter::OuterBroadcast), false),
        ("10.9.9.255", Some(Counter::OuterBroadcast), false),
        ("0.0.0.0", Some(Counter::OuterSource), false),
        ("0.1.2.3", Some(Counter::OuterSource), false),
        ("127.0.0.1", Some(Counter::OuterSource), false),
        ("127.255.255.255", Some(Counter::OuterSource), false),
        ("224.0.0.1", Some(Counter::OuterSource), false),
        ("239.255.255.255", Some(Counter::OuterSource), false),
        ("240.0.0.1", Some(Counter::OuterSource), false),
        ("255.255.255.255", Some(Counter::OuterSource), false),
    ];

    /// What an inner source is.
    #[derive(Clone, Copy, PartialEq)]
    enum Source {
        Never,
        Own,
        /// An ISATAP address of the link, link-local or not, that embeds this.
        Neighbour(&'static str, bool),
        /// Link-local, but no neighbour can have it.
        Local,
        /// Only a router can send it on.
        Elsewhere,
    }
    use Source::{Elsewhere, Local, Neighbour, Never, Own};

    const SOURCES: [(&str, Source); 43] = [
        ("fe80::5efe:c000:201", Own),
        ("fe80::200:5efe:c000:201", Own),
        ("2001:db8:1:1:0:5efe:c000:201", Own),
        ("::", Never),
        ("::1", Never),
        ("::192.0.2.10", Never),
        ("::ffff:192.0.2.10", Never),
        ("::ffff:8.8.8.9", Never),
        ("ff02::1", Never),
        ("ff05::5efe:c000:20a", Never),
        ("ff0e::1", Never),
        ("fe80::5efe:c000:20a", Neighbour("192.0.2.10", true)),
        ("fe80::200:5efe:c000:20a", Neighbour("192.0.2.10", true)),
        ("fe80::5efe:c633:6407", Neighbour("198.51.100.7", true)),
        ("fe80::200:5efe:c633:6407", Neighbour("198.51.100.7", true)),
        ("fe80::5efe:c000:24d", Neighbour("192.0.2.77", true)),
        ("fe80::200:5efe:c000:24d", Neighbour("192.0.2.77", true)),
        ("fe80::5efe:a01:203", Neighbour("10.1.2.3", true)),
        ("fe80::200:5efe:a01:203", Neighbour("10.1.2.3", true)),
        ("fe80::200:5efe:808:809", Neighbour("8.8.8.9", true)),
        ("fe80::5efe:7f00:1", Neighbour("127.0.0.1", true)),
        ("2001:db8:1:1:0:5efe:c000:20a", Neighbour("192.0.2.10", false)),
        ("2001:db8:1:1:0:5efe:c000:24d", Neighbour("192.0.2.77", false)),
        ("2001:db8:1:1:200:5efe:c000:24d", Neighbour("192.0.2.77", false)),
        ("2001:db8:1:1:0:5efe:808:809", Neighbour("8.8.8.9", false)),
        ("2001:db8:1:1:200:5efe:808:809", Neighbour("8.8.8.9", false)),
        ("2001:db8:1:1:200:5efe:6440:1", Neighbour("100.64.0.1", false)),
        // The other form of our own address: another interface identifier.
        ("2001:db8:1:1:200:5efe:c000:201", Neighbour("192.0.2.1", false)),
        ("fe80::1", Local),
        ("fe80::100:5efe:c000:24d", Local),
        ("fe80::5eff:c000:24d", Local),
        ("fe80:0:0:1:0:5efe:c000:24d", Local),
        ("fe80:0:0:1:0:5efe:c000:20a", Local),
        ("febf::5efe:c000:24d", Local),
        ("2001:db8:1:1::5", Elsewhere),
        ("2001:db8:1:1:100:5efe:c000:24d", Elsewhere),
        ("2001:db8:2:1:0:5efe:c000:24d", Elsewhere),
        ("2001:db8:2:1:0:5efe:c000:20a", Elsewhere),
        ("2002:c000:24d::1", Elsewhere),
        ("2002:c000:20a::5efe:c000:20a", Elsewhere),
        ("fec0::5efe:c000:24d", Elsewhere),
        ("fc00::5efe:c000:24d", Elsewhere),
        ("64:ff9b::808:809", Elsewhere),
    ];

    fn source_verdict(outer: &str, member: bool, source: Source) -> Option<Counter> {
        match source {
            Never => Some(Counter::InnerSource),
            Own => Some(Counter::InnerOwn),
            Neighbour(embedded, _) if embedded == outer => None,
            Neighbour(_, false) | Elsewhere if member => None,
            Neighbour(..) => Some(Counter::SourceMismatch),
            Local | Elsewhere => Some(Counter::SourceForeign),
        }
    }

    /// What an inner destination is.
    #[derive(Clone, Copy, PartialEq)]
    enum Destination {
        Ours,
        AllRouters,
        /// On the link, or on another.
        LinkLocal,
        /// No packet of the tunnel has it, unless it is ours.
        Nobody,
        /// Somebody else's, to be forwarded.
        Else,
        /// Another tunnel's, whose end we are.
        Round,
        /// Another router's.
        Router,
    }
    use Destination::{AllRouters, Else, LinkLocal, Nobody, Ours, Round, Router};

    const DESTINATIONS: [(&str, Destination); 36] = [
        ("fe80::5efe:c000:201", Ours),
        ("fe80::200:5efe:c000:201", Ours),
        ("2001:db8:1:1:0:5efe:c000:201", Ours),
        ("ff02::1", Ours),
        ("ff02::1:ff00:201", Ours),
        ("ff02::2", AllRouters),
        ("fe80::5efe:c000:24d", LinkLocal),
        ("fe80::1", LinkLocal),
        ("fe80:0:0:1:0:5efe:c000:201", LinkLocal),
        ("febf:ffff::1", LinkLocal),
        ("ff01::1", Nobody),
        ("ff05::1", Nobody),
        ("ff02::16", Nobody),
        ("ff02::fb", Nobody),
        ("ff02::1:2", Nobody),
        ("ff02::1:ff00:202", Nobody),
        ("ff12::1:ff00:201", Nobody),
        ("ff02::1:fe00:201", Nobody),
        ("ff0e::1", Nobody),
        ("::", Nobody),
        ("::1", Nobody),
        ("::192.0.2.1", Nobody),
        ("::ffff:192.0.2.1", Nobody),
        ("2001:db8:1:1:200:5efe:c000:201", Else),
        ("2001:db8:1:1:0:5efe:c000:24d", Else),
        ("2001:db8:9::1", Else),
        ("2001:db8:1:1:0:5efe:c000:20b", Router),
        ("2001:db8:1:1:200:5efe:c633:6407", Router),
        ("2001:db8:2:1:0:5efe:c000:20b", Else),
        ("2001:db8:2:1:200:5efe:c000:201", Round),
        ("2002:c000:201::1", Round),
        ("2002:c000:202::1", Else),
        // A private address says nothing of whose it is.
        ("2002:a09:909:1:200:5efe:a09:909", Else),
        ("fc00::1", Else),
        ("fec0::1", Else),
        ("64:ff9b::1.2.3.4", Else),
    ];

    fn destination_verdict(
        role: Role,
        member: bool,
        source: Source,
        destination: Destination,
        kind: u8,
    ) -> Option<Counter> {
        let router = role == Role::Router;
        match destination {
            Ours => None,
            AllRouters if router && kind == 133 => None,
            LinkLocal if router => Some(Counter::LinkLocalTransit),
            Else | Round | Router if router && matches!(source, Neighbour(_, true) | Local) => {
                Some(Counter::LinkLocalTransit)
            }
            Round if router => Some(Counter::LoopIn),
            Router if router && member => Some(Counter::LoopIn),
            Else | Router if router => None,
            _ => Some(Counter::InnerDestination),
        }
    }

    /// What a packet carries: next header, first octet of it.
    const CARRIED: [(u8, u8); 8] =
        [(17, 0), (58, 128), (58, 133), (58, 134), (58, 135), (58, 136), (58, 137), (50, 133)];

    fn judge_by(
        table: &Table,
        outer: (&str, &str),
        inner: (&str, &str),
        what: (u8, u8),
    ) -> Inbound {
        let inside = ipv6(v6(inner.0), v6(inner.1), what.0, &[what.1; 24]);
        judge(table.clone(), &ipv4(v4(outer.0), v4(outer.1), &inside))
    }

    #[test]
    fn every_combination() {
        for role in [Role::Host, Role::Router] {
            let table = table(role, MtuMethod::Dynamic);
            for (outer, banned, member) in OUTER {
                for (source, is) in SOURCES {
                    for (destination, goes) in DESTINATIONS {
                        for (next, first) in CARRIED {
                            let kind = if next == 58 { first } else { 0 };
                            let discovery = match (kind, role) {
                                (137, _) => Some(Counter::Redirect),
                                (133, Role::Host) => Some(Counter::Solicitation),
                                (134, Role::Host) if !member => Some(Counter::Advertisement),
                                _ => None,
                            };
                            let expected = banned
                                .or_else(|| source_verdict(outer, member, is))
                                .or_else(|| destination_verdict(role, member, is, goes, kind))
                                .or(discovery);
                            let expected = match (expected, kind) {
                                (Some(counter), _) => Inbound::Drop(counter),
                                (None, 136) if role == Role::Host && member => {
                                    Inbound::Engine { from: v4(outer), packet: 20..84 }
                                }
                                (None, 133 | 134) => {
                                    Inbound::Engine { from: v4(outer), packet: 20..84 }
                                }
                                (None, _) => Inbound::Deliver(20..84),
                            };
                            let ends = ((outer, "192.0.2.1"), (source, destination));
                            let verdict = judge_by(&table, ends.0, ends.1, (next, first));
                            assert_eq!(verdict, expected, "{role:?} {ends:?} {next} {first}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_what_is_for_the_locator() {
        let table = table(Role::Router, MtuMethod::Static);
        let inner = ("2001:db8:9::1", "2001:db8:1:1:0:5efe:c000:201");
        for to in
            ["10.9.9.9", "192.0.2.255", "192.0.2.2", "224.0.0.1", "255.255.255.255", "0.0.0.0"]
        {
            let verdict = judge_by(&table, ("192.0.2.10", to), inner, (17, 0));
            assert_eq!(verdict, Inbound::Drop(Counter::OuterDestination), "{to}");
        }
        let mut packet = ipv4(ROUTER, LOCATOR, &ipv6(v6(inner.0), v6(inner.1), 59, &[]));
        let counters = Arc::default();
        let mut path = Path::new(counters, Arc::default());
        let now = Instant::since_boot(Duration::ZERO);
        assert_eq!(path.inbound(now, &mut packet), Inbound::Drop(Counter::NoLocator));
    }

    #[test]
    fn congestion_marks_are_written_into_the_packet() {
        // RFC 6040 figure 4: rows are inner, columns outer, both Not-ECT, ECT(1), ECT(0), CE.
        let expected = ["000-", "1113", "2123", "3333"];
        for (inner, row) in expected.iter().enumerate() {
            for (outer, mark) in row.chars().enumerate() {
                let mut inside = ipv6(v6("2001:db8:9::1"), OURS, 59, &[]);
                inside[0] = 0x6a;
                inside[1] = 0x8f | u8::try_from(inner).unwrap() << 4;
                let mut packet = ipv4(ROUTER, LOCATOR, &inside);
                packet[1] = 0xfc | u8::try_from(outer).unwrap();
                let mut path = Path::new(Arc::default(), Arc::default());
                path.publish(table(Role::Host, MtuMethod::Static).into());
                let now = Instant::since_boot(Duration::ZERO);
                let verdict = path.inbound(now, &mut packet);
                if let Some(mark) = mark.to_digit(10) {
                    assert_eq!(verdict, Inbound::Deliver(20..60));
                    assert_eq!(u32::from(packet[21]), 0x8f | mark << 4);
                    inside[1] = packet[21];
                    assert_eq!(packet[20..], inside);
                } else {
                    assert_eq!(verdict, Inbound::Drop(Counter::Congestion));
                }
            }
        }
    }

    #[test]
    fn lengths_options_and_fragments() {
        let judge = |packet: &[u8]| judge(table(Role::Host, MtuMethod::Static), packet);
        let long = ipv4(ROUTER, LOCATOR, &ipv6(v6("2001:db8:9::1"), OURS, 17, &vec![7; 40_000]));
        assert_eq!(judge(&long), Inbound::Deliver(20..40_060));
        let longest = ipv4(ROUTER, LOCATOR, &ipv6(v6("2001:db8:9::1"), OURS, 17, &vec![7; 65_475]));
        assert_eq!(judge(&longest), Inbound::Deliver(20..65_535));

        let whole = ipv4(ROUTER, LOCATOR, &ipv6(v6("2001:db8:9::1"), OURS, 17, &[7; 8]));
        for end in 0..whole.len() {
            // As the kernel never gives it, and as one that says so itself.
            assert_eq!(judge(&whole[..end]), Inbound::Drop(Counter::OuterMalformed), "{end}");
            let mut short = whole[..end].to_vec();
            if let Some(length) = short.get_mut(2..4) {
                length.copy_from_slice(&u16::try_from(end).unwrap().to_be_bytes());
            }
            let reason = if end < 60 { Counter::OuterMalformed } else { Counter::InnerLength };
            assert_eq!(judge(&short), Inbound::Drop(reason), "{end}");
        }
        // Ethernet pads; the IPv4 packet, too, may be longer than the IPv6 one.
        assert_eq!(judge(&[&whole[..], &[0; 100]].concat()), Inbound::Deliver(20..68));
        let mut padded = [&whole[..], &[0; 4]].concat();
        padded[3] += 4;
        assert_eq!(judge(&padded), Inbound::Deliver(20..68));

        let changed = |at: usize, value: u8| {
            let mut packet = whole.clone();
            packet[at] = value;
            judge(&packet)
        };
        for (at, value, expected) in [
            (0, 0x65, Counter::OuterMalformed),
            (0, 0x44, Counter::OuterMalformed),
            (0, 0x40, Counter::OuterMalformed),
            (0, 0x46, Counter::OuterOptions),
            (0, 0x4f, Counter::OuterOptions),
            (9, 4, Counter::OuterMalformed),
            (9, 17, Counter::OuterMalformed),
            (6, 0x20, Counter::OuterFragment),
            (6, 0x60, Counter::OuterFragment),
            (6, 0x01, Counter::OuterFragment),
            (7, 0x01, Counter::OuterFragment),
            (20, 0x40, Counter::InnerVersion),
            (20, 0x00, Counter::InnerVersion),
            (20, 0x70, Counter::InnerVersion),
            (25, 9, Counter::InnerLength),
            (24, 1, Counter::InnerLength),
            (24, 255, Counter::InnerLength),
        ] {
            assert_eq!(changed(at, value), Inbound::Drop(expected), "{at} {value}");
        }
        assert_eq!(changed(6, 0), Inbound::Deliver(20..68));
        assert_eq!(changed(25, 0), Inbound::Deliver(20..60));

        let with_options = |units: u8| {
            let mut packet = whole[..20].to_vec();
            packet.extend([1].repeat(4 * usize::from(units)));
            packet.extend(&whole[20..]);
            packet[0] += units;
            packet[3] += 4 * units;
            judge(&packet)
        };
        for units in 1..=10 {
            assert_eq!(with_options(units), Inbound::Drop(Counter::OuterOptions));
        }
        let jumbo = [17, 0, 0xc2, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut packet = ipv4(ROUTER, LOCATOR, &ipv6(v6("2001:db8:9::1"), OURS, 0, &jumbo));
        assert_eq!(judge(&packet), Inbound::Deliver(20..76));
        packet[25] = 0;
        assert_eq!(judge(&packet), Inbound::Drop(Counter::InnerJumbo));
    }

    /// Whoever floods, also a router of the list.
    #[test]
    fn the_engine_hears_so_many() {
        for (role, kind) in [(Role::Host, 134), (Role::Router, 133), (Role::Router, 134)] {
            let counters = Arc::new(Counters::default());
            let mut path = Path::new(counters.clone(), Arc::default());
            path.publish(table(role, MtuMethod::Static).into());
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            let packet = ipv6(v6("fe80::5efe:c000:20a"), OURS, 58, &message);
            let mut packet = ipv4(ROUTER, LOCATOR, &packet);
            let mut heard = |millis| {
                let now = Instant::since_boot(Duration::from_millis(millis));
                let verdicts = (0..1000).map(|_| path.inbound(now, &mut packet));
                verdicts.filter(|verdict| matches!(verdict, Inbound::Engine { .. })).count()
            };
            assert_eq!([5000, 5001, 5010].map(&mut heard), [256, 2, 18]);
            assert_eq!(counters.get(Counter::NotHeard), 3000 - 276);
        }
    }

    #[test]
    fn discovery_cannot_hide() {
        let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
        let fragment = |offset: u8, more: u8| [58, 0, 0, offset << 3 | more, 0, 0, 0, 1];
        for role in [Role::Host, Role::Router] {
            for kind in 128..=143 {
                let discovery = (133..=137).contains(&kind);
                let message = [kind, 0, 0, 0, 0, 0, 0, 0];
                let judge = |next: u8, before: &[u8]| {
                    let packet =
                        ipv6(v6("2001:db8:9::1"), OURS, next, &[before, &message].concat());
                    judge(table(role, MtuMethod::Static), &ipv4(ROUTER, LOCATOR, &packet))
                };
                for (next, before) in [
                    (0, &options(58)[..]),
                    (43, &options(58)),
                    (60, &options(58)),
                    (44, &fragment(0, 0)),
                    (44, &fragment(0, 1)),
                    (60, &[options(44), fragment(0, 1)].concat()),
                    (44, &[[60, 0, 0, 1, 0, 0, 0, 1], options(58)].concat()),
                ] {
                    let verdict = judge(next, before);
                    let hidden = verdict == Inbound::Drop(Counter::HiddenDiscovery);
                    assert_eq!(hidden, discovery, "{kind} {next} {before:?} {verdict:?}");
                    assert!(hidden || matches!(verdict, Inbound::Deliver(_)));
                }
                // Without the first fragment there is no message.
                assert!(matches!(judge(44, &fragment(1, 0)), Inbound::Deliver(_)));
                let deep = [options(60).repeat(8), options(58).to_vec()].concat();
                assert_eq!(judge(60, &deep), Inbound::Drop(Counter::Extensions));
            }
        }
    }
}
