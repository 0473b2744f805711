//! What a router advertises, from its options.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::Ipv6Addr;

use clap::Args;
use ipnet::Ipv6Net;
use isatapd_proto::{
    Advertise, AdvertisedPrefix, AdvertisedRoute, Bounded, HostName, InvalidValue, Lifetime,
    Preference, ReachableTime, RouteDestination, RouterLifetime,
};

use super::usage;
use super::values::{mtu, number};
use crate::exit::Fatal;

/// RFC 4861 section 6.2.1, in seconds.
const MAX_RTR_ADV_INTERVAL: u16 = 600;
/// The same; 30 days.
const ADV_VALID_LIFETIME: Lifetime = Lifetime::from_secs(2_592_000);
/// The same; 7 days.
const ADV_PREFERRED_LIFETIME: Lifetime = Lifetime::from_secs(604_800);
/// The same: what the host itself uses by default, of the list of assigned numbers.
const ADV_CUR_HOP_LIMIT: u8 = 64;

// The options of the router role. No doc comment here: it would be that of the program.
#[derive(Args)]
pub(super) struct Advertising {
    /// Be a router and advertise PREFIX/64[,NAME=VALUE...]; as many as wanted
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    advertise: Vec<AdvertisedPrefix>,
    /// Advertise a route, PREFIX[,NAME=VALUE...]; as many as wanted
    #[arg(long, value_name = "PREFIX", value_parser = route)]
    advertise_route: Vec<Route>,
    /// Advertise a name server; as many as wanted
    #[arg(long, value_name = "ADDRESS", value_parser = name_server)]
    advertise_dns: Vec<Ipv6Addr>,
    /// Advertise a search domain; as many as wanted
    #[arg(long, value_name = "NAME", value_parser = domain)]
    advertise_domain: Vec<HostName>,
    /// Advertise a NAT64 prefix
    #[arg(long, value_name = "PREFIX", value_parser = pref64)]
    advertise_pref64: Option<Ipv6Net>,
    /// Router variable of RFC 4861 to advertise with; as many as wanted
    #[arg(long, value_name = "NAME=VALUE")]
    advertise_set: Vec<String>,
    /// Have the host forward IPv6 as long as it is a router
    #[arg(long)]
    pub(super) forward: bool,
}

/// A Route Information option; the lifetime may depend on other options.
#[derive(Clone)]
struct Route {
    destination: RouteDestination,
    lifetime: Option<Lifetime>,
    preference: Preference,
}

impl Advertising {
    /// Whether this is to be a router.
    pub(super) const fn is_router(&self) -> bool {
        !self.advertise.is_empty()
    }

    /// What is advertised; `None` without `--advertise`: this is a host.
    pub(super) fn advertise(self) -> Result<Option<Advertise>, Fatal> {
        if !self.is_router() {
            return self
                .of_a_router()
                .map_or(Ok(None), |option| Err(usage(format!("{option}: only with --advertise"))));
        }
        distinct("--advertise", self.advertise.iter().map(|p| p.prefix))?;
        distinct("--advertise-route", self.advertise_route.iter().map(|r| r.destination))?;
        distinct("--advertise-dns", &self.advertise_dns)?;
        distinct("--advertise-domain", &self.advertise_domain)?;
        let mut variables = Variables::default();
        for text in &self.advertise_set {
            for_each_pair(Some(text), |name, value| variables.set(name, value))
                .map_err(|reason| usage(format!("--advertise-set {text}: {reason}")))?;
        }
        let base = variables.checked()?;
        let route = |route: Route| AdvertisedRoute {
            destination: route.destination,
            lifetime: route.lifetime.unwrap_or(Lifetime::from_secs(variables.thrice().into())),
            preference: route.preference,
        };
        let routes = self.advertise_route.into_iter().map(route).collect();
        Ok(Some(Advertise {
            prefixes: bounded("--advertise", self.advertise)?,
            routes: bounded("--advertise-route", routes)?,
            dns: bounded("--advertise-dns", self.advertise_dns)?,
            domains: bounded("--advertise-domain", self.advertise_domain)?,
            pref64: self.advertise_pref64,
            ..base
        }))
    }

    /// The first option that only a router has a use for.
    fn of_a_router(&self) -> Option<&'static str> {
        let given = [
            ("--advertise-route", !self.advertise_route.is_empty()),
            ("--advertise-dns", !self.advertise_dns.is_empty()),
            ("--advertise-domain", !self.advertise_domain.is_empty()),
            ("--advertise-pref64", self.advertise_pref64.is_some()),
            ("--advertise-set", !self.advertise_set.is_empty()),
            ("--forward", self.forward),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }
}

/// The router variables of RFC 4861 section 6.2.1, and what RFC 4191 and RFC 8106 add. Those whose
/// default hangs on another are not in `base` yet.
struct Variables {
    /// MaxRtrAdvInterval in seconds: only advertisements that nobody asked for are so far apart, and
    /// ISATAP has none, but defaults are counted in it.
    max_interval: u16,
    /// MinRtrAdvInterval in seconds.
    min_interval: Option<u16>,
    lifetime: Option<RouterLifetime>,
    dns_lifetime: Option<Lifetime>,
    base: Advertise,
}

impl Default for Variables {
    fn default() -> Self {
        let base = Advertise {
            lifetime: RouterLifetime::ZERO,
            preference: Preference::Medium,
            hop_limit: ADV_CUR_HOP_LIMIT,
            managed: false,
            other: false,
            reachable: ReachableTime::default(),
            retrans_timer: 0,
            mtu: None,
            prefixes: Bounded::new(),
            routes: Bounded::new(),
            dns: Bounded::new(),
            domains: Bounded::new(),
            dns_lifetime: Lifetime::ZERO,
            pref64: None,
        };
        let max_interval = MAX_RTR_ADV_INTERVAL;
        Self { max_interval, min_interval: None, lifetime: None, dns_lifetime: None, base }
    }
}

impl Variables {
    /// Sets the one of this `name`, in lower case.
    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidValue> {
        let base = &mut self.base;
        match name {
            "maxrtradvinterval" => self.max_interval = at_least(4, seconds(value)?, "below 4")?,
            "minrtradvinterval" => {
                self.min_interval = Some(at_least(3, seconds(value)?, "below 3")?);
            }
            "advdefaultlifetime" => self.lifetime = Some(seconds(value)?.try_into()?),
            "advdefaultpreference" => base.preference = preference(value)?,
            "advcurhoplimit" => {
                base.hop_limit =
                    number(value)?.try_into().map_err(|_| InvalidValue("above 255"))?;
            }
            "advmanagedflag" => base.managed = flag(value)?,
            "advotherconfigflag" => base.other = flag(value)?,
            "advreachabletime" => base.reachable = number(value)?.try_into()?,
            "advretranstimer" => base.retrans_timer = number(value)?,
            "advlinkmtu" => {
                // 0: none is advertised. There is no `auto`.
                number(value)?;
                base.mtu = mtu(value)?.0;
            }
            // They are one: either sets both.
            "advrdnsslifetime" | "advdnssllifetime" => self.dns_lifetime = Some(lifetime(value)?),
            _ => return Err(InvalidValue("no such variable")),
        }
        Ok(())
    }

    /// The default of RFC 4861 section 6.2.1 for the router, of RFC 8106 section 5.1 for DNS.
    fn thrice(&self) -> u16 {
        self.max_interval.saturating_mul(3)
    }

    /// All of them, if they fit each other.
    fn checked(&self) -> Result<Advertise, Fatal> {
        let wrong = |text: String| usage(format!("--advertise-set {text}"));
        let max = self.max_interval;
        // At most three quarters of it.
        let most = max.saturating_sub(max.div_ceil(4));
        if let Some(min) = self.min_interval.filter(|min| *min > most) {
            let text = format!("MinRtrAdvInterval={min}: above {most}, 0.75 of MaxRtrAdvInterval");
            return Err(wrong(text));
        }
        let lifetime = self.lifetime.map_or_else(|| self.thrice().try_into(), Ok);
        let lifetime = lifetime.map_err(|e: InvalidValue| wrong(e.to_string()))?;
        let seconds = lifetime.secs();
        if (1..max).contains(&seconds) {
            let text = format!("AdvDefaultLifetime={seconds}: below MaxRtrAdvInterval, {max}");
            return Err(wrong(text));
        }
        // RFC 4191 section 2.2.
        if seconds == 0 && self.base.preference != Preference::Medium {
            let text = "AdvDefaultPreference: only medium with an AdvDefaultLifetime of 0";
            return Err(wrong(text.to_owned()));
        }
        let dns_lifetime = self.dns_lifetime.unwrap_or(Lifetime::from_secs(self.thrice().into()));
        Ok(Advertise { lifetime, dns_lifetime, ..self.base.clone() })
    }
}

fn prefix(text: &str) -> Result<AdvertisedPrefix, String> {
    let (net, rest) = net(text)?;
    if net.prefix_len() != 64 {
        return Err("not a /64, as addresses on the tunnel are formed of".to_owned());
    }
    let prefix = net.addr().try_into().map_err(|e: InvalidValue| e.to_string())?;
    let (mut valid, mut preferred) = (ADV_VALID_LIFETIME, None);
    let (mut on_link, mut autonomous) = (true, true);
    for_each_pair(rest, |name, value| {
        match name {
            "advvalidlifetime" => valid = lifetime(value)?,
            "advpreferredlifetime" => preferred = Some(lifetime(value)?),
            "advonlinkflag" => on_link = flag(value)?,
            "advautonomousflag" => autonomous = flag(value)?,
            _ => return Err(InvalidValue("no such variable")),
        }
        Ok(())
    })?;
    let preferred = preferred.unwrap_or(ADV_PREFERRED_LIFETIME.min(valid));
    if preferred > valid {
        return Err("AdvPreferredLifetime is above AdvValidLifetime".to_owned());
    }
    Ok(AdvertisedPrefix { prefix, valid, preferred, on_link, autonomous })
}

fn route(text: &str) -> Result<Route, String> {
    let (net, rest) = net(text)?;
    let destination = net.try_into().map_err(|e: InvalidValue| e.to_string())?;
    let mut route = Route { destination, lifetime: None, preference: Preference::Medium };
    for_each_pair(rest, |name, value| {
        match name {
            "advroutelifetime" => route.lifetime = Some(lifetime(value)?),
            "advroutepreference" => route.preference = preference(value)?,
            _ => return Err(InvalidValue("no such variable")),
        }
        Ok(())
    })?;
    Ok(route)
}

fn name_server(text: &str) -> Result<Ipv6Addr, InvalidValue> {
    let address: Ipv6Addr = text.parse().map_err(|_| InvalidValue("not an IPv6 address"))?;
    let routed = RouteDestination::try_from(Ipv6Net::from(address)).is_ok();
    if routed || address.is_unicast_link_local() {
        Ok(address)
    } else {
        Err(InvalidValue("an address that no host can ask"))
    }
}

/// Search domains are whole without a final dot.
fn domain(text: &str) -> Result<HostName, InvalidValue> {
    text.strip_suffix('.').unwrap_or(text).parse()
}

fn pref64(text: &str) -> Result<Ipv6Net, String> {
    let (net, rest) = net(text)?;
    if rest.is_some() {
        return Err("takes no variables".to_owned());
    }
    // RFC 8781 section 4, RFC 6052 section 2.2.
    if !matches!(net.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96) {
        return Err("not of 32, 40, 48, 56, 64 or 96 bits".to_owned());
    }
    if net.addr().octets()[8] != 0 {
        return Err("bits 64 to 71 are not zero".to_owned());
    }
    RouteDestination::try_from(net).map_err(|e| e.to_string())?;
    Ok(net)
}

/// The prefix that `text` begins with, and what follows after a comma.
fn net(text: &str) -> Result<(Ipv6Net, Option<&str>), String> {
    let (net, rest) = text.split_once(',').map_or((text, None), |(n, rest)| (n, Some(rest)));
    let net = net.parse().map_err(|_| "not an IPv6 prefix")?;
    Ok((net, rest))
}

/// Hands each NAME=VALUE of `text`, with commas between, to `set`, the name in lower case.
fn for_each_pair(
    text: Option<&str>,
    mut set: impl FnMut(&str, &str) -> Result<(), InvalidValue>,
) -> Result<(), String> {
    text.into_iter().flat_map(|text| text.split(',')).try_for_each(|pair| {
        let (name, value) = pair.split_once('=').ok_or("not NAME=VALUE")?;
        set(&name.to_ascii_lowercase(), value).map_err(|reason| format!("{name}: {reason}"))
    })
}

fn lifetime(text: &str) -> Result<Lifetime, InvalidValue> {
    if text == "infinity" { Ok(Lifetime::INFINITE) } else { number(text).map(Lifetime::from_secs) }
}

/// At most 65535, for those that had less once too (RFC 8319 section 4).
fn seconds(text: &str) -> Result<u16, InvalidValue> {
    number(text)?.try_into().map_err(|_| InvalidValue("above 65535"))
}

fn at_least(least: u16, seconds: u16, wrong: &'static str) -> Result<u16, InvalidValue> {
    if seconds < least { Err(InvalidValue(wrong)) } else { Ok(seconds) }
}

fn flag(text: &str) -> Result<bool, InvalidValue> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(InvalidValue("not on or off")),
    }
}

fn preference(text: &str) -> Result<Preference, InvalidValue> {
    match text {
        "low" => Ok(Preference::Low),
        "medium" => Ok(Preference::Medium),
        "high" => Ok(Preference::High),
        _ => Err(InvalidValue("not low, medium or high")),
    }
}

fn distinct<T: Ord + Display>(
    option: &str,
    items: impl IntoIterator<Item = T>,
) -> Result<(), Fatal> {
    let mut seen = BTreeSet::new();
    for item in items {
        if let Some(twice) = seen.replace(item) {
            return Err(usage(format!("{option} {twice}: given twice")));
        }
    }
    Ok(())
}

fn bounded<T, const N: usize>(option: &str, items: Vec<T>) -> Result<Bounded<T, N>, Fatal> {
    items.try_into().map_err(|_| usage(format!("{option}: given more than {N} times")))
}
