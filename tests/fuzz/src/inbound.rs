//! What comes in by protocol 41: against a second reading of the rules.

use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{Counter, Counters, Inbound, Instant, Path, Role, Table};
use isatapd_proto::MtuMethod;

use super::tunnel::table;

/// The Potential Router List.
const MEMBERS: [[u8; 4]; 3] = [[192, 0, 2, 10], [192, 0, 2, 11], [198, 51, 100, 7]];

/// The first octet says which role; the rest is the packet.
pub fn check(data: &[u8]) {
    let Some((role, sent)) = data.split_first() else { return };
    let role = if role % 2 == 0 { Role::Host } else { Role::Router };
    judge(table(role, MtuMethod::Static), sent);
}

/// The verdict, checked: the expected one, counted once, and nothing changed but ECN.
pub fn judge(table: Table, sent: &[u8]) -> Inbound {
    let expected = expected(&table, sent);
    let table = Arc::new(table);
    let counters = Arc::new(Counters::default());
    let mut path = Path::new(counters.clone(), Arc::default());
    path.publish(table.clone());
    let mut datagram = sent.to_vec();
    let verdict = path.inbound(Instant::since_boot(Duration::from_secs(1)), &mut datagram);
    match (&verdict, &expected) {
        (Inbound::Deliver(range), Ok((false, mark))) => {
            let length = usize::from(u16::from_be_bytes([sent[24], sent[25]]));
            assert_eq!(*range, 20..60 + length);
            assert!(range.end <= sent.len());
            let mut expected = marked(sent, *mark);
            if let Some(at) = unfinished(&sent[range.clone()]) {
                check_sum(&datagram[range.clone()]);
                expected[20 + at..22 + at].copy_from_slice(&datagram[20 + at..22 + at]);
            }
            assert!(datagram == expected, "changed more than ECN and checksum");
        }
        (Inbound::Cut(segments), Ok((false, mark))) => {
            let length = 40 + usize::from(u16::from_be_bytes([sent[24], sent[25]]));
            let whole = &marked(sent, *mark)[20..20 + length];
            assert_eq!((unfinished(whole), whole[6]), (Some(56), 6));
            let ours = table.own.iter().any(|own| own.octets() == whole[24..40]);
            let mut segments = segments.clone();
            let next = || segments.next(&mut datagram).map(|range| datagram[range].to_vec());
            check_cut(whole, std::iter::from_fn(next), if ours { 1480 } else { 1280 });
        }
        (Inbound::Engine { from, packet }, Ok((true, _))) => {
            assert_eq!(from.octets(), sent[12..16]);
            assert_eq!(packet.len(), 40 + usize::from(u16::from_be_bytes([sent[24], sent[25]])));
            assert_eq!(datagram, sent);
        }
        (Inbound::Drop(counter), Err(reason)) => {
            assert_eq!(counter, reason);
            assert_eq!(datagram, sent);
        }
        _ => panic!("{verdict:?} for {expected:?}"),
    }
    for counter in Counter::ALL {
        let count = u64::from(expected.err() == Some(*counter));
        assert_eq!(counters.get(*counter), count, "{counter:?}");
    }
    verdict
}

fn marked(sent: &[u8], mark: u8) -> Vec<u8> {
    let mut marked = sent.to_vec();
    marked[21] = sent[21] & 0xcf | mark << 4;
    marked
}

/// The sum of 16-bit words with that of the pseudo-header, modulo 65535.
fn sum(packet: &[u8], upper: &[u8]) -> u64 {
    let length = u64::try_from(packet.len() - 40).expect("a length");
    let words = packet[8..40].chunks(2).chain(upper.chunks(2));
    let words = words.map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    (words.sum::<u64>() + length + u64::from(packet[6])) % 0xffff
}

/// Where the checksum of a TCP or UDP packet is, if it has the pseudo-header's sum only.
fn unfinished(packet: &[u8]) -> Option<usize> {
    let at = match packet[6] {
        6 => 56,
        17 => 46,
        _ => return None,
    };
    let word = u64::from(*packet.get(at)?) << 8 | u64::from(*packet.get(at + 1)?);
    // The sum is never zero, so its remainder says all but 0 or 65535.
    (word != 0 && word % 0xffff == sum(packet, &[])).then_some(at)
}

fn check_sum(packet: &[u8]) {
    assert_eq!(sum(packet, &packet[40..]), 0, "checksum");
    assert!(packet[6] != 17 || packet[46..48] != [0, 0]);
}

/// Segments carry what the whole packet does, in order, and are no longer than they need be.
fn check_cut(whole: &[u8], segments: impl Iterator<Item = Vec<u8>>, limit: usize) {
    const ENDS: u8 = 0x09;
    const CWR: u8 = 0x80;
    let head = 40 + usize::from(whole[52] >> 4) * 4;
    let number = |packet: &[u8]| u32::from_be_bytes(packet[44..48].try_into().expect("four"));
    let mut data: Vec<u8> = Vec::new();
    let mut full = true;
    for segment in segments {
        check_sum(&segment);
        assert!(full && segment.len() > head && segment.len() <= limit);
        full = segment.len() == limit;
        let offset = number(&segment).wrapping_sub(number(whole));
        assert_eq!(usize::try_from(offset), Ok(data.len()));
        let first = data.is_empty();
        data.extend(&segment[head..]);
        let last = head + data.len() == whole.len();

        let mut expected = whole[..head].to_vec();
        let length = u16::try_from(segment.len() - 40).expect("a length");
        expected[4..6].copy_from_slice(&length.to_be_bytes());
        expected[44..48].copy_from_slice(&segment[44..48]);
        expected[53] &= !(if last { 0 } else { ENDS } | if first { 0 } else { CWR });
        expected[56..58].copy_from_slice(&segment[56..58]);
        assert_eq!(segment[..head], expected);
    }
    assert!(data == whole[head..], "other data");
}

/// Whether it is for the engine, and the ECN field that it leaves with; or why it is dropped.
fn expected(table: &Table, sent: &[u8]) -> Result<(bool, u8), Counter> {
    let rule = |broken: bool, counter| if broken { Err(counter) } else { Ok(()) };
    let word = |at: usize| usize::from(sent[at]) << 8 | usize::from(sent[at + 1]);
    let router = table.role == Role::Router;

    rule(sent.len() < 20, Counter::OuterMalformed)?;
    let end = word(2);
    let malformed = sent[0] >> 4 != 4 || sent[0] & 15 < 5 || sent[9] != 41;
    rule(malformed || end < 60 || end > sent.len(), Counter::OuterMalformed)?;
    rule(sent[0] != 0x45, Counter::OuterOptions)?;
    rule(word(6) & 0x3fff != 0, Counter::OuterFragment)?;
    let outer: [u8; 4] = sent[12..16].try_into().expect("four");
    rule(sent[16..20] != [192, 0, 2, 1], Counter::OuterDestination)?;
    rule(outer[0] == 0 || outer[0] == 127 || outer[0] >= 224, Counter::OuterSource)?;
    rule([[192, 0, 2, 1], [10, 9, 9, 9]].contains(&outer), Counter::OuterOwn)?;
    rule([[192, 0, 2, 255], [10, 9, 9, 255]].contains(&outer), Counter::OuterBroadcast)?;

    let inner = &sent[20..end];
    rule(inner[0] >> 4 != 6, Counter::InnerVersion)?;
    let payload = word(24);
    rule(payload == 0 && inner[6] == 0, Counter::InnerJumbo)?;
    rule(40 + payload > inner.len(), Counter::InnerLength)?;
    let inner = &inner[..40 + payload];

    let (source, destination) = (&inner[8..24], &inner[24..40]);
    let is_zero = |octets: &[u8]| octets.iter().all(|octet| *octet == 0);
    let odd = |a: &[u8]| is_zero(&a[..12]) || is_zero(&a[..10]) && a[10..12] == [0xff, 0xff];
    let ours = |a: &[u8]| table.own.iter().any(|own| own.octets() == a);
    let local = |a: &[u8]| a[0] == 0xfe && a[1] >> 6 == 2;
    rule(source[0] == 0xff || odd(source), Counter::InnerSource)?;
    rule(ours(source), Counter::InnerOwn)?;
    let on_link = source[..8] == [0xfe, 0x80, 0, 0, 0, 0, 0, 0]
        || source[..8] == [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1];
    let isatap = source[8] & 0xfd == 0 && source[9..12] == [0, 0x5e, 0xfe];
    let member = MEMBERS.contains(&outer);
    let by_neighbour = on_link && isatap && source[12..] == outer;
    let by_router = member && !local(source);
    rule(!by_neighbour && !by_router && on_link && isatap, Counter::SourceMismatch)?;
    rule(!by_neighbour && !by_router, Counter::SourceForeign)?;

    let seen = look_behind(inner);
    let mut group = [0; 16];
    group[0] = 0xff;
    group[1] = 2;
    if destination[0] == 0xff {
        let node = destination[15];
        let simple = destination[..15] == group[..15];
        let to_routers = router && simple && node == 2 && seen == Seen::Icmp(133, true);
        group[11] = 1;
        group[12] = 0xff;
        let solicited = destination[..13] == group[..13]
            && table.own.iter().any(|own| own.octets()[13..] == destination[13..]);
        let passes = simple && node == 1 || to_routers || solicited;
        rule(!passes, Counter::InnerDestination)?;
    } else if !ours(destination) {
        rule(!router || odd(destination), Counter::InnerDestination)?;
        rule(local(source) || local(destination), Counter::LinkLocalTransit)?;
    }

    // RFC 6324 section 3.3: 10.9.9.9 is private; section 3.2.3.
    let embeds = destination[8] & 0xfd == 0 && destination[9..12] == [0, 0x5e, 0xfe];
    let near = destination[..8] == [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1];
    let elsewhere = embeds && !near && !local(destination) && destination[12..] == [192, 0, 2, 1]
        || destination[..6] == [0x20, 2, 192, 0, 2, 1];
    let to: [u8; 4] = destination[12..].try_into().expect("four");
    let between = member && embeds && near && MEMBERS.contains(&to);
    rule(router && !ours(destination) && (elsewhere || between), Counter::LoopIn)?;

    // RFC 6040 figure 4, a row for each inner field in binary order; 9 for drop.
    let marks = [[0, 0, 0, 9], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]];
    let mark = marks[usize::from(inner[1] >> 4 & 3)][usize::from(sent[1] & 3)];
    rule(mark == 9, Counter::Congestion)?;

    rule(seen == Seen::Nothing, Counter::Extensions)?;
    match seen {
        Seen::Icmp(133..=137, false) => Err(Counter::HiddenDiscovery),
        Seen::Icmp(137, true) => Err(Counter::Redirect),
        Seen::Icmp(133, true) if !router => Err(Counter::Solicitation),
        Seen::Icmp(134, true) if !router && !member => Err(Counter::Advertisement),
        Seen::Icmp(133 | 134, true) => Ok((true, mark)),
        Seen::Icmp(136, true) => Ok((member && !router, mark)),
        _ => Ok((false, mark)),
    }
}

#[derive(PartialEq)]
enum Seen {
    /// ICMPv6 of this type, directly.
    Icmp(u8, bool),
    Else,
    Nothing,
}

/// What stands behind eight extension headers at most.
fn look_behind(inner: &[u8]) -> Seen {
    let (mut next, mut rest, mut passed) = (inner[6], &inner[40..], 0);
    while [0, 43, 44, 51, 60, 135].contains(&next) {
        if rest.len() < 8 {
            return Seen::Nothing;
        } else if next == 44 && (rest[2] != 0 || rest[3] > 7) {
            return Seen::Else;
        } else if passed == 8 {
            return Seen::Nothing;
        }
        let units = usize::from(rest[1]);
        let length = if next == 44 {
            8
        } else if next == 51 {
            4 * units + 8
        } else {
            8 * units + 8
        };
        next = rest[0];
        rest = rest.get(length..).unwrap_or(&[]);
        passed += 1;
    }
    match rest {
        _ if next != 58 => Seen::Else,
        [] => Seen::Nothing,
        [kind, ..] => Seen::Icmp(*kind, passed == 0),
    }
}
