//! DNS replies.

use std::collections::BTreeSet;
use std::time::Duration;

use isatapd_engine::wire::dns::{DnsMalformed, MAX_REPLY, Reply, parse};
use isatapd_proto::HostName;

/// The name that the seeds are replies for.
const NAME: &str = "isatap.example.com";
/// RFC 8767 section 4.
const MAX_TTL: Duration = Duration::from_secs(604_800);

/// A reply is taken only with our id and for our question, and what it says stands in it.
pub fn check(data: &[u8]) {
    // The fuzzer need not guess the id.
    let id = data.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let result = parse(data, id, &host(NAME));
    if data.len() >= 12 && data.len() <= MAX_REPLY {
        assert_eq!(parse(data, id ^ 1, &host(NAME)), Err(DnsMalformed::Id));
    }
    let Ok(reply) = result else { return };
    assert!((12..=MAX_REPLY).contains(&data.len()));
    assert_eq!(data[2] & 0xf8, 0x80, "QR set, opcode 0");
    if reply != Reply::FormatError {
        let other = parse(data, id, &host("isatap.example.org"));
        assert_eq!(other, Err(DnsMalformed::Question));
        assert_eq!(question_end(data), 12 + NAME.len() + 2 + 4);
    }
    match reply {
        Reply::Addresses { addresses, ttl } => {
            assert!((1..=MAX_REPLY / 16).contains(&addresses.len()));
            assert!(ttl <= MAX_TTL);
            let sent: BTreeSet<&[u8]> =
                data.windows(6).filter_map(|window| window.strip_prefix(&[0, 4])).collect();
            assert!(addresses.iter().all(|address| sent.contains(&address.octets()[..])));
            let distinct: BTreeSet<_> = addresses.iter().collect();
            assert_eq!(distinct.len(), addresses.len());
        }
        Reply::NoData { ttl } | Reply::NoSuchName { ttl } => {
            assert!(ttl.is_none_or(|ttl| ttl <= MAX_TTL));
        }
        Reply::Truncated => assert_ne!(data[2] & 2, 0),
        Reply::ServerFailure(_) | Reply::FormatError => (),
    }
}

/// The end of the question, by another reading than the parser's: no pointer can stand in it.
fn question_end(data: &[u8]) -> usize {
    let mut at = 12;
    while data[at] != 0 {
        at += 1 + usize::from(data[at]);
    }
    at + 1 + 4
}

fn host(name: &str) -> HostName {
    name.parse().expect("a host name")
}
