//! What a router advertises: the variables of RFC 4861 section 6.2.1 as far as an ISATAP router has
//! a use for them, and the options of RFC 4191, 8106 and 8781.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::{
    Bounded, HostName, InvalidValue, Lifetime, MAX_ADVERTISED, MAX_ADVERTISED_DNS, Mtu,
    OnLinkPrefix, Preference, RouteDestination,
};

/// What a router advertises to those who solicit it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertise {
    /// AdvDefaultLifetime: whole seconds; zero: not a default router.
    pub lifetime: RouterLifetime,
    /// AdvDefaultPreference (RFC 4191); of no effect with a lifetime of zero.
    pub preference: Preference,
    /// AdvCurHopLimit; 0: unspecified.
    pub hop_limit: u8,
    /// AdvManagedFlag.
    pub managed: bool,
    /// AdvOtherConfigFlag.
    pub other: bool,
    /// AdvReachableTime; zero: unspecified.
    pub reachable: ReachableTime,
    /// AdvRetransTimer in milliseconds; 0: unspecified.
    pub retrans_timer: u32,
    /// AdvLinkMTU; `None`: no MTU option.
    pub mtu: Option<Mtu>,
    /// AdvPrefixList: no prefix twice.
    pub prefixes: Bounded<AdvertisedPrefix, MAX_ADVERTISED>,
    /// Route Information options (RFC 4191): no destination twice.
    pub routes: Bounded<AdvertisedRoute, MAX_ADVERTISED>,
    /// RDNSS (RFC 8106).
    pub dns: Bounded<Ipv6Addr, MAX_ADVERTISED_DNS>,
    /// DNSSL (RFC 8106).
    pub domains: Bounded<HostName, MAX_ADVERTISED_DNS>,
    /// AdvRDNSSLifetime and AdvDNSSLLifetime.
    pub dns_lifetime: Lifetime,
    /// PREF64 (RFC 8781): the NAT64 prefix, of 32, 40, 48, 56, 64 or 96 bits, with `lifetime`.
    pub pref64: Option<Ipv6Net>,
}

/// A Prefix Information option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisedPrefix {
    /// The prefix.
    pub prefix: OnLinkPrefix,
    /// AdvValidLifetime.
    pub valid: Lifetime,
    /// AdvPreferredLifetime; at most `valid`. Zero deprecates the prefix.
    pub preferred: Lifetime,
    /// AdvOnLinkFlag.
    pub on_link: bool,
    /// AdvAutonomousFlag.
    pub autonomous: bool,
}

/// A Route Information option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisedRoute {
    /// What is reached by the router.
    pub destination: RouteDestination,
    /// AdvRouteLifetime.
    pub lifetime: Lifetime,
    /// AdvRoutePreference.
    pub preference: Preference,
}

/// AdvDefaultLifetime: 0, or 4 to 65535 seconds (RFC 4861 section 6.2.1, RFC 8319 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct RouterLifetime(u16);

impl RouterLifetime {
    /// Not a default router.
    pub const ZERO: Self = Self(0);

    /// In seconds, as the wire has it.
    pub const fn secs(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for RouterLifetime {
    type Error = InvalidValue;

    fn try_from(seconds: u16) -> Result<Self, InvalidValue> {
        match seconds {
            1..=3 => Err(InvalidValue("neither 0 nor from 4 to 65535")),
            _ => Ok(Self(seconds)),
        }
    }
}

impl From<RouterLifetime> for u16 {
    fn from(lifetime: RouterLifetime) -> Self {
        lifetime.0
    }
}

/// AdvReachableTime: at most an hour (RFC 4861 section 6.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ReachableTime(u32);

impl ReachableTime {
    /// In milliseconds, as the wire has it.
    pub const fn millis(self) -> u32 {
        self.0
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.into())
    }
}

impl TryFrom<u32> for ReachableTime {
    type Error = InvalidValue;

    fn try_from(millis: u32) -> Result<Self, InvalidValue> {
        if millis <= 3_600_000 { Ok(Self(millis)) } else { Err(InvalidValue("above 3600000")) }
    }
}

impl From<ReachableTime> for u32 {
    fn from(time: ReachableTime) -> Self {
        time.0
    }
}
