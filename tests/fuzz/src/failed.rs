//! What IPv4 says of packets that did not pass.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{
    Consequence, Counter, Counters, Failure, Instant, Origin, Outbound, Path, Role,
};
use isatapd_proto::MtuMethod;

use super::tunnel::{OURS, check_error, ipv6, table, v6};

/// Role and MTU method, origin, ICMPv4 type and code, MTU, destination; the rest is quoted.
pub fn check(data: &[u8]) {
    let Some(([settings, origin, kind, code, a, b, c, d, to @ ..], quoted)) =
        data.split_first_chunk::<12>()
    else {
        return;
    };
    let role = if settings & 1 == 0 { Role::Host } else { Role::Router };
    let method = if settings & 2 == 0 { MtuMethod::Static } else { MtuMethod::Dynamic };
    let mtu = u32::from_be_bytes([*a, *b, *c, *d]);
    let origin = match origin % 3 {
        0 => Origin::Local,
        1 => Origin::TooLong { mtu },
        _ => Origin::Icmp { kind: *kind, code: *code, mtu },
    };
    let to = Ipv4Addr::from(*to);
    let counters = Arc::new(Counters::default());
    let mut path = Path::new(counters.clone(), Arc::default());
    path.publish(Arc::new(table(role, method)));
    let mut answer = [0; 1500];
    let now = Instant::since_boot(Duration::from_secs(1));
    let Consequence { answer: error, suspect } =
        path.failed(now, &Failure { to, origin, quoted }, &mut answer);

    let too_long = match origin {
        Origin::TooLong { .. } => true,
        Origin::Icmp { kind, code, .. } => kind == 3 && code == 4,
        Origin::Local => false,
    };
    let member = table(role, method).routers.iter().any(|(router, _)| router.get() == to);
    assert!(suspect.is_none_or(|suspect| suspect == to && member && !too_long));
    assert_eq!(counters.get(Counter::Told), u64::from(error.is_some()));
    if let Some(length) = error {
        let own = table(role, method).own;
        assert!(role == Role::Router || own.iter().any(|own| own.octets() == quoted[8..24]));
        match check_error(&answer[..length], quoted) {
            (1, 3, 0) => assert!(!too_long && suspect.is_some() == member),
            (2, 0, limit) => {
                assert!(too_long && method == MtuMethod::Dynamic);
                let path = if mtu == 0 { 576 } else { mtu };
                assert!(path >= 68);
                assert_eq!(limit, path.saturating_sub(20).clamp(1280, 1480));
                assert!(u32::from(u16::from_be_bytes([quoted[4], quoted[5]])) + 40 > limit);
            }
            other => panic!("{other:?}"),
        }
    }
    // Nothing that is said can stop a packet of 1280 octets.
    let least = ipv6(OURS, v6("2001:db8::"), 17, &[0; 1240]);
    assert!(matches!(path.outbound(now, &least, &mut answer), Outbound::Send(_)));
}
