//! What the kernel writes to the TUN interface.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{Counter, Counters, Instant, Outbound, Path, Role};
use isatapd_proto::MtuMethod;

use super::tunnel::{ROUTER, check_error, table};

/// The first octet says which role and MTU method; the rest is the packet.
pub fn check(data: &[u8]) {
    let Some((settings, packet)) = data.split_first() else { return };
    let role = if settings & 1 == 0 { Role::Host } else { Role::Router };
    let method = if settings & 2 == 0 { MtuMethod::Static } else { MtuMethod::Dynamic };
    let counters = Arc::new(Counters::default());
    let mut path = Path::new(counters.clone(), Arc::default());
    path.publish(Arc::new(table(role, method)));

    let mut answer = [0; 1500];
    let now = Instant::since_boot(Duration::from_secs(1));
    let verdict = path.outbound(now, packet, &mut answer);
    assert_eq!(verdict, path.outbound(now, packet, &mut answer), "no state but the budget");
    let dropped: u64 =
        Counter::ALL.iter().filter(|c| c.is_drop()).map(|counter| counters.get(*counter)).sum();
    match verdict {
        Outbound::Send(outer) => {
            assert_eq!(dropped, 0);
            assert_eq!(packet.len(), 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])));
            assert!(packet.len() <= 1480);
            assert_eq!(outer.to, next_hop(packet));
            let first = outer.to.octets()[0];
            assert!(first != 0 && first != 127 && first < 224);
            assert!(!["192.0.2.1", "10.9.9.9", "192.0.2.255"].contains(&&*outer.to.to_string()));
            assert_eq!((outer.tos, outer.ttl), (packet[1] >> 4 & 3, None));
            assert_eq!(outer.fragment, method == MtuMethod::Static);
            let kernels = [130, 131, 132, 133, 134, 137, 143];
            assert!(packet[6] != 58 || !kernels.contains(&packet[40]));
            assert_ne!(packet[24], 0xff);
        }
        Outbound::Answer(length) => {
            assert_eq!(dropped, 2);
            assert_eq!(counters.get(Counter::Told), 2);
            match check_error(&answer[..length], packet) {
                (1, 0 | 2 | 3, 0) => (),
                (2, 0, 1480) => assert!(packet.len() > 1480),
                other => panic!("{other:?}"),
            }
            // RFC 4443 section 2.4 (e).
            assert!(packet[6] != 58 || packet[40] >= 128 && packet[40] != 137);
            assert!(packet[8] != 0xff && packet[24] != 0xff && packet[8..24] != [0; 16]);
        }
        Outbound::Drop(counter) => assert_eq!((dropped, counters.get(counter)), (2, 2)),
    }
}

/// Where a packet goes, by another reading.
fn next_hop(packet: &[u8]) -> Ipv4Addr {
    let to = &packet[24..40];
    match to {
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, rest @ ..]
        | [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1, rest @ ..] => {
            assert!(matches!(rest, [0 | 2, 0, 0x5e, 0xfe, ..]));
            Ipv4Addr::new(rest[4], rest[5], rest[6], rest[7])
        }
        [0x20, 1, 0x0d, 0xb8, 0, 5, ..] => Ipv4Addr::new(192, 0, 2, 11),
        _ => ROUTER,
    }
}
