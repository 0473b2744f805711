use isatapd_proto::control::{Address, Count, DefaultRouter, Offer, Route};
use isatapd_proto::{Bounded, Text, UnicastV4};

use super::*;

fn v4(last: u8) -> UnicastV4 {
    std::net::Ipv4Addr::new(192, 0, 2, last).try_into().unwrap()
}

fn one<T, const N: usize>(item: T) -> Bounded<T, N> {
    Bounded::first_of([item])
}

/// Nothing is known yet.
pub(crate) fn empty() -> Show {
    Show {
        version: Text::cut("1.0.0"),
        name: Text::cut(""),
        role: Role::Host,
        working: false,
        why: Text::cut("no router is known; isatap: no such name"),
        backend: None,
        reason: Text::cut(""),
        locator: None,
        mtu: None,
        forwarding: false,
        names: Bounded::new(),
        routers: Bounded::new(),
        prefixes: Bounded::new(),
        routes: Bounded::new(),
        dns_servers: Bounded::new(),
        dns_domains: Bounded::new(),
        nat64_prefixes: Bounded::new(),
        advertises: None,
        counters: Bounded::new(),
    }
}

/// Something of everything.
pub(crate) fn full() -> Show {
    let left = Some(Seconds(5400));
    let prefix: ipnet::Ipv6Net = "2001:db8:0:1::/64".parse().unwrap();
    let name = Name {
        name: "isatap".parse().unwrap(),
        full_name: Some("isatap.site.example".parse().unwrap()),
        hosts_file: false,
        ttl: Some(Seconds(590)),
        count: 3,
        addresses: Bounded::first_of([v4(1), v4(2)]),
        error: None,
        asking: false,
        next: Some(Seconds(90_061)),
    };
    let heard = Router {
        address: v4(1),
        slot: 0.try_into().unwrap(),
        heard: Some(Seconds(12)),
        u_bit: Some(UBit::Local),
        default_router: Some(DefaultRouter { left, preference: Preference::High }),
        next: Some(Seconds(1200)),
        reachable: true,
        probe: None,
        unanswered: 0,
        error: None,
        mtu: Some(1400.try_into().unwrap()),
        hop_limit: Some(64),
        managed: true,
        other: true,
    };
    let silent = Router {
        address: v4(200),
        slot: 1.try_into().unwrap(),
        heard: None,
        u_bit: None,
        default_router: None,
        next: None,
        reachable: false,
        probe: Some(Seconds(16)),
        unanswered: 4,
        error: Some(Text::cut("No route to host")),
        mtu: None,
        hop_limit: None,
        managed: false,
        other: false,
    };
    let ip = "2001:db8:0:1:0:5efe:192.0.2.9".parse().ok();
    let address = Some(Address { ip, valid: None, preferred: left });
    let near = "2001:db8:0:2::/64".parse().unwrap();
    let by = Some(v4(1).get());
    let (high, medium) = (Preference::High, Preference::Medium);
    Show {
        name: Text::cut("is0"),
        role: Role::Router,
        working: true,
        why: Text::cut(""),
        backend: Some(Backend::Tun),
        reason: Text::cut("this kernel has no sit"),
        locator: Some(v4(9)),
        mtu: Some(1480.try_into().unwrap()),
        names: one(name),
        routers: Bounded::first_of([heard, silent]),
        prefixes: Bounded::first_of([
            Prefix { prefix, address, on_link: true, by: one(v4(1)) },
            Prefix { prefix: near, address: None, on_link: true, by: Bounded::new() },
        ]),
        routes: Bounded::first_of([
            Route { destination: "::/0".parse().unwrap(), by, preference: high, left },
            Route { destination: near, by: None, preference: medium, left: None },
        ]),
        dns_servers: one(Learnt { value: "2001:db8::53".parse().unwrap(), by: v4(1), left }),
        dns_domains: one(Learnt { value: "site.example".parse().unwrap(), by: v4(1), left }),
        nat64_prefixes: one(Learnt { value: "64:ff9b::/96".parse().unwrap(), by: v4(1), left }),
        advertises: Some(Advertises {
            lifetime: Seconds(1800),
            preference: medium,
            prefixes: one(Offer { prefix, valid: None, preferred: Some(Seconds(0)) }),
            clients: 7,
            pending: 1,
        }),
        counters: Bounded::first_of([
            Count { what: Text::cut("packets received"), count: 123_456 },
            Count { what: Text::cut("solicitations sent"), count: 2 },
        ]),
        ..empty()
    }
}

#[test]
fn all_on_one_screen() {
    let expected = "\
is0: working
tunnel
  role     router, but this host does not forward
  backend  tun: this kernel has no sit
  locator  192.0.2.9
  MTU      1480
advertises
  default router     for 30 min, preference medium
  2001:db8:0:1::/64  valid for ever, preferred 0 s
  hosts              7 recently, 1 to be answered
names
  isatap  192.0.2.1 192.0.2.2 and 1 more, as isatap.site.example, time to live 9 min 50 s, \
next look-up in 1 d 1 h
routers
  192.0.2.1    heard 12 s ago, default router for 1 h 30 min, preference high, \
next solicitation in 20 min, slot 0, u 0, MTU 1400, hop limit 64, flag M, flag O
  192.0.2.200  not heard, unreachable, asked again in 16 s, 4 unanswered, No route to host, no way to it, slot 1
prefixes
  2001:db8:0:1::/64  2001:db8:0:1:0:5efe:c000:209, valid for ever, preferred 1 h 30 min, \
on the link, by 192.0.2.1
  2001:db8:0:2::/64  no address, on the link
routes
  ::/0               by 192.0.2.1, preference high, 1 h 30 min
  2001:db8:0:2::/64  on the link, preference medium, for ever
DNS
  server 2001:db8::53         by 192.0.2.1, 1 h 30 min
  search domain site.example  by 192.0.2.1, 1 h 30 min
NAT64
  prefix 64:ff9b::/96  by 192.0.2.1, 1 h 30 min
counters
  packets received    123456
  solicitations sent  2
";
    assert_eq!(show(&full()), expected);
    assert_eq!(counters(&full().counters), "packets received    123456\nsolicitations sent  2\n");
}

#[test]
fn what_does_not_work_comes_first() {
    let expected = "\
isatapd: not working: no router is known; isatap: no such name
tunnel
  role     host
  backend  none
";
    assert_eq!(show(&empty()), expected);
}

#[test]
fn nothing_foreign_reaches_the_terminal() {
    let evil = "a\n\u{1b}[2J\u{202e}\\";
    let mut show_evil = full();
    show_evil.name = Text::cut(evil);
    show_evil.reason = Text::cut(evil);
    show_evil.counters = one(Count { what: Text::cut(evil), count: 1 });
    let text = show(&show_evil);
    assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\n')), "{text}");
    assert!(text.starts_with("a\\x0a\\x1b[2J\\xe2\\x80\\xae\\x5c: working\n"), "{text}");
    assert_eq!(text.lines().count(), show(&full()).lines().count() - 1);
}

#[test]
fn times_have_two_units() {
    for (seconds, text) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (u32::MAX - 1, "49710 d 6 h"),
    ] {
        assert_eq!(Time(Some(Seconds(seconds))).to_string(), text);
    }
}
