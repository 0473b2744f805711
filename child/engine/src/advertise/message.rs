//! What is advertised: the configuration as the contents of an advertisement.

use std::time::Duration;

use isatapd_proto::{Advertise, Lifetime, MAX_ADVERTISED, Preference};

use crate::wire::nd_option::{Dnssl, Pref64, PrefixInformation, Rdnss, RouteInformation};
use crate::wire::router_advert::RouterAdvert;

/// Three times the default MaxRtrAdvInterval (RFC 4861 section 6.2.1): the lifetime of PREF64 of a
/// router that is no default router (RFC 8781 section 4.1).
const DEFAULT_LIFETIME: u16 = 1800;
/// The longest lifetime of PREF64, in seconds (RFC 8781 section 4).
const MAX_PREF64: u32 = 65_528;

/// What `config` says. A router that does not forward, or no longer, is neither a default router
/// (RFC 4861 section 6.2.5) nor one for more specific routes (RFC 4191 section 4) or NAT64.
pub(crate) fn contents(config: &Advertise, forwards: bool) -> RouterAdvert {
    let lifetime = if forwards { config.lifetime.secs() } else { 0 };
    let end = |lifetime| if forwards { lifetime } else { Lifetime::ZERO };
    let prefixes = config.prefixes.iter().map(|p| PrefixInformation {
        prefix: p.prefix.net(),
        on_link: p.on_link,
        autonomous: p.autonomous,
        valid: p.valid,
        preferred: p.preferred.min(p.valid),
    });
    let routes = config.routes.iter().map(|r| RouteInformation {
        prefix: r.destination.net(),
        preference: r.preference,
        lifetime: end(r.lifetime),
    });
    RouterAdvert {
        hop_limit: Some(config.hop_limit).filter(|limit| *limit > 0),
        managed: config.managed,
        other: config.other,
        // RFC 4191 section 2.2: with a lifetime of zero it is 00.
        preference: Some(if lifetime == 0 { Preference::Medium } else { config.preference }),
        router_lifetime: Duration::from_secs(lifetime.into()),
        reachable_time: Some(config.reachable.duration()).filter(|time| !time.is_zero()),
        retrans_timer: Some(config.retrans_timer)
            .filter(|time| *time > 0)
            .map(|time| Duration::from_millis(time.into())),
        mtu: config.mtu.map(|mtu| mtu.get().into()),
        prefixes: prefixes.collect(),
        routes: routes.collect(),
        rdnss: rdnss(config.dns.to_vec(), config.dns_lifetime),
        dnssl: dnssl(config.domains.to_vec(), config.dns_lifetime),
        pref64: config
            .pref64
            .map(|prefix| Pref64 { prefix: prefix.trunc(), lifetime: end(pref64_lifetime(config)) })
            .into_iter()
            .collect(),
        ..RouterAdvert::default()
    }
}

/// Of the router, in units of 8 seconds, rounded up (RFC 8781 section 4.1).
fn pref64_lifetime(config: &Advertise) -> Lifetime {
    let seconds = match config.lifetime.secs() {
        0 => DEFAULT_LIFETIME,
        seconds => seconds,
    };
    Lifetime::from_secs(u32::from(seconds).next_multiple_of(8).min(MAX_PREF64))
}

fn rdnss(servers: Vec<std::net::Ipv6Addr>, lifetime: Lifetime) -> Vec<Rdnss> {
    if servers.is_empty() { Vec::new() } else { vec![Rdnss { servers, lifetime }] }
}

fn dnssl(names: Vec<isatapd_proto::HostName>, lifetime: Lifetime) -> Vec<Dnssl> {
    if names.is_empty() { Vec::new() } else { vec![Dnssl { names, lifetime }] }
}

/// Adds to `now` what `before` has beyond it, with lifetimes of zero: hosts are to forget it. At
/// most so many of each kind as are advertised.
pub(crate) fn withdraw(before: &RouterAdvert, now: &mut RouterAdvert) {
    const ZERO: Lifetime = Lifetime::ZERO;
    let prefixes = gone(&before.prefixes, &now.prefixes, |p| p.prefix);
    let prefixes = prefixes.map(|p| PrefixInformation { valid: ZERO, preferred: ZERO, ..p });
    let routes = gone(&before.routes, &now.routes, |r| r.prefix);
    let routes = routes.map(|r| RouteInformation { lifetime: ZERO, ..r });
    let pref64 = gone(&before.pref64, &now.pref64, |p| p.prefix);
    let pref64 = pref64.map(|p| Pref64 { lifetime: ZERO, ..p });
    let servers = |advert: &RouterAdvert| -> Vec<_> {
        advert.rdnss.iter().flat_map(|option| option.servers.clone()).collect()
    };
    let names = |advert: &RouterAdvert| -> Vec<_> {
        advert.dnssl.iter().flat_map(|option| option.names.clone()).collect()
    };
    let servers = gone(&servers(before), &servers(now), Clone::clone).collect();
    let names = gone(&names(before), &names(now), Clone::clone).collect();
    let (prefixes, routes): (Vec<_>, Vec<_>) = (prefixes.collect(), routes.collect());
    let pref64: Vec<_> = pref64.collect();

    now.prefixes.extend(prefixes);
    now.routes.extend(routes);
    now.pref64.extend(pref64);
    now.rdnss.extend(rdnss(servers, ZERO));
    now.dnssl.extend(dnssl(names, ZERO));
}

/// What `now` lacks of `before`.
fn gone<T: Clone, K: PartialEq>(
    before: &[T],
    now: &[T],
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = T> {
    let lacks = move |old: &&T| !now.iter().any(|new| key(new) == key(old));
    before.iter().filter(lacks).take(MAX_ADVERTISED).cloned()
}

#[cfg(test)]
mod tests {
    use isatapd_proto::{AdvertisedPrefix, AdvertisedRoute, Bounded, HostName, OnLinkPrefix};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::wire::build::router_advertisements;
    use crate::wire::router_advert::parse;

    fn lifetime() -> impl Strategy<Value = Lifetime> {
        prop_oneof![Just(0), Just(u32::MAX), any::<u32>()].prop_map(Lifetime::from_secs)
    }

    fn preference() -> impl Strategy<Value = Preference> {
        select(&[Preference::Low, Preference::Medium, Preference::High][..])
    }

    prop_compose! {
        fn prefix()(
            net: u16,
            (valid, preferred) in (lifetime(), lifetime()),
            (on_link, autonomous) in any::<(bool, bool)>(),
        ) -> AdvertisedPrefix {
            let prefix = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, 0);
            let prefix = OnLinkPrefix::try_from(prefix).unwrap();
            AdvertisedPrefix { prefix, valid, preferred, on_link, autonomous }
        }
    }

    prop_compose! {
        fn route()(
            (net, length) in (any::<u16>(), 32..=128_u8),
            (lifetime, preference) in (lifetime(), preference()),
        ) -> AdvertisedRoute {
            let net = format!("2001:db8:{net:x}::/{length}").parse::<ipnet::Ipv6Net>().unwrap();
            let destination = net.trunc().try_into().unwrap();
            AdvertisedRoute { destination, lifetime, preference }
        }
    }

    fn name() -> impl Strategy<Value = HostName> {
        vec("[a-z]{1,60}", 1..5).prop_map(|labels| labels.join(".").parse().unwrap())
    }

    prop_compose! {
        fn config()(
            (seconds, hop_limit, managed, other) in any::<(u16, u8, bool, bool)>(),
            (preference, dns_lifetime) in (preference(), lifetime()),
            (reachable, retrans_timer) in (0..=3_600_000_u32, 100..=60_000_u32),
            mtu in option::of(1280..=u16::MAX),
            (prefixes, routes) in (vec(prefix(), 0..=16), vec(route(), 0..=16)),
            (dns, domains) in (vec(1..=u128::MAX >> 8, 0..=8), vec(name(), 0..=8)),
            length in option::of(select(&[32_u8, 40, 48, 56, 64, 96][..])),
        ) -> Advertise {
            let nat64 = std::net::Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
            let site = 0x2001_u128 << 112;
            Advertise {
                lifetime: seconds.try_into().unwrap_or(isatapd_proto::RouterLifetime::ZERO),
                preference,
                hop_limit,
                managed,
                other,
                reachable: reachable.try_into().unwrap(),
                retrans_timer,
                mtu: mtu.map(|mtu| mtu.try_into().unwrap()),
                prefixes: Bounded::first_of(prefixes),
                routes: Bounded::first_of(routes),
                dns: Bounded::first_of(dns.iter().map(|host| (site | (host >> 8)).into())),
                domains: Bounded::first_of(domains),
                dns_lifetime,
                pref64: length.map(|length| ipnet::Ipv6Net::new(nat64, length).unwrap()),
            }
        }
    }

    proptest! {
        /// F24: whatever is configured is advertised, all of it, once, and at any length.
        #[test]
        fn all_that_is_configured_is_advertised(config in config(), forwards: bool) {
            let messages = router_advertisements(&contents(&config, forwards));
            let adverts: Vec<_> = messages.iter().map(|octets| parse(octets).unwrap()).collect();
            prop_assert!(messages.iter().all(|message| message.len() <= 1240));
            for advert in &adverts {
                let lifetime = if forwards { config.lifetime.secs() } else { 0 };
                prop_assert_eq!(advert.router_lifetime, Duration::from_secs(lifetime.into()));
                let medium = lifetime == 0 || config.preference == Preference::Medium;
                prop_assert_eq!(advert.preference == Some(Preference::Medium), medium);
                prop_assert_eq!(advert.hop_limit.unwrap_or(0), config.hop_limit);
                prop_assert_eq!((advert.managed, advert.other), (config.managed, config.other));
                let reachable = advert.reachable_time.unwrap_or_default();
                prop_assert_eq!(reachable, config.reachable.duration());
                let retrans = advert.retrans_timer.unwrap().as_millis();
                prop_assert_eq!(retrans, config.retrans_timer.into());
                prop_assert_eq!((advert.skipped.malformed, advert.skipped.excess), (0, 0));
            }
            let all = |of: fn(&RouterAdvert) -> usize| adverts.iter().map(of).sum::<usize>();
            prop_assert_eq!(all(|a| a.mtu.iter().count()), config.mtu.iter().count());
            prop_assert_eq!(all(|a| a.pref64.len()), config.pref64.iter().count());
            prop_assert_eq!(all(|a| a.routes.len()), config.routes.len());
            let prefixes: Vec<_> = adverts.iter().flat_map(|a| &a.prefixes).collect();
            prop_assert_eq!(prefixes.len(), config.prefixes.len());
            for (sent, configured) in prefixes.iter().zip(config.prefixes.iter()) {
                prop_assert_eq!(sent.prefix, configured.prefix.net());
                prop_assert!(sent.valid == configured.valid && sent.preferred <= sent.valid);
            }
            let dns: Vec<_> = adverts.iter().flat_map(|a| &a.rdnss).flat_map(|o| &o.servers).collect();
            prop_assert_eq!(dns, config.dns.iter().collect::<Vec<_>>());
            let names: Vec<_> = adverts.iter().flat_map(|a| &a.dnssl).flat_map(|o| &o.names).collect();
            prop_assert_eq!(names, config.domains.iter().collect::<Vec<_>>());
        }

        /// What is withdrawn is what is no longer there, and nothing twice.
        #[test]
        fn what_went_is_withdrawn(before in config(), after in config()) {
            let (before, after) = (contents(&before, true), contents(&after, true));
            let mut sent = after.clone();
            withdraw(&before, &mut sent);
            prop_assert_eq!(&sent.prefixes[..after.prefixes.len()], &after.prefixes[..]);
            for gone in &sent.prefixes[after.prefixes.len()..] {
                prop_assert!(gone.valid.is_zero() && gone.preferred.is_zero());
                prop_assert!(!after.prefixes.iter().any(|p| p.prefix == gone.prefix));
            }
            for old in &before.routes {
                let now: Vec<_> = sent.routes.iter().filter(|r| r.prefix == old.prefix).collect();
                let stays = after.routes.iter().any(|r| r.prefix == old.prefix);
                prop_assert!(stays || now.iter().all(|route| route.lifetime.is_zero()));
                prop_assert!(!now.is_empty());
            }
            for server in before.rdnss.iter().flat_map(|option| &option.servers) {
                prop_assert!(sent.rdnss.iter().any(|option| option.servers.contains(server)));
            }
            for name in before.dnssl.iter().flat_map(|option| &option.names) {
                prop_assert!(sent.dnssl.iter().any(|option| option.names.contains(name)));
            }
            let live = sent.pref64.iter().filter(|option| !option.lifetime.is_zero()).count();
            prop_assert_eq!(live, after.pref64.len());
            let again = sent.clone();
            withdraw(&before, &mut sent);
            prop_assert_eq!(sent, again);
        }
    }
}
