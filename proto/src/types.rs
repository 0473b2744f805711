//! Values that cannot be wrong.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{MAX_NAME, MAX_NAME_SERVERS, MAX_ROUTERS};

/// A value outside its range; the text says what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidValue(pub &'static str);

/// An IPv4 address that can be an end of the tunnel: our locator or a router's V4ADDR(i) (RFC 5214).
///
/// Never 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, 240.0.0.0/4: the kernel's PRL would take them all, and
/// 0.0.0.0 empties the list when deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ipv4Addr", into = "Ipv4Addr")]
pub struct UnicastV4(Ipv4Addr);

impl UnicastV4 {
    /// The address.
    pub const fn get(self) -> Ipv4Addr {
        self.0
    }
}

impl TryFrom<Ipv4Addr> for UnicastV4 {
    type Error = InvalidValue;

    fn try_from(address: Ipv4Addr) -> Result<Self, InvalidValue> {
        match address.octets()[0] {
            0 => Err(InvalidValue("an address of 0.0.0.0/8")),
            127 => Err(InvalidValue("a loopback address")),
            224..=239 => Err(InvalidValue("a multicast address")),
            240..=255 => Err(InvalidValue("a reserved or broadcast address")),
            _ => Ok(Self(address)),
        }
    }
}

impl From<UnicastV4> for Ipv4Addr {
    fn from(address: UnicastV4) -> Ipv4Addr {
        address.0
    }
}

impl fmt::Display for UnicastV4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Defines a number with a range, checked when made and when decoded.
macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($inner:ty, $text:literal), $range:expr, $wrong:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = $text, into = $text)]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = InvalidValue;

            fn try_from(value: $inner) -> Result<Self, InvalidValue> {
                if ($range).contains(&value) { Ok(Self(value)) } else { Err(InvalidValue($wrong)) }
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> $inner {
                value.0
            }
        }
    };
}

ranged! {
    /// A place in the PRL, kept by a router as long as it is in the list: 0 to 63.
    Slot(u8, "u8"), 0..MAX_ROUTERS_U8, "slot above 63"
}

ranged! {
    /// One of the name servers of resolv.conf, in their order there: 0 to 2.
    ServerIndex(u8, "u8"), 0..MAX_NAME_SERVERS_U8, "name server above the third"
}

ranged! {
    /// A link MTU for IPv6, in octets: 1280 (RFC 8200 section 5) to 65535.
    Mtu(u16, "u16"), 1280..=u16::MAX, "MTU below 1280"
}

ranged! {
    /// The longest time until traffic leaves a router that has died: 1 to 60 seconds.
    RouterTimeout(u8, "u8"), 1..=60, "not from 1 to 60 s"
}

impl Slot {
    /// The place of this slot in a set of 64, a bit for each.
    pub const fn bit(self) -> u64 {
        1 << self.0
    }
}

impl RouterTimeout {
    /// As RFC 4861 section 10 has it, the three solicitations of a silent router are a second apart.
    pub const DEFAULT: Self = Self(6);
}

impl Mtu {
    /// The least that every IPv6 link has.
    pub const MIN: Self = Self(1280);
}

#[expect(clippy::cast_possible_truncation, reason = "a constant of 64")]
const MAX_ROUTERS_U8: u8 = MAX_ROUTERS as u8;
#[expect(clippy::cast_possible_truncation, reason = "a constant of 3")]
const MAX_NAME_SERVERS_U8: u8 = MAX_NAME_SERVERS as u8;

/// The number of a request; the answer carries it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seq(pub u32);

/// The child's handle for one DNS socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DnsId(pub u32);

/// How a DNS query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// After truncation (RFC 7766).
    Tcp,
}

/// Router or route preference (RFC 4191 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// 11
    Low,
    /// 00
    Medium,
    /// 01
    High,
}

/// A lifetime as the protocols carry it: whole seconds, all ones for infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lifetime(u32);

impl Lifetime {
    /// Never ends (RFC 4861 section 4.6.2).
    pub const INFINITE: Self = Self(u32::MAX);
    /// Has ended.
    pub const ZERO: Self = Self(0);

    /// So many seconds; `u32::MAX` is infinity.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// What is left of `duration`, rounded down; infinity only for `None`.
    pub fn of(duration: Option<Duration>) -> Self {
        duration.map_or(Self::INFINITE, |d| {
            Self(u32::try_from(d.as_secs()).unwrap_or(u32::MAX).min(u32::MAX - 1))
        })
    }

    /// `None` for infinity.
    pub fn duration(self) -> Option<Duration> {
        (self != Self::INFINITE).then(|| Duration::from_secs(self.0.into()))
    }

    /// As the kernel and the wire have it.
    pub const fn secs(self) -> u32 {
        self.0
    }

    /// Whether it has ended.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A /64 that addresses on the tunnel may be formed of: global unicast (2000::/3) or unique local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Addr", into = "Ipv6Addr")]
pub struct OnLinkPrefix(Ipv6Addr);

impl OnLinkPrefix {
    /// The prefix as a network.
    pub fn net(self) -> Ipv6Net {
        Ipv6Net::new_assert(self.0, 64)
    }
}

impl TryFrom<Ipv6Addr> for OnLinkPrefix {
    type Error = InvalidValue;

    fn try_from(prefix: Ipv6Addr) -> Result<Self, InvalidValue> {
        if prefix.octets()[8..] != [0; 8] {
            return Err(InvalidValue("bits set beyond the /64"));
        }
        if !is_global_or_unique_local(prefix) {
            return Err(InvalidValue("a prefix outside 2000::/3 and fc00::/7"));
        }
        Ok(Self(prefix))
    }
}

impl From<OnLinkPrefix> for Ipv6Addr {
    fn from(prefix: OnLinkPrefix) -> Ipv6Addr {
        prefix.0
    }
}

impl fmt::Display for OnLinkPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/64", self.0)
    }
}

/// What a route through the tunnel may reach: everything (::/0), or a network inside 2000::/3,
/// fc00::/7 or 64:ff9b::/32 (the NAT64 prefixes of RFC 6052 and RFC 8215). No bits beyond its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ipv6Net", into = "Ipv6Net")]
pub struct RouteDestination(Ipv6Net);

impl RouteDestination {
    /// ::/0
    pub const DEFAULT: Self = Self(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

    /// The destination as a network.
    pub const fn net(self) -> Ipv6Net {
        self.0
    }
}

impl TryFrom<Ipv6Net> for RouteDestination {
    type Error = InvalidValue;

    fn try_from(net: Ipv6Net) -> Result<Self, InvalidValue> {
        if net.trunc() != net {
            return Err(InvalidValue("bits set beyond the prefix length"));
        }
        if net == Self::DEFAULT.0 {
            return Ok(Self::DEFAULT);
        }
        let nat64 = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 32);
        let inside = match net.prefix_len() {
            0..3 => false,
            3..7 => net.addr().octets()[0] >> 5 == 1,
            _ => is_global_or_unique_local(net.addr()) || nat64.contains(&net),
        };
        if inside { Ok(Self(net)) } else { Err(InvalidValue("a destination never routed here")) }
    }
}

impl From<RouteDestination> for Ipv6Net {
    fn from(destination: RouteDestination) -> Ipv6Net {
        destination.0
    }
}

impl fmt::Display for RouteDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_global_or_unique_local(address: Ipv6Addr) -> bool {
    let first = address.octets()[0];
    first >> 5 == 1 || first >> 1 == 0xfc >> 1
}

/// A host name: labels of letters, digits, hyphens and underscores, 63 octets at most, 253 in all.
/// A final dot is kept: such a name is not searched for in the search list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidValue;

    fn try_from(name: String) -> Result<Self, InvalidValue> {
        let labels = name.strip_suffix('.').unwrap_or(&name);
        if labels.len() > MAX_NAME {
            return Err(InvalidValue("a name of more than 253 octets"));
        }
        for label in labels.split('.') {
            check_label(label)?;
        }
        // What looks like an address but is none is a mistake, not a name (RFC 1123 section 2.1).
        if labels.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())) {
            return Err(InvalidValue("neither a name nor an IPv4 address"));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

fn check_label(label: &str) -> Result<(), InvalidValue> {
    if label.is_empty() {
        return Err(InvalidValue("a name with an empty label"));
    }
    if label.len() > 63 {
        return Err(InvalidValue("a name with a label of more than 63 octets"));
    }
    if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(InvalidValue(
            "a name with other than letters, digits, hyphens and underscores",
        ));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(InvalidValue("a name with a label that begins or ends with a hyphen"));
    }
    Ok(())
}

impl FromStr for HostName {
    type Err = InvalidValue;

    fn from_str(name: &str) -> Result<Self, InvalidValue> {
        name.to_owned().try_into()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
