//! DNS messages (RFC 1035): a question for the IPv4 addresses of a name, and its answer.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::opt::{Opt, OptRecord};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Record, Ttl};
use domain::rdata::{A, Cname, Soa};
use isatapd_proto::HostName;
use thiserror::Error;

/// Octets of the longest reply read, in which there is room for 500 addresses.
pub const MAX_REPLY: usize = 8192;
/// Octets before the question.
const HEADER: usize = 12;
/// Octets of the longest datagram wanted (RFC 6891 section 6.2.5; no IP fragments on any link).
const UDP_PAYLOAD: u16 = 1232;
/// RFC 8767 section 4; also with the top bit set.
const MAX_TTL: Duration = Duration::from_hours(7 * 24);
/// Aliases followed.
const MAX_CHAIN: usize = 8;

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name has addresses. Any address: what cannot be a router is the caller's to refuse.
    Addresses {
        /// Each once, in order, at least one.
        addresses: Vec<Ipv4Addr>,
        /// The least of all records used; 0 to 2^31 - 1 s.
        ttl: Duration,
    },
    /// The name has no IPv4 address.
    NoData {
        /// How long that holds (RFC 2308 section 5), if the server says.
        ttl: Option<Duration>,
    },
    /// There is no such name.
    NoSuchName {
        /// How long that holds (RFC 2308 section 5), if the server says.
        ttl: Option<Duration>,
    },
    /// The server did not do it.
    ServerFailure(ServerFailure),
    /// The server does not know EDNS (RFC 6891 section 7): ask again without.
    FormatError,
    /// Not all of the answer fits: ask again by TCP.
    Truncated,
}

/// An RCODE that says nothing about the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFailure {
    /// SERVFAIL
    Failed,
    /// REFUSED
    Refused,
    /// Any other; 12 bits (RFC 6891 section 6.1.3).
    Other(u16),
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("SERVFAIL"),
            Self::Refused => f.write_str("REFUSED"),
            Self::Other(code) => write!(f, "RCODE {code}"),
        }
    }
}

/// Why a message is no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum DnsMalformed {
    /// More than 8 KiB.
    #[error("reply too long")]
    TooLong,
    /// No header, or a record that does not end inside the message or is wrong in itself.
    #[error("malformed reply")]
    Malformed,
    /// Another id.
    #[error("reply with another id")]
    Id,
    /// A query, or of another opcode.
    #[error("not a reply to a query")]
    NotAReply,
    /// To another question, to none, or to several.
    #[error("reply to another question")]
    Question,
    /// Aliases in a circle, or more than 8.
    #[error("too many aliases")]
    Chain,
}

/// A query for the IPv4 addresses of `name`, recursion desired; with `edns`, of replies up to 1232
/// octets. `None` if the name does not fit a message.
pub fn query(id: u16, name: &HostName, edns: bool) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    let header = builder.header_mut();
    header.set_id(id);
    header.set_rd(true);
    let mut builder = builder.question();
    let name: Name<Vec<u8>> = name.as_str().parse().ok()?;
    builder.push((name, Rtype::A)).ok()?;
    let mut builder = builder.additional();
    if edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_PAYLOAD);
                Ok(())
            })
            .ok()?;
    }
    Some(builder.finish())
}

/// The answer to `query` of this id and name. Octets after the last record are not looked at.
pub fn parse(reply: &[u8], id: u16, name: &HostName) -> Result<Reply, DnsMalformed> {
    if reply.len() > MAX_REPLY {
        return Err(DnsMalformed::TooLong);
    }
    let message = Message::from_slice(reply).map_err(|_| DnsMalformed::Malformed)?;
    let header = message.header();
    if header.id() != id {
        return Err(DnsMalformed::Id);
    }
    if !header.qr() || header.opcode() != Opcode::QUERY {
        return Err(DnsMalformed::NotAReply);
    }
    let unknown_format = matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
    // Who cannot read the question may leave it out.
    if unknown_format && message.header_counts().qdcount() == 0 {
        return Ok(Reply::FormatError);
    }
    check_question(message, name)?;
    match header.rcode() {
        _ if unknown_format => Ok(Reply::FormatError),
        Rcode::NOERROR | Rcode::NXDOMAIN if header.tc() => Ok(Reply::Truncated),
        Rcode::NOERROR | Rcode::NXDOMAIN => parse_records(message),
        Rcode::SERVFAIL => Ok(Reply::ServerFailure(ServerFailure::Failed)),
        Rcode::REFUSED => Ok(Reply::ServerFailure(ServerFailure::Refused)),
        code => Ok(Reply::ServerFailure(ServerFailure::Other(code.to_int().into()))),
    }
}

/// The question must be our own, octet for octet but for case (RFC 4343), and the only one.
fn check_question(message: &Message<[u8]>, name: &HostName) -> Result<(), DnsMalformed> {
    let asked = query(0, name, false).ok_or(DnsMalformed::Question)?;
    let asked = asked.get(HEADER..).unwrap_or_default();
    let sent = message.as_slice().get(HEADER..).and_then(|rest| rest.get(..asked.len()));
    match sent {
        // Lengths, type and class are below the letters.
        Some(sent)
            if message.header_counts().qdcount() == 1 && sent.eq_ignore_ascii_case(asked) =>
        {
            Ok(())
        }
        _ => Err(DnsMalformed::Question),
    }
}

type Wire<'a> = ParsedName<&'a [u8]>;
type Found<'a, T> = Vec<Record<Wire<'a>, T>>;

/// What the records of a message say, of those that concern us; each of them is whole.
#[derive(Default)]
struct Records<'a> {
    aliases: Found<'a, Cname<Wire<'a>>>,
    addresses: Found<'a, A>,
    authorities: Found<'a, Soa<Wire<'a>>>,
    code: Option<OptRcode>,
}

/// Walks all sections: a record that is missing or wrong in itself spoils the message.
fn read_records(message: &Message<[u8]>) -> Result<Records<'_>, ParseError> {
    let mut found = Records::default();
    let mut answer = message.answer()?;
    for record in answer.by_ref() {
        let record = record?;
        match record.rtype() {
            _ if record.class() != Class::IN => (),
            Rtype::A => found.addresses.extend(record.into_record()?),
            Rtype::CNAME => found.aliases.extend(record.into_record()?),
            _ => (),
        }
    }
    let Some(mut authority) = answer.next_section()? else { return Ok(found) };
    for record in authority.by_ref() {
        let record = record?;
        if record.rtype() == Rtype::SOA && record.class() == Class::IN {
            found.authorities.extend(record.into_record()?);
        }
    }
    let Some(additional) = authority.next_section()? else { return Ok(found) };
    for record in additional {
        if let Some(opt) = record?.into_record::<Opt<_>>()? {
            found.code = Some(OptRecord::from(opt).rcode(message.header()));
        }
    }
    Ok(found)
}

fn parse_records(message: &Message<[u8]>) -> Result<Reply, DnsMalformed> {
    let found = read_records(message).map_err(|_| DnsMalformed::Malformed)?;
    let asked = message.sole_question().map_err(|_| DnsMalformed::Question)?.into_qname();
    let (name, ttl) = found.follow_aliases(asked)?;
    match found.code.unwrap_or_else(|| message.header().rcode().into()) {
        OptRcode::NOERROR => Ok(found.addresses_of(&name, ttl)),
        OptRcode::NXDOMAIN => Ok(Reply::NoSuchName { ttl: found.negative_ttl(&name, ttl) }),
        OptRcode::BADVERS => Ok(Reply::FormatError),
        code => Ok(Reply::ServerFailure(ServerFailure::Other(code.to_int()))),
    }
}

impl<'a> Records<'a> {
    /// The name at the end of the chain, and the least TTL on the way.
    fn follow_aliases(&self, mut name: Wire<'a>) -> Result<(Wire<'a>, Duration), DnsMalformed> {
        let mut ttl = Duration::MAX;
        for _ in 0..=MAX_CHAIN {
            let Some(alias) = self.aliases.iter().find(|alias| *alias.owner() == name) else {
                return Ok((name, ttl));
            };
            ttl = ttl.min(seconds(alias.ttl()));
            name = *alias.data().cname();
        }
        Err(DnsMalformed::Chain)
    }

    fn addresses_of(&self, name: &Wire<'_>, mut ttl: Duration) -> Reply {
        let mut addresses = Vec::new();
        for record in self.addresses.iter().filter(|record| record.owner() == name) {
            ttl = ttl.min(seconds(record.ttl()));
            let address = record.data().addr();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            Reply::NoData { ttl: self.negative_ttl(name, ttl) }
        } else {
            Reply::Addresses { addresses, ttl }
        }
    }

    /// RFC 2308 section 5: the least of the SOA's own TTL, its MINIMUM, and `most`.
    fn negative_ttl(&self, name: &Wire<'_>, most: Duration) -> Option<Duration> {
        let soa = self.authorities.iter().find(|soa| name.ends_with(soa.owner()))?;
        Some(seconds(soa.ttl()).min(seconds(soa.data().minimum())).min(most))
    }
}

/// As long as it may be believed.
fn seconds(ttl: Ttl) -> Duration {
    Duration::from_secs(ttl.as_secs().into()).min(MAX_TTL)
}

#[cfg(test)]
mod tests;
