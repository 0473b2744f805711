//! Packets that a kernel left unfinished: each verdict is checked as the fuzz target does.

#[cfg(test)]
mod common;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "overflow fails the test")]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use isatapd_datapath::{Inbound, Instant, Path, Role};
    use isatapd_proto::MtuMethod;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::common::FAR;
    use super::common::checks::inbound::judge;
    use super::common::checks::tunnel::{LOCATOR, OURS, ROUTER, ipv4, ipv6, table, v6};

    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const BEYOND: &str = "2001:db8:8::1";

    /// The ones' complement sum of the pseudo-header and `octets`, folded to 16 bits.
    fn sum(to: Ipv6Addr, next: u8, octets: &[u8], length: usize) -> u16 {
        let pseudo = [&v6(FAR).octets()[..], &to.octets()].concat();
        let words = pseudo.chunks(2).chain(octets.chunks(2));
        let words = words.map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
        let mut sum = words.sum::<u32>() + u32::try_from(length).unwrap() + u32::from(next);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum.try_into().unwrap()
    }

    /// A segment of `data` with so many words of options and a checksum of 0.
    fn segment(flags: u8, options: usize, data: &[u8]) -> Vec<u8> {
        let offset = u8::try_from(5 + options).unwrap() << 4;
        let head = [1, 2, 3, 4, 0xff, 0xff, 0xfe, 0, 5, 6, 7, 8, offset, flags, 9, 9, 0, 0, 0, 0];
        [&head[..], &vec![1; 4 * options], data].concat()
    }

    /// What the receive offload makes of it: only the pseudo-header is summed.
    fn unfinished(to: Ipv6Addr, next: u8, mut upper: Vec<u8>) -> Vec<u8> {
        let at = if next == TCP { 16 } else { 6 };
        let pseudo = sum(to, next, &[], upper.len());
        upper[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        ipv4(ROUTER, LOCATOR, &ipv6(v6(FAR), to, next, &upper))
    }

    /// How many segments become of it; 0 if it is left whole.
    fn pieces(role: Role, datagram: &[u8]) -> usize {
        let mut copy = datagram.to_vec();
        match judge(table(role, MtuMethod::Dynamic), datagram) {
            Inbound::Deliver(_) => 0,
            Inbound::Cut(mut segments) => std::iter::from_fn(|| segments.next(&mut copy)).count(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn merged_tcp_is_cut() {
        for (role, to, flags, options, data, expected) in [
            (Role::Host, OURS, 0x10, 0, 0, 0),
            (Role::Host, OURS, 0x18, 3, 1408, 0),
            (Role::Host, OURS, 0x18, 3, 1409, 2),
            (Role::Host, OURS, 0x19, 3, 2 * 1408, 2),
            (Role::Host, OURS, 0x98, 10, 40_000, 29),
            (Role::Host, OURS, 0xd0, 0, 65_455, 47),
            (Role::Router, OURS, 0x10, 3, 2 * 1408, 2),
            // Forwarded: for each link.
            (Role::Router, v6(BEYOND), 0x10, 3, 1208, 0),
            (Role::Router, v6(BEYOND), 0x10, 3, 1209, 2),
            (Role::Router, v6(BEYOND), 0x10, 3, 2 * 1408, 3),
            // Never merged, as they cannot be: SYN, RST, URG.
            (Role::Host, OURS, 0x12, 0, 3000, 0),
            (Role::Host, OURS, 0x14, 0, 3000, 0),
            (Role::Host, OURS, 0x30, 0, 3000, 0),
        ] {
            let octets: Vec<u8> = (0..=250).cycle().take(data).collect();
            let packet = unfinished(to, TCP, segment(flags, options, &octets));
            assert_eq!(pieces(role, &packet), expected, "{role:?} {flags:x} {options} {data}");
        }
    }

    /// A header that is cut off, or says that it is shorter than it can be, is the receiver's matter.
    #[test]
    fn broken_tcp_is_not_cut() {
        for offset in [0, 4, 15] {
            let mut whole = segment(0x10, 0, &[0; 3000]);
            whole[12] = offset << 4;
            let expected = if offset == 15 { 3 } else { 0 };
            assert_eq!(pieces(Role::Host, &unfinished(OURS, TCP, whole)), expected);
        }
        for length in 18..20 {
            let packet = unfinished(OURS, TCP, segment(0x10, 0, &[])[..length].to_vec());
            assert_eq!(pieces(Role::Host, &packet), 0);
        }
    }

    /// What a host delivers of it, in one.
    fn delivered(datagram: &[u8]) -> Vec<u8> {
        let mut path = Path::new(Arc::default(), Arc::default());
        path.publish(table(Role::Host, MtuMethod::Dynamic).into());
        let mut copy = datagram.to_vec();
        let verdict = path.inbound(Instant::since_boot(Duration::ZERO), &mut copy);
        assert_eq!(verdict, Inbound::Deliver(20..datagram.len()));
        copy
    }

    /// What is whole stays as it is, however long: it was in fragments (RFC 4213 section 3.6).
    #[test]
    fn whole_packets_stay_whole() {
        for (next, at, length) in [(TCP, 16, 20), (TCP, 16, 4000), (UDP, 6, 8), (UDP, 6, 4000)] {
            let mut upper = segment(0x10, 0, &vec![0; 4000])[..length].to_vec();
            upper[at..at + 2].fill(0);
            let whole = !sum(OURS, next, &upper, length);
            for checksum in [whole, 0, 0xffff, whole ^ 1] {
                upper[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
                let packet = ipv4(ROUTER, LOCATOR, &ipv6(v6(FAR), OURS, next, &upper));
                assert_eq!(delivered(&packet), packet);
            }
        }
    }

    /// A whole checksum that happens to be the pseudo-header's sum stays; a zero of UDP does not.
    #[test]
    fn checksums_that_look_otherwise() {
        let pseudo = sum(OURS, UDP, &[], 12);
        for (checksum, expected) in [(pseudo, pseudo), (0, 0xffff), (1, 1)] {
            let mut upper = vec![0x12, 0x34, 0, 0x35, 0, 12, 0, 0, 0, 0, 0, 0];
            // The last word makes up what is missing.
            let missing = u32::from(!checksum) + 0xffff - u32::from(sum(OURS, UDP, &upper, 12));
            let word = u16::try_from(missing % 0xffff).unwrap();
            upper[10..].copy_from_slice(&word.to_be_bytes());
            let packet = delivered(&unfinished(OURS, UDP, upper));
            assert_eq!(packet[66..68], u16::to_be_bytes(expected), "{checksum}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_is_the_same(
            router in any::<bool>(),
            beyond in any::<bool>(),
            next in prop_oneof![4 => Just(TCP), 1 => Just(UDP)],
            flags in any::<u8>(),
            options in 0_usize..=10,
            data in vec(any::<u8>(), 0..9000),
        ) {
            let role = if router { Role::Router } else { Role::Host };
            let to = if router && beyond { v6(BEYOND) } else { OURS };
            pieces(role, &unfinished(to, next, segment(flags, options, &data)));
        }
    }
}
