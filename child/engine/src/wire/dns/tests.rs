#![allow(clippy::arithmetic_side_effects, reason = "small numbers of our own")]

use super::*;

const ID: u16 = 0x1234;
const NAME: &str = "isatap.example.com";
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
/// A pointer to the name in the question.
const ASKED: &[u8] = &[0xc0, 12];

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// A record of class IN.
fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, data].concat()
}

fn alias(owner: &str, target: &str, ttl: u32) -> Vec<u8> {
    record(&wire(owner), CNAME, ttl, &wire(target))
}

/// A reply with these flags, counts of the three sections and records.
fn reply(flags: u16, counts: [u16; 3], records: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = [ID, flags, 1].map(u16::to_be_bytes).concat();
    octets.extend(counts.map(u16::to_be_bytes).concat());
    octets.extend(wire(NAME));
    octets.extend([0, 1, 0, 1]);
    octets.extend(records.concat());
    octets
}

/// A reply without error, of answers only.
fn answer(records: &[Vec<u8>]) -> Vec<u8> {
    reply(0x8180, [u16::try_from(records.len()).unwrap(), 0, 0], records)
}

fn read(octets: &[u8]) -> Result<Reply, DnsMalformed> {
    parse(octets, ID, &host(NAME))
}

/// The addresses and the TTL in seconds.
fn addresses(octets: &[u8]) -> (Vec<Ipv4Addr>, u64) {
    match read(octets) {
        Ok(Reply::Addresses { addresses, ttl }) => (addresses, ttl.as_secs()),
        other => panic!("{other:?}"),
    }
}

const IP: [u8; 4] = [192, 0, 2, 1];

#[test]
fn query_octets() {
    let question = [&wire(NAME)[..], &[0, 1, 0, 1]].concat();
    let header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let plain = [&header[..], &question].concat();
    assert_eq!(query(ID, &host("Isatap.Example.COM."), false), Some(plain.clone()));
    let mut edns = plain;
    edns[11] = 1;
    edns.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(query(ID, &host(NAME), true), Some(edns));
}

#[test]
fn query_of_the_longest_name() {
    let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    assert_eq!(query(ID, &host(&name), false).unwrap().len(), 12 + 255 + 4);
}

#[test]
fn addresses_in_order_each_once() {
    let other = record(ASKED, A, 60, &[10, 0, 0, 9]);
    let octets = answer(&[other.clone(), record(ASKED, A, 300, &IP), other]);
    let expected = vec![Ipv4Addr::new(10, 0, 0, 9), IP.into()];
    assert_eq!(addresses(&octets), (expected, 60));
}

#[test]
fn as_many_addresses_as_there_are() {
    let records: Vec<_> = (0..200).map(|i| record(ASKED, A, 300, &[10, 0, 0, i])).collect();
    let expected: Vec<_> = (0..200).map(|i| Ipv4Addr::new(10, 0, 0, i)).collect();
    assert_eq!(addresses(&answer(&records)), (expected, 300));
}

#[test]
fn a_ttl_is_a_week_at_most() {
    const WEEK: u64 = 604_800;
    for (ttl, expected) in [
        (0, 0),
        (604_799, WEEK - 1),
        (604_801, WEEK),
        (0x7fff_ffff, WEEK),
        (0x8000_0000, WEEK),
        (u32::MAX, WEEK),
    ] {
        assert_eq!(addresses(&answer(&[record(ASKED, A, ttl, &IP)])).1, expected);
    }
}

#[test]
fn only_records_of_the_name_and_class() {
    let mut chaos = record(ASKED, A, 1, &[10, 0, 0, 3]);
    chaos[5] = 3;
    let octets = answer(&[
        record(&wire("isatap.example.org"), A, 1, &[10, 0, 0, 1]),
        record(&wire("example.com"), A, 1, &[10, 0, 0, 2]),
        chaos,
        record(&wire("ISATAP.example.COM"), A, 300, &IP),
        record(ASKED, 28, 1, &[0; 16]),
    ]);
    assert_eq!(addresses(&octets), (vec![IP.into()], 300));
}

#[test]
fn addresses_elsewhere_do_not_count() {
    let record = record(ASKED, A, 300, &IP);
    for counts in [[0, 1, 0], [0, 0, 1]] {
        let octets = reply(0x8180, counts, std::slice::from_ref(&record));
        assert_eq!(read(&octets), Ok(Reply::NoData { ttl: None }));
    }
}

/// A chain of `length` aliases to an address, in any order.
fn chain(length: u32, reverse: bool) -> Vec<u8> {
    let name = |i| if i == 0 { NAME.to_owned() } else { format!("alias{i}.example") };
    let mut records: Vec<_> =
        (0..length).map(|i| alias(&name(i), &name(i + 1), 1000 - i)).collect();
    records.push(record(&wire(&name(length)), A, 2000, &IP));
    if reverse {
        records.reverse();
    }
    answer(&records)
}

#[test]
fn aliases() {
    for reverse in [false, true] {
        for length in 1..=8 {
            let expected = (vec![IP.into()], u64::from(1001 - length));
            assert_eq!(addresses(&chain(length, reverse)), expected);
        }
        assert_eq!(read(&chain(9, reverse)), Err(DnsMalformed::Chain));
    }
    let to_nowhere = answer(&[alias(NAME, "b.example", 60), record(ASKED, A, 300, &IP)]);
    assert_eq!(read(&to_nowhere), Ok(Reply::NoData { ttl: None }));
}

#[test]
fn aliases_in_a_circle() {
    let itself = answer(&[alias(NAME, NAME, 60), record(ASKED, A, 300, &IP)]);
    assert_eq!(read(&itself), Err(DnsMalformed::Chain));
    let two = answer(&[alias(NAME, "b.example", 60), alias("b.example", NAME, 60)]);
    assert_eq!(read(&two), Err(DnsMalformed::Chain));
}

#[test]
fn negative_answers() {
    let numbers = [1, 2, 3, 4, 120].map(u32::to_be_bytes).concat();
    let data = [wire("ns.example.com"), wire("root.example.com"), numbers].concat();
    let ours = [record(&wire("example.com"), SOA, 900, &data)];
    let other = [record(&wire("example.org"), SOA, 900, &data)];
    let ttl = Some(Duration::from_secs(120));
    assert_eq!(read(&reply(0x8180, [0, 1, 0], &ours)), Ok(Reply::NoData { ttl }));
    assert_eq!(read(&reply(0x8183, [0, 1, 0], &ours)), Ok(Reply::NoSuchName { ttl }));
    let [soa] = &ours;
    let aliased = [alias(NAME, "b.example.com", 60), soa.clone()];
    let ttl = Some(Duration::from_secs(60));
    assert_eq!(read(&reply(0x8183, [1, 1, 0], &aliased)), Ok(Reply::NoSuchName { ttl }));
    assert_eq!(read(&reply(0x8183, [0, 1, 0], &other)), Ok(Reply::NoSuchName { ttl: None }));
    assert_eq!(read(&reply(0x8183, [0, 0, 0], &[])), Ok(Reply::NoSuchName { ttl: None }));
}

#[test]
fn errors_of_the_server() {
    use ServerFailure::{Failed, Other, Refused};
    for (code, text) in [(Failed, "SERVFAIL"), (Refused, "REFUSED"), (Other(9), "RCODE 9")] {
        assert_eq!(code.to_string(), text);
    }
    for code in 0..16 {
        let expected = match code {
            0 => Reply::NoData { ttl: None },
            1 | 4 => Reply::FormatError,
            2 => Reply::ServerFailure(Failed),
            3 => Reply::NoSuchName { ttl: None },
            5 => Reply::ServerFailure(Refused),
            _ => Reply::ServerFailure(Other(code)),
        };
        assert_eq!(read(&reply(0x8180 | code, [0, 0, 0], &[])), Ok(expected));
        let mut bare = reply(0x8180 | code, [0, 0, 0], &[]);
        bare.truncate(12);
        bare[5] = 0;
        let expected = Err(DnsMalformed::Question);
        assert_eq!(
            read(&bare),
            if code == 1 || code == 4 { Ok(Reply::FormatError) } else { expected }
        );
    }
}

#[test]
fn extended_codes() {
    for (upper, expected) in [
        (0, Reply::NoData { ttl: None }),
        (1, Reply::FormatError),
        (2, Reply::ServerFailure(ServerFailure::Other(32))),
    ] {
        let mut opt = record(&[0], 41, upper << 24, &[]);
        opt[3..5].copy_from_slice(&1232_u16.to_be_bytes());
        assert_eq!(read(&reply(0x8180, [0, 0, 1], &[opt])), Ok(expected));
    }
}

#[test]
fn truncated() {
    let whole = reply(0x8380, [3, 0, 0], &[record(ASKED, A, 300, &IP)]);
    assert_eq!(read(&whole), Ok(Reply::Truncated));
    assert_eq!(read(&whole[..40]), Ok(Reply::Truncated));
    assert_eq!(read(&reply(0x8382, [0, 0, 0], &[])), read(&reply(0x8182, [0, 0, 0], &[])));
}

#[test]
fn replies_to_something_else() {
    let good = answer(&[record(ASKED, A, 300, &IP)]);
    assert_eq!(parse(&good, ID ^ 0x100, &host(NAME)), Err(DnsMalformed::Id));
    assert_eq!(parse(&good, ID, &host("isatap.example.org")), Err(DnsMalformed::Question));
    assert_eq!(parse(&good, ID, &host("isatap.example")), Err(DnsMalformed::Question));
    // Offsets in the message, and what stands there instead.
    for (at, octet, expected) in [
        (2, 0x01, DnsMalformed::NotAReply),
        (2, 0x89, DnsMalformed::NotAReply),
        (5, 0, DnsMalformed::Question),
        (5, 2, DnsMalformed::Question),
        (13, b'x', DnsMalformed::Question),
        (33, 28, DnsMalformed::Question),
        (35, 3, DnsMalformed::Question),
    ] {
        let mut octets = good.clone();
        octets[at] = octet;
        assert_eq!(read(&octets), Err(expected), "octet {at}");
    }
    let mut octets = good;
    octets[13..19].copy_from_slice(b"iSaTaP");
    assert_eq!(addresses(&octets).0, [Ipv4Addr::from(IP)]);
}

/// RFC 9267: what ends in the wrong place, or points anywhere but backwards.
#[test]
fn malformed_records() {
    let good = record(ASKED, A, 300, &IP);
    let mut lengths = vec![good[..12].to_vec()];
    for length in [0, 1, 3, 5, 255] {
        let mut octets = good.clone();
        octets[11] = length;
        octets.resize(12 + usize::from(length).min(16), 0);
        lengths.push(octets);
    }
    // Names: to themselves, forwards, beyond the end, reserved kinds, no end. A record begins at
    // octet 36, its data at 48.
    for name in [[0xc0, 60], [0xff, 0xff], [0x40, 0], [0x80, 0], [63, b'a']] {
        lengths.push(record(&name, A, 300, &IP));
        lengths.push(record(ASKED, CNAME, 300, &name));
    }
    for at in [36, 37] {
        lengths.push(record(&[0xc0, at], A, 300, &IP));
        lengths.push(record(ASKED, CNAME, 300, &[0xc0, at + 12]));
    }
    lengths.push(record(ASKED, CNAME, 300, &[&wire("a.example")[..], &[0]].concat()));
    lengths.push(record(&[&[1, b'a'].repeat(127)[..], &[0]].concat(), A, 300, &IP));
    for octets in lengths {
        let reply = answer(&[octets]);
        let result = read(&reply);
        // A name of 255 octets is the longest that there is, and no malformed one.
        let longest = reply.len() == 36 + 255 + 14;
        let expected =
            if longest { Ok(Reply::NoData { ttl: None }) } else { Err(DnsMalformed::Malformed) };
        assert_eq!(result, expected, "{reply:02x?}");
    }
}

/// A compression bomb: names over pointer after pointer, each backwards.
#[test]
fn pointers_are_bounded() {
    for (hops, expected) in
        [(200, Ok(Reply::NoData { ttl: None })), (300, Err(DnsMalformed::Malformed))]
    {
        // The data of the first record, at octet 48: a root label, then pointers to the one before.
        let mut data = vec![0];
        let mut last = 48_u16;
        for hop in 0..hops {
            data.extend((0xc000 | last).to_be_bytes());
            last = 49 + 2 * hop;
        }
        let bomb = record(ASKED, 99, 1, &data);
        let owner = (0xc000 | last).to_be_bytes();
        assert_eq!(read(&answer(&[bomb, record(&owner, A, 300, &IP)])), expected, "{hops} hops");
    }
}

#[test]
fn wrong_counts() {
    let records = [record(ASKED, A, 300, &IP)];
    for counts in [[2, 0, 0], [u16::MAX, 0, 0], [1, 1, 0], [1, 0, 1], [1, u16::MAX, u16::MAX]] {
        assert_eq!(read(&reply(0x8180, counts, &records)), Err(DnsMalformed::Malformed));
    }
    let more = [&answer(&records)[..], b"more"].concat();
    assert_eq!(addresses(&more).0, [Ipv4Addr::from(IP)]);
}

#[test]
fn every_prefix() {
    let whole = chain(3, false);
    for end in 0..whole.len() {
        let expected =
            if (12..36).contains(&end) { DnsMalformed::Question } else { DnsMalformed::Malformed };
        assert_eq!(read(&whole[..end]), Err(expected), "{end} octets");
    }
}

#[test]
fn too_long() {
    let mut octets = answer(&[record(ASKED, A, 300, &IP)]);
    octets.resize(MAX_REPLY, 0);
    assert_eq!(addresses(&octets).0.len(), 1);
    octets.push(0);
    assert_eq!(read(&octets), Err(DnsMalformed::TooLong));
}
