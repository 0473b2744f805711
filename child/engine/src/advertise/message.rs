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
