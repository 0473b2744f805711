//! Advertisements and DNS replies, as octets.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An advertisement of this router lifetime and these options. Cur Hop Limit is 64.
pub(crate) fn advert(lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let header = vec![134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    [header, options.concat()].concat()
}

/// L
pub(crate) const ON_LINK: u8 = 0x80;
/// A
pub(crate) const AUTONOMOUS: u8 = 0x40;

/// Prefix Information: a /64.
pub(crate) fn prefix(prefix: &str, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    let head = vec![3, 4, 64, flags];
    let (valid, preferred) = (valid.to_be_bytes().to_vec(), preferred.to_be_bytes().to_vec());
    [head, valid, preferred, vec![0; 4], prefix.octets().to_vec()].concat()
}

/// Route Information; `flags` carry the preference: 0x08 high, 0 medium, 0x18 low.
pub(crate) fn route(prefix: &str, flags: u8, lifetime: u32) -> Vec<u8> {
    let net: ipnet::Ipv6Net = prefix.parse().unwrap();
    let head = vec![24, 3, net.prefix_len(), flags];
    [head, lifetime.to_be_bytes().to_vec(), net.addr().octets().to_vec()].concat()
}

/// MTU.
pub(crate) fn mtu(mtu: u32) -> Vec<u8> {
    [vec![5, 1, 0, 0], mtu.to_be_bytes().to_vec()].concat()
}

/// RDNSS of one server.
pub(crate) fn rdnss(server: Ipv6Addr, lifetime: u32) -> Vec<u8> {
    let lifetime = lifetime.to_be_bytes().to_vec();
    [vec![25, 3, 0, 0], lifetime, server.octets().to_vec()].concat()
}

/// DNSSL of one name of one label, at most 14 octets long.
pub(crate) fn dnssl(label: &str, lifetime: u32) -> Vec<u8> {
    let mut name = vec![u8::try_from(label.len()).unwrap()];
    name.extend(label.bytes());
    name.resize(16, 0);
    [vec![31, 3, 0, 0], lifetime.to_be_bytes().to_vec(), name].concat()
}

/// PREF64 of a /96; the lifetime counts 8 s.
pub(crate) fn pref64(prefix: Ipv6Addr, lifetime: u16) -> Vec<u8> {
    let scaled = (lifetime << 3).to_be_bytes().to_vec();
    [vec![38, 2], scaled, prefix.octets()[..12].to_vec()].concat()
}

/// What a name server says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Addresses(Vec<Ipv4Addr>, u32),
    /// The RCODE, without any record: 0 is no data, 1 format error, 2 failure, 3 no such name.
    Code(u8),
    Truncated,
}

/// The reply to `query`.
pub(crate) fn reply(query: &[u8], answer: &Answer) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
    let mut reply = query[..question_end].to_vec();
    let (records, ttl, code, truncated) = match answer {
        Answer::Addresses(addresses, ttl) => (addresses.as_slice(), *ttl, 0, 0),
        Answer::Code(code) => (&[][..], 0, *code, 0),
        Answer::Truncated => (&[][..], 0, 0, 0x02),
    };
    reply[2] = 0x81 | truncated;
    reply[3] = 0x80 | code;
    reply[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    reply[8..12].fill(0);
    for address in records {
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(ttl.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    reply
}

/// The name in the question of `query`.
pub(crate) fn question(query: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    labels.join(".")
}

/// Whether `query` has an EDNS record.
pub(crate) fn has_edns(query: &[u8]) -> bool {
    query[11] == 1
}
