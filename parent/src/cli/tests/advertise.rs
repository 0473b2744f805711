//! The router role's options.

use std::time::Duration;

use isatapd_proto::{
    Advertise, AdvertisedPrefix, AdvertisedRoute, Bounded, Lifetime, MAX_ADVERTISED,
    MAX_ADVERTISED_DNS, Preference,
};

use super::{error, options};

fn advertised(args: &str) -> Advertise {
    let args: Vec<_> =
        ["--advertise", "2001:db8::/64"].into_iter().chain(args.split(' ')).collect();
    options(&args.into_iter().filter(|arg| !arg.is_empty()).collect::<Vec<_>>()).advertise.unwrap()
}

fn secs(seconds: u32) -> Lifetime {
    Lifetime::from_secs(seconds)
}

fn prefix(text: &str) -> AdvertisedPrefix {
    AdvertisedPrefix {
        prefix: text.parse::<std::net::Ipv6Addr>().unwrap().try_into().unwrap(),
        valid: secs(2_592_000),
        preferred: secs(604_800),
        on_link: true,
        autonomous: true,
    }
}

fn route(text: &str) -> AdvertisedRoute {
    let destination = text.parse::<ipnet::Ipv6Net>().unwrap().try_into().unwrap();
    AdvertisedRoute { destination, lifetime: secs(1800), preference: Preference::Medium }
}

#[test]
fn defaults_are_those_of_rfc_4861() {
    let defaults = Advertise {
        lifetime: 1800.try_into().unwrap(),
        preference: Preference::Medium,
        hop_limit: 64,
        managed: false,
        other: false,
        reachable: 0.try_into().unwrap(),
        retrans_timer: 0,
        mtu: None,
        prefixes: Bounded::first_of([prefix("2001:db8::")]),
        routes: Bounded::new(),
        dns: Bounded::new(),
        domains: Bounded::new(),
        dns_lifetime: secs(1800),
        pref64: None,
    };
    assert_eq!(advertised(""), defaults);
    assert!(!options(&["--advertise", "fd00::/64"]).forward);
}

#[test]
fn all_that_can_be_advertised() {
    let typed = "--advertise fd00::/64,AdvValidLifetime=infinity,advpreferredlifetime=0,\
        AdvOnLinkFlag=off,AdvAutonomousFlag=off --advertise fd00:0:0:1::/64,AdvValidLifetime=7200 \
        --advertise-route ::/0 --advertise-route 2001:db8:1::/48,AdvRouteLifetime=60,\
        AdvRoutePreference=low --advertise-dns 2001:db8::53 --advertise-dns fe80::5efe:a00:1 \
        --advertise-domain Example.com. --advertise-domain example.org \
        --advertise-pref64 64:ff9b::/96 --forward";
    let got = advertised(typed);
    let old = AdvertisedPrefix {
        valid: Lifetime::INFINITE,
        preferred: Lifetime::ZERO,
        on_link: false,
        autonomous: false,
        ..prefix("fd00::")
    };
    let short =
        AdvertisedPrefix { valid: secs(7200), preferred: secs(7200), ..prefix("fd00:0:0:1::") };
    assert_eq!(got.prefixes, Bounded::first_of([prefix("2001:db8::"), old, short]));
    let low = AdvertisedRoute {
        lifetime: secs(60),
        preference: Preference::Low,
        ..route("2001:db8:1::/48")
    };
    assert_eq!(got.routes, Bounded::first_of([route("::/0"), low]));
    let dns = ["2001:db8::53", "fe80::5efe:a00:1"].map(|text| text.parse().unwrap());
    assert_eq!(got.dns, Bounded::first_of(dns));
    let domains = ["example.com", "example.org"].map(|text| text.parse().unwrap());
    assert_eq!(got.domains, Bounded::first_of(domains));
    assert_eq!(got.pref64, Some("64:ff9b::/96".parse().unwrap()));
    assert!(options(&["--forward", "--advertise", "fd00::/64"]).forward);
}

#[test]
fn every_variable() {
    let typed = "--advertise-set MaxRtrAdvInterval=100 --advertise-set MinRtrAdvInterval=75 \
        --advertise-set AdvDefaultLifetime=100 --advertise-set AdvDefaultPreference=high \
        --advertise-set AdvCurHopLimit=255 --advertise-set AdvManagedFlag=on \
        --advertise-set AdvOtherConfigFlag=on --advertise-set AdvReachableTime=3600000 \
        --advertise-set AdvRetransTimer=4294967295 --advertise-set AdvLinkMTU=1280";
    let got = advertised(typed);
    assert_eq!((got.lifetime.secs(), got.preference, got.hop_limit), (100, Preference::High, 255));
    assert!(got.managed && got.other);
    assert_eq!(got.reachable.duration(), Duration::from_hours(1));
    assert_eq!((got.retrans_timer, got.mtu.unwrap().get()), (u32::MAX, 1280));
    // By MaxRtrAdvInterval.
    assert_eq!(got.dns_lifetime, secs(300));

    let of = |typed: &str| {
        let got = advertised(typed);
        (got.lifetime.secs(), got.dns_lifetime)
    };
    assert_eq!(of("--advertise-set maxrtradvinterval=4"), (12, secs(12)));
    assert_eq!(of("--advertise-set MaxRtrAdvInterval=65535"), (65535, secs(65535)));
    assert_eq!(of("--advertise-set AdvDefaultLifetime=0"), (0, secs(1800)));
    assert_eq!(of("--advertise-set AdvRDNSSLifetime=5"), (1800, secs(5)));
    assert_eq!(of("--advertise-set AdvDNSSLLifetime=infinity"), (1800, Lifetime::INFINITE));
    // The last counts, and several may be in one.
    let twice = "--advertise-set AdvCurHopLimit=1,AdvLinkMTU=1400 --advertise-set AdvCurHopLimit=0,\
        AdvLinkMTU=0";
    let twice = advertised(twice);
    assert_eq!((twice.hop_limit, twice.mtu), (0, None));
    let thrice = "--advertise-set MaxRtrAdvInterval=200 --advertise-route fd00::/8";
    assert_eq!(advertised(thrice).routes[0].lifetime, secs(600));
}

#[test]
fn mistakes_are_told_in_one_line() {
    for (args, line) in [
        ("2001:db8::", "2001:db8::: not an IPv6 prefix"),
        ("10.0.0.0/8", "10.0.0.0/8: not an IPv6 prefix"),
        ("2001:db8::/48", "2001:db8::/48: not a /64, as addresses on the tunnel are formed of"),
        ("2001:db8::1/64", "2001:db8::1/64: bits set beyond the /64"),
        ("fe80::/64", "fe80::/64: a prefix outside 2000::/3 and fc00::/7"),
        ("fd00::/64,", "fd00::/64,: not NAME=VALUE"),
        ("fd00::/64,AdvValid=1", "fd00::/64,AdvValid=1: AdvValid: no such variable"),
        (
            "fd00::/64,AdvValidLifetime=1d",
            "fd00::/64,AdvValidLifetime=1d: AdvValidLifetime: not a number",
        ),
        ("fd00::/64,AdvOnLinkFlag=1", "fd00::/64,AdvOnLinkFlag=1: AdvOnLinkFlag: not on or off"),
        (
            "fd00::/64,AdvValidLifetime=60,AdvPreferredLifetime=61",
            "fd00::/64,AdvValidLifetime=60,AdvPreferredLifetime=61: AdvPreferredLifetime is above \
             AdvValidLifetime",
        ),
        ("2001:db8::/64", "2001:db8::/64: given twice"),
        (
            "fd00::/64 --backend kernel",
            "--backend kernel: not with --advertise; a router needs tun",
        ),
        ("fd00::/64 -N -m 1500", "--mtu 1500: above 1480, the most with --nopmtudisc"),
        ("--advertise-route fe80::/10", "fe80::/10: a destination never routed here"),
        ("--advertise-route fd00::1/8", "fd00::1/8: bits set beyond the prefix length"),
        (
            "--advertise-route fd00::/8,AdvRoutePreference=max",
            "fd00::/8,AdvRoutePreference=max: AdvRoutePreference: not low, medium or high",
        ),
        (
            "--advertise-route fd00::/8 --advertise-route fd00::/8,AdvRouteLifetime=0",
            "fd00::/8: given twice",
        ),
        ("--advertise-dns ff02::1", "ff02::1: an address that no host can ask"),
        ("--advertise-dns ::1", "::1: an address that no host can ask"),
        ("--advertise-dns 10.0.0.1", "10.0.0.1: not an IPv6 address"),
        ("--advertise-dns fd00::1 --advertise-dns fd00:0::1", "fd00::1: given twice"),
        ("--advertise-domain .", ".: a name with an empty label"),
        ("--advertise-domain a.b --advertise-domain A.B.", "a.b: given twice"),
        ("--advertise-pref64 fd00::/65", "fd00::/65: not of 32, 40, 48, 56, 64 or 96 bits"),
        ("--advertise-pref64 fd00::1/96", "fd00::1/96: bits set beyond the prefix length"),
        (
            "--advertise-pref64 fd00:0:0:0:100::/96",
            "fd00:0:0:0:100::/96: bits 64 to 71 are not zero",
        ),
        ("--advertise-pref64 ff00::/96", "ff00::/96: a destination never routed here"),
        ("--advertise-set AdvCurHopLimit", "AdvCurHopLimit: not NAME=VALUE"),
        ("--advertise-set Foo=1", "Foo=1: Foo: no such variable"),
        ("--advertise-set AdvCurHopLimit=256", "AdvCurHopLimit=256: AdvCurHopLimit: above 255"),
        ("--advertise-set MaxRtrAdvInterval=3", "MaxRtrAdvInterval=3: MaxRtrAdvInterval: below 4"),
        (
            "--advertise-set MaxRtrAdvInterval=65536",
            "MaxRtrAdvInterval=65536: MaxRtrAdvInterval: above 65535",
        ),
        ("--advertise-set MinRtrAdvInterval=2", "MinRtrAdvInterval=2: MinRtrAdvInterval: below 3"),
        (
            "--advertise-set MinRtrAdvInterval=451",
            "MinRtrAdvInterval=451: above 450, 0.75 of MaxRtrAdvInterval",
        ),
        (
            "--advertise-set AdvDefaultLifetime=599",
            "AdvDefaultLifetime=599: below MaxRtrAdvInterval, 600",
        ),
        (
            "--advertise-set AdvDefaultLifetime=0 --advertise-set AdvDefaultPreference=low",
            "AdvDefaultPreference: only medium with an AdvDefaultLifetime of 0",
        ),
        (
            "--advertise-set AdvReachableTime=3600001",
            "AdvReachableTime=3600001: AdvReachableTime: above 3600000",
        ),
        (
            "--advertise-set AdvRetransTimer=4294967296",
            "AdvRetransTimer=4294967296: AdvRetransTimer: too large",
        ),
        ("--advertise-set AdvLinkMTU=auto", "AdvLinkMTU=auto: AdvLinkMTU: not a number"),
        (
            "--advertise-set AdvLinkMTU=1279",
            "AdvLinkMTU=1279: AdvLinkMTU: below 1280, the least for IPv6",
        ),
        ("--advertise-set AdvManagedFlag=yes", "AdvManagedFlag=yes: AdvManagedFlag: not on or off"),
    ] {
        let args =
            if args.starts_with('-') { args.to_owned() } else { format!("--advertise {args}") };
        let mut typed = vec!["--advertise", "2001:db8::/64"];
        typed.extend(args.split(' '));
        let option = args.split(' ').next().unwrap();
        let line = if line.starts_with('-') { line.to_owned() } else { format!("{option} {line}") };
        assert_eq!(error(&typed), line);
    }
}

#[test]
fn a_host_advertises_nothing() {
    for option in [
        "--advertise-route=fd00::/8",
        "--advertise-dns=fd00::1",
        "--advertise-domain=a.b",
        "--advertise-pref64=64:ff9b::/96",
        "--advertise-set=AdvCurHopLimit=1",
        "--forward",
    ] {
        let name = option.split('=').next().unwrap();
        assert_eq!(error(&[option]), format!("{name}: only with --advertise"));
    }
}

#[test]
fn lists_have_an_end() {
    for (option, length, most) in [
        ("--advertise", "/64", MAX_ADVERTISED),
        ("--advertise-route", "/64", MAX_ADVERTISED),
        ("--advertise-dns", "", MAX_ADVERTISED_DNS),
    ] {
        let many = (0..=most).map(|n| format!("{option}=fd00:0:0:{n:x}::{length}"));
        let args: Vec<_> = ["--advertise=fc00::/64".to_owned()].into_iter().chain(many).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        assert_eq!(error(&args), format!("{option}: given more than {most} times"));
    }
}
