//! What an operator's tool asks of the child, and what it is told: one packet each way.
//!
//! Both begin with [`VERSION`], so that a tool and a daemon of different builds can say so. All
//! lists are bounded and all values typed. The names of the fields are those of the tool's JSON.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::isatap::UBit;
use crate::{
    Backend, Bounded, HostName, InvalidValue, Lifetime, MAX_ADVERTISED, MAX_ON_LINK,
    MAX_ROUTER_SPECS, MAX_ROUTERS, MAX_ROUTES, Message, Mtu, Preference, Slot, Text, UnicastV4,
};

/// Raised with every change of what follows.
pub const VERSION: u16 = 2;
/// Octets of the longest [`Query`].
pub const MAX_QUERY: usize = 4096;
/// Octets of the longest [`Answer`]; 64 names need 42 KB, counters 12.
pub const MAX_ANSWER: usize = 81_920;
/// Addresses of one name that are shown, and routers that advertise one prefix.
pub const MAX_OF_ONE: usize = 16;
/// DNS servers, search domains and NAT64 prefixes that are shown, of each.
pub const MAX_LEARNT: usize = 16;
/// Counters of the engine and of the data path.
pub const MAX_COUNTERS: usize = 128;

/// [`VERSION`]; no other can be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Version;

impl TryFrom<u16> for Version {
    type Error = InvalidValue;

    fn try_from(version: u16) -> Result<Self, InvalidValue> {
        if version == VERSION { Ok(Self) } else { Err(InvalidValue("another version")) }
    }
}

impl From<Version> for u16 {
    fn from(_: Version) -> Self {
        VERSION
    }
}

/// The version that an encoded message begins with, whatever follows; `None`: too short for one.
pub fn version_of(octets: &[u8]) -> Option<u16> {
    octets.first_chunk().copied().map(u16::from_le_bytes)
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Ours.
    pub version: Version,
    /// What about.
    pub ask: Ask,
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// How things stand.
    Show,
    /// All counters.
    Counters,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Ours.
    pub version: Version,
    /// The answer itself.
    pub told: Told,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// To [`Ask::Show`].
    Show(Box<Show>),
    /// To [`Ask::Counters`]: all, also those that are zero.
    Counters(Counts),
    /// To a query of another version.
    OtherVersion,
    /// To any query, by the parent: the child has ended too often; another is started then.
    Restarting(Seconds),
}

impl Message for Query {
    const MAX: usize = MAX_QUERY;
}

impl Message for Answer {
    const MAX: usize = MAX_ANSWER;
}

/// Counters, in order.
pub type Counts = Bounded<Count, MAX_COUNTERS>;

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted.
    pub what: Text<80>,
    /// How often, since the child started.
    pub count: u64,
}

/// Whole seconds, from or until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seconds(pub u32);

impl Seconds {
    /// What is left of a lifetime; `None`: it never ends.
    pub fn left(lifetime: Lifetime) -> Option<Self> {
        (lifetime != Lifetime::INFINITE).then_some(Self(lifetime.secs()))
    }
}

/// How things stand. Times left are `None` if they never end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// Version of the child's build.
    pub version: Text<32>,
    /// The tunnel's interface; empty before the parent has told.
    pub name: Text<16>,
    /// What it is to the site.
    pub role: Role,
    /// Whether IPv6 works.
    pub working: bool,
    /// If not, why; one sentence.
    pub why: Text<300>,
    /// Who encapsulates; `None` without a tunnel.
    pub backend: Option<Backend>,
    /// Why it has this backend; without a tunnel, what it waits for.
    pub reason: Text<200>,
    /// Our end.
    pub locator: Option<UnicastV4>,
    /// The MTU of the interface.
    pub mtu: Option<Mtu>,
    /// Whether the host forwards IPv6.
    pub forwarding: bool,
    /// Names of routers.
    pub names: Bounded<Name, MAX_ROUTER_SPECS>,
    /// The Potential Router List, by slot.
    pub routers: Bounded<Router, MAX_ROUTERS>,
    /// Prefixes of routers.
    pub prefixes: Bounded<Prefix, MAX_ON_LINK>,
    /// Routes through the tunnel.
    pub routes: Bounded<Route, MAX_ROUTES>,
    /// RDNSS (RFC 8106).
    pub dns_servers: Bounded<Learnt<Ipv6Addr>, MAX_LEARNT>,
    /// DNSSL (RFC 8106).
    pub dns_domains: Bounded<Learnt<HostName>, MAX_LEARNT>,
    /// PREF64 (RFC 8781).
    pub nat64_prefixes: Bounded<Learnt<Ipv6Net>, MAX_LEARNT>,
    /// Router role: what is advertised.
    pub advertises: Option<Advertises>,
    /// Those that are not zero.
    pub counters: Counts,
}

/// What it is to the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Solicits.
    Host,
    /// Advertises.
    Router,
}

/// A name of routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// As configured.
    pub name: HostName,
    /// The full name that has the addresses; `None`: none has, or the hosts file.
    pub full_name: Option<HostName>,
    /// Whether the addresses are of the hosts file.
    pub hosts_file: bool,
    /// Time to live left.
    pub ttl: Option<Seconds>,
    /// How many addresses it has.
    pub count: u32,
    /// The first of them.
    pub addresses: Bounded<UnicastV4, MAX_OF_ONE>,
    /// What went wrong the last time.
    pub error: Option<Text<40>>,
    /// Whether it is being looked up.
    pub asking: bool,
    /// When it is looked up next; `None`: when the files change.
    pub next: Option<Seconds>,
}

/// A member of the Potential Router List.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// V4ADDR(i) (RFC 5214 section 8.1).
    pub address: UnicastV4,
    /// Its place; the route metric follows it.
    pub slot: Slot,
    /// How long ago its last advertisement came; `None`: never.
    pub heard: Option<Seconds>,
    /// The form of the link-local address that it answers by.
    pub u_bit: Option<UBit>,
    /// It is a default router.
    pub default_router: Option<DefaultRouter>,
    /// When it is solicited next; `None`: it cannot be reached now.
    pub next: Option<Seconds>,
    /// Whether it is not known to be unreachable.
    pub reachable: bool,
    /// When it is asked next whether it is reachable; `None`: when there is a reason.
    pub probe: Option<Seconds>,
    /// Solicitations since the last answer.
    pub unanswered: u32,
    /// What the system said to the last solicitation.
    pub error: Option<Text<64>>,
    /// MTU option.
    pub mtu: Option<Mtu>,
    /// Cur Hop Limit.
    pub hop_limit: Option<u8>,
    /// Flag M.
    pub managed: bool,
    /// Flag O.
    pub other: bool,
}

/// A default router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRouter {
    /// Router Lifetime left.
    pub left: Option<Seconds>,
    /// RFC 4191.
    pub preference: Preference,
}

/// A prefix that routers advertise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Our address of it.
    pub address: Option<Address>,
    /// Whether neighbours with this prefix are on the link.
    pub on_link: bool,
    /// Who advertises it: the first of them.
    pub by: Bounded<UnicastV4, MAX_OF_ONE>,
}

/// An address on the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `None` without a locator.
    pub ip: Option<Ipv6Addr>,
    /// Valid lifetime left.
    pub valid: Option<Seconds>,
    /// Preferred lifetime left.
    pub preferred: Option<Seconds>,
}

/// A route through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it reaches.
    pub destination: Ipv6Net,
    /// By which router; `None`: on the link.
    pub by: Option<Ipv4Addr>,
    /// RFC 4191.
    pub preference: Preference,
    /// Lifetime left.
    pub left: Option<Seconds>,
}

/// Something that a router advertises and that is only shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt<T> {
    /// What.
    pub value: T,
    /// Which router.
    pub by: UnicastV4,
    /// Lifetime left.
    pub left: Option<Seconds>,
}

/// Router role: what is advertised, and to how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertises {
    /// AdvDefaultLifetime; zero: not a default router.
    pub lifetime: Seconds,
    /// AdvDefaultPreference.
    pub preference: Preference,
    /// AdvPrefixList.
    pub prefixes: Bounded<Offer, MAX_ADVERTISED>,
    /// Hosts that solicited recently, as far as they are remembered.
    pub clients: u32,
    /// Advertisements that are to leave soon.
    pub pending: u32,
}

/// A prefix that is advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// AdvValidLifetime.
    pub valid: Option<Seconds>,
    /// AdvPreferredLifetime.
    pub preferred: Option<Seconds>,
}

#[cfg(test)]
mod tests;
