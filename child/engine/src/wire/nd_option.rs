//! ND options: one walk, into typed values.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |    Length     |   Length: of the whole option, in units of 8 octets
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Body ...
//! ```

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use isatapd_proto::{HostName, Lifetime, Preference};

use super::cursor::Cursor;
use super::router_advert::{Malformed, RouterAdvert};

/// Options of one message.
const MAX_OPTIONS: usize = 256;
/// What is kept of one message.
const MAX_PREFIXES: usize = 32;
const MAX_ROUTES: usize = 64;
const MAX_RDNSS: usize = 8;
const MAX_DNSSL: usize = 8;
const MAX_PREF64: usize = 8;
/// What is kept of one RDNSS or DNSSL option.
const MAX_SERVERS: usize = 8;
const MAX_NAMES: usize = 8;

/// Option types (RFC 4861 section 4.6; RFC 4191; RFC 8106; RFC 8781).
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
pub(super) const PREFIX_INFORMATION: u8 = 3;
pub(super) const MTU: u8 = 5;
pub(super) const ROUTE_INFORMATION: u8 = 24;
pub(super) const RECURSIVE_DNS_SERVER: u8 = 25;
pub(super) const DNS_SEARCH_LIST: u8 = 31;
pub(super) const NAT64_PREFIX: u8 = 38;

/// Flags L and A of Prefix Information.
pub(super) const ON_LINK: u8 = 0x80;
pub(super) const AUTONOMOUS: u8 = 0x40;

/// Prefix Information (RFC 4861 section 4.6.2), as sent but for the bits beyond its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix, masked.
    pub prefix: Ipv6Net,
    /// L
    pub on_link: bool,
    /// A
    pub autonomous: bool,
    /// Valid Lifetime
    pub valid: Lifetime,
    /// Preferred Lifetime
    pub preferred: Lifetime,
}

/// Route Information (RFC 4191 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInformation {
    /// The destination, masked.
    pub prefix: Ipv6Net,
    /// Never reserved: such an option is skipped.
    pub preference: Preference,
    /// Zero withdraws.
    pub lifetime: Lifetime,
}

/// Recursive DNS servers (RFC 8106 section 5.1); at least one, all unicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdnss {
    /// The servers.
    pub servers: Vec<Ipv6Addr>,
    /// Zero withdraws.
    pub lifetime: Lifetime,
}

/// DNS search list (RFC 8106 section 5.2); at least one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dnssl {
    /// The names, without final dot.
    pub names: Vec<HostName>,
    /// Zero withdraws.
    pub lifetime: Lifetime,
}

/// NAT64 prefix (RFC 8781).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pref64 {
    /// /96, /64, /56, /48, /40 or /32
    pub prefix: Ipv6Net,
    /// 0 to 65528 s; zero withdraws.
    pub lifetime: Lifetime,
}

impl Pref64 {
    /// Prefix lengths by their code (RFC 8781 section 4).
    pub(super) const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];
}

/// How many options were left out, by reason; the rest of the message is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not for Router Advertisements, or unknown: no fault.
    pub unknown: u16,
    /// Wrong length for its type, or values that the RFC says to ignore.
    pub malformed: u16,
    /// More of a kind than are kept, or cut short because more is in it than is kept.
    pub excess: u16,
}

/// The options in order, as type and body. The first error ends it.
pub(super) fn walk(options: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), Malformed>> {
    let mut left = Cursor::new(options);
    let mut count: usize = 0;
    std::iter::from_fn(move || {
        if left.rest().is_empty() {
            return None;
        }
        count = count.saturating_add(1);
        let option = if count > MAX_OPTIONS {
            Err(Malformed::TooManyOptions)
        } else {
            next_option(&mut left)
        };
        if option.is_err() {
            left = Cursor::new(&[]);
        }
        Some(option)
    })
}

fn next_option<'a>(left: &mut Cursor<'a>) -> Result<(u8, &'a [u8]), Malformed> {
    let [kind, units] = left.array().ok_or(Malformed::OptionTruncated)?;
    // Endless loops are made of this (RFC 4861 section 4.6).
    let body = (usize::from(units) << 3).checked_sub(2).ok_or(Malformed::OptionLength)?;
    left.take(body).map(|body| (kind, body)).ok_or(Malformed::OptionTruncated)
}

impl RouterAdvert {
    pub(super) fn take_option(&mut self, kind: u8, body: &[u8]) {
        let skipped = &mut self.skipped;
        match kind {
            SOURCE_LINK_LAYER_ADDRESS | TARGET_LINK_LAYER_ADDRESS => (),
            PREFIX_INFORMATION => keep(&mut self.prefixes, MAX_PREFIXES, skipped, |_| prefix(body)),
            MTU => match mtu(body) {
                Some(mtu) => self.mtu = Some(mtu),
                None => count(&mut skipped.malformed),
            },
            ROUTE_INFORMATION => keep(&mut self.routes, MAX_ROUTES, skipped, |_| route(body)),
            RECURSIVE_DNS_SERVER => {
                keep(&mut self.rdnss, MAX_RDNSS, skipped, |skipped| rdnss(body, skipped));
            }
            DNS_SEARCH_LIST => {
                keep(&mut self.dnssl, MAX_DNSSL, skipped, |skipped| dnssl(body, skipped));
            }
            NAT64_PREFIX => keep(&mut self.pref64, MAX_PREF64, skipped, |_| pref64(body)),
            _ => count(&mut skipped.unknown),
        }
    }
}

fn count(counter: &mut u16) {
    *counter = counter.saturating_add(1);
}

/// Reads an option unless enough of its kind are kept.
fn keep<T>(
    kept: &mut Vec<T>,
    most: usize,
    skipped: &mut Skipped,
    read: impl FnOnce(&mut Skipped) -> Option<T>,
) {
    if kept.len() >= most {
        count(&mut skipped.excess);
    } else if let Some(option) = read(skipped) {
        kept.push(option);
    } else {
        count(&mut skipped.malformed);
    }
}

/// The preference in a flags octet (RFC 4191 section 2.1); `None` if reserved.
pub(super) const fn preference(flags: u8) -> Option<Preference> {
    match (flags >> 3) & 0b11 {
        0b00 => Some(Preference::Medium),
        0b01 => Some(Preference::High),
        0b11 => Some(Preference::Low),
        _ => None,
    }
}

fn network(address: [u8; 16], length: u8) -> Option<Ipv6Net> {
    Ipv6Net::new(address.into(), length).ok().map(|net| net.trunc())
}

/// Prefix length, flags, two lifetimes, reserved, prefix: length 4 and no other.
fn prefix(body: &[u8]) -> Option<PrefixInformation> {
    let body: &[u8; 30] = body.try_into().ok()?;
    let mut fields = Cursor::new(body);
    let [length, flags] = fields.array()?;
    let valid = Lifetime::from_secs(fields.u32()?);
    let preferred = Lifetime::from_secs(fields.u32()?);
    let _reserved = fields.u32()?;
    Some(PrefixInformation {
        prefix: network(fields.array()?, length)?,
        on_link: flags & ON_LINK != 0,
        autonomous: flags & AUTONOMOUS != 0,
        valid,
        preferred,
    })
}

/// Reserved, MTU: length 1 and no other.
fn mtu(body: &[u8]) -> Option<u32> {
    let body: &[u8; 6] = body.try_into().ok()?;
    let mut fields = Cursor::new(body);
    let _reserved = fields.u16()?;
    fields.u32()
}

/// Prefix length, flags, lifetime, and as much of the prefix as its length needs, or more: 0, 8 or
/// 16 octets. An option too short for its prefix length would read its neighbour as prefix.
fn route(body: &[u8]) -> Option<RouteInformation> {
    let mut fields = Cursor::new(body);
    let [length, flags] = fields.array()?;
    let lifetime = Lifetime::from_secs(fields.u32()?);
    let mut address = [0; 16];
    let sent = fields.rest();
    let needed = match length {
        0 => 0,
        1..=64 => 8,
        _ => 16,
    };
    if sent.len() < needed {
        return None;
    }
    address.get_mut(..sent.len())?.copy_from_slice(sent);
    Some(RouteInformation {
        prefix: network(address, length)?,
        preference: preference(flags)?,
        lifetime,
    })
}

/// Reserved, lifetime, addresses. Those that are not unicast are left out.
fn rdnss(body: &[u8], skipped: &mut Skipped) -> Option<Rdnss> {
    let mut fields = Cursor::new(body);
    let _reserved = fields.u16()?;
    let lifetime = Lifetime::from_secs(fields.u32()?);
    let (addresses, []) = fields.rest().as_chunks() else { return None };
    let addresses = addresses.iter().map(|address: &[u8; 16]| Ipv6Addr::from(*address));
    let mut unicast = addresses.filter(|address| is_unicast(*address));
    let servers: Vec<_> = unicast.by_ref().take(MAX_SERVERS).collect();
    if unicast.next().is_some() {
        count(&mut skipped.excess);
    }
    (!servers.is_empty()).then_some(Rdnss { servers, lifetime })
}

fn is_unicast(address: Ipv6Addr) -> bool {
    !address.is_multicast()
        && !address.is_unspecified()
        && !address.is_loopback()
        && address.to_ipv4_mapped().is_none()
}

/// Reserved, lifetime, names, zeros. One wrong name and the option is not used.
fn dnssl(body: &[u8], skipped: &mut Skipped) -> Option<Dnssl> {
    let mut fields = Cursor::new(body);
    let _reserved = fields.u16()?;
    let lifetime = Lifetime::from_secs(fields.u32()?);
    let mut names = Vec::new();
    let mut excess = false;
    while fields.rest().first().is_some_and(|octet| *octet != 0) {
        let name = name(&mut fields)?;
        if names.len() < MAX_NAMES {
            names.push(name);
        } else {
            excess = true;
        }
    }
    if names.is_empty() || fields.rest().iter().any(|octet| *octet != 0) {
        return None;
    }
    if excess {
        count(&mut skipped.excess);
    }
    Some(Dnssl { names, lifetime })
}

/// An uncompressed name (RFC 1035 section 3.1) of host name labels. `HostName` checks its length
/// and its hyphens; a dot inside a label must not get that far.
fn name(fields: &mut Cursor<'_>) -> Option<HostName> {
    let mut name = String::new();
    loop {
        let label = match fields.u8()? {
            0 => return name.try_into().ok(),
            length @ 1..=63 => fields.take(length.into())?,
            // Compression (RFC 1035 section 4.1.4) or an extended label.
            64.. => return None,
        };
        if !label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(str::from_utf8(label).ok()?);
    }
}

/// Scaled lifetime (13 bits, in 8 s) and prefix length code (3 bits), 96 bits of prefix.
fn pref64(body: &[u8]) -> Option<Pref64> {
    let body: &[u8; 14] = body.try_into().ok()?;
    let mut fields = Cursor::new(body);
    let scaled = fields.u16()?;
    let length = Pref64::LENGTHS.get(usize::from(scaled & 0b111))?;
    let mut address = [0; 16];
    address.get_mut(..12)?.copy_from_slice(fields.rest());
    Some(Pref64 {
        prefix: network(address, *length)?,
        lifetime: Lifetime::from_secs((scaled & !0b111).into()),
    })
}

#[cfg(test)]
mod tests;
