//! Router Advertisement (RFC 4861 section 4.2).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Type (134)  |    Code (0)   |            Checksum           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Cur Hop Limit |M|O|H|Prf|Resvd|        Router Lifetime        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Reachable Time (ms)                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Retrans Timer (ms)                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Options ...
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use isatapd_proto::Preference;
use pnet_packet::icmpv6::ndp::RouterAdvertPacket;
use thiserror::Error;

use super::nd_option::{
    Dnssl, Pref64, PrefixInformation, Rdnss, RouteInformation, Skipped, preference, walk,
};

/// ICMPv6 type (RFC 4861 section 4.2).
pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
/// Octets before the options.
pub(super) const HEADER: usize = 16;
pub(super) const MANAGED: u8 = 0x80;
pub(super) const OTHER: u8 = 0x40;
/// Reachable Times that are believed, in milliseconds.
const REACHABLE_TIME: RangeInclusive<u32> = 1..=3_600_000;
/// Retrans Timers that are believed, in milliseconds.
const RETRANS_TIMER: RangeInclusive<u32> = 100..=60_000;

/// A valid Router Advertisement: RFC 4861 section 6.1.2 holds but for hop limit and source, which
/// are the caller's to check before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvert {
    /// Cur Hop Limit; `None`: unspecified (0).
    pub hop_limit: Option<u8>,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: other configuration by DHCPv6.
    pub other: bool,
    /// Default router preference; reserved (10) is medium, and so is any with lifetime 0.
    pub preference: Option<Preference>,
    /// Router Lifetime, 0 to 65535 s: only of the default route.
    pub router_lifetime: Duration,
    /// Reachable Time; `None`: unspecified (0) or absurd (more than an hour).
    pub reachable_time: Option<Duration>,
    /// Retrans Timer; `None`: unspecified (0) or absurd (outside 100 ms to 60 s).
    pub retrans_timer: Option<Duration>,
    /// MTU option, as sent; the last one counts.
    pub mtu: Option<u32>,
    /// Prefix Information, in order.
    pub prefixes: Vec<PrefixInformation>,
    /// Route Information (RFC 4191), in order.
    pub routes: Vec<RouteInformation>,
    /// Recursive DNS servers (RFC 8106).
    pub rdnss: Vec<Rdnss>,
    /// DNS search lists (RFC 8106).
    pub dnssl: Vec<Dnssl>,
    /// NAT64 prefixes (RFC 8781).
    pub pref64: Vec<Pref64>,
    /// Options left out, by reason.
    pub skipped: Skipped,
}

/// Why a message is not used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Malformed {
    /// Its type is not 134.
    #[error("not a Router Advertisement")]
    NotAnAdvertisement,
    /// Its code is not 0.
    #[error("code not 0")]
    Code,
    /// It is shorter than 16 octets.
    #[error("too short")]
    TooShort,
    /// An option has length 0.
    #[error("option of length 0")]
    OptionLength,
    /// An option does not end inside the message.
    #[error("truncated option")]
    OptionTruncated,
    /// It has more than 256 options.
    #[error("too many options")]
    TooManyOptions,
}

/// Reads an ICMPv6 message from its type on. The kernel has verified its checksum.
///
/// The message is used as a whole or not at all; an option that is wrong in itself is skipped.
pub fn parse(icmp: &[u8]) -> Result<RouterAdvert, Malformed> {
    let [kind, code, ..] = *icmp else { return Err(Malformed::TooShort) };
    if kind != ROUTER_ADVERTISEMENT {
        return Err(Malformed::NotAnAdvertisement);
    }
    if code != 0 {
        return Err(Malformed::Code);
    }
    let (header, options) = icmp.split_at_checked(HEADER).ok_or(Malformed::TooShort)?;
    let header = RouterAdvertPacket::new(header).ok_or(Malformed::TooShort)?;

    let mut advert = parse_header(&header);
    for option in walk(options) {
        let (kind, body) = option?;
        advert.take_option(kind, body);
    }
    Ok(advert)
}

fn parse_header(header: &RouterAdvertPacket<'_>) -> RouterAdvert {
    let flags = header.get_flags();
    let lifetime = header.get_lifetime();
    // RFC 4191 section 2.2: reserved is medium, and with lifetime 0 the preference says nothing.
    let preference = preference(flags).filter(|_| lifetime > 0).unwrap_or(Preference::Medium);
    RouterAdvert {
        hop_limit: Some(header.get_hop_limit()).filter(|limit| *limit > 0),
        managed: flags & MANAGED != 0,
        other: flags & OTHER != 0,
        preference: Some(preference),
        router_lifetime: Duration::from_secs(lifetime.into()),
        reachable_time: milliseconds(header.get_reachable_time(), &REACHABLE_TIME),
        retrans_timer: milliseconds(header.get_retrans_time(), &RETRANS_TIMER),
        ..RouterAdvert::default()
    }
}

fn milliseconds(time: u32, believed: &RangeInclusive<u32>) -> Option<Duration> {
    believed.contains(&time).then(|| Duration::from_millis(time.into()))
}

#[cfg(test)]
mod tests;
