//! ND options: one walk, into typed values.

use std::net::Ipv6Addr;

use isatapd_proto::{HostName, Lifetime, Preference};
use ipnet::Ipv6Net;

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

/// How many options were left out, by reason; the rest of the message is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not for Router Advertisements, or unknown: no fault.
    pub unknown: u16,
    /// Wrong length for its type, or values that the RFC says to ignore.
    pub malformed: u16,
    /// More of a kind than are kept.
    pub excess: u16,
}
