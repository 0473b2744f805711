//! Router Advertisement (RFC 4861 section 4.2).

use std::time::Duration;

use isatapd_proto::Preference;

use super::nd_option::{Dnssl, Pref64, PrefixInformation, Rdnss, RouteInformation, Skipped};

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
