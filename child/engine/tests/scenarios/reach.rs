//! Routers that die, and come back: RFC 4861 section 7.3, RFC 4191 sections 3.2 and 3.5.

use std::net::Ipv6Addr;
use std::time::Duration;

use isatapd_engine::{Input, Instant};
use isatapd_proto::isatap::{UBit, link_local};
use isatapd_proto::{Advertise, Backend, Config, Outcome, Request, RouterTimeout};

use crate::advertise::advertise;
use crate::message::{AUTONOMOUS, Answer, ON_LINK, advert, prefix, route};
use crate::world::{World, config, is_routes, secs, slot, tunnel, v4};

const ROUTERS: &str = "10.0.0.1 10.0.0.2";

pub(crate) fn good() -> Vec<u8> {
    advert(9000, &[prefix("2001:db8:0:1::", ON_LINK | AUTONOMOUS, 86_400, 14_400)])
}

/// A solicited Neighbor Advertisement of this target.
pub(crate) fn answer(target: Ipv6Addr) -> Vec<u8> {
    [&[136, 0, 0, 0, 0x40, 0, 0, 0][..], &target.octets()].concat()
}

/// A site of two routers that answer Neighbor Solicitations as long as they live.
pub(crate) struct Site {
    pub(crate) world: World,
    by_path: bool,
    pub(crate) alive: [bool; 2],
    /// How many of the recorded Neighbor Solicitations have been answered, or not.
    pub(crate) seen: usize,
    /// Whether packets go to 2001:db8:9::1.
    pub(crate) traffic: bool,
}

impl Site {
    pub(crate) fn new(by_path: bool) -> Self {
        Self::with(by_path, config(ROUTERS))
    }

    fn with(by_path: bool, config: Config) -> Self {
        Self::on(World::new(), by_path, config)
    }

    fn on(mut world: World, by_path: bool, config: Config) -> Self {
        world.tell(Input::Config(config));
        world.resolver("");
        if by_path {
            world.link_by_path("10.0.0.5");
        } else {
            world.link("10.0.0.5");
        }
        let mut site = Self { world, by_path, alive: [true; 2], seen: 0, traffic: false };
        // The first is preferred.
        site.hear(0, &advert_of(0x08));
        site.hear(1, &good());
        site.pass(secs(60));
        assert_eq!(site.probed().len(), 2, "each once, so that it is known whether it answers");
        site.world.clear();
        site.seen = 0;
        site
    }

    pub(crate) fn hear(&mut self, number: u8, message: &[u8]) {
        if self.by_path {
            self.world.hear_by_path(&format!("10.0.0.{}", number + 1), message);
        } else {
            self.world.hear(number, message);
        }
    }

    /// What has been asked is answered by who lives; packets come back from who they go to.
    pub(crate) fn settle(&mut self) {
        loop {
            while let Some((_, router)) = self.world.probed.get(self.seen).copied() {
                self.seen += 1;
                let number = router.get().octets()[3] - 1;
                if self.alive[usize::from(number)] {
                    self.hear(number, &answer(link_local(router, UBit::Local)));
                }
            }
            if !self.traffic || !self.send() {
                break;
            }
        }
    }

    /// A packet: true if that was to be told.
    fn send(&mut self) -> bool {
        let Some(by) = self.by() else { return false };
        let alive = self.alive[usize::from(by)];
        if !self.by_path {
            let watches = std::mem::take(&mut self.world.watches);
            if watches {
                self.world.tell(Input::Traffic(u64::MAX));
            }
            return watches;
        }
        if self.world.watched >> by & 1 == 1 {
            self.world.watched &= !(1 << by);
            self.world.tell(Input::Traffic(1 << by));
            if alive {
                self.world.tell(Input::Heard(&[(slot(by), Instant::since_boot(self.world.now))]));
            }
            return true;
        }
        false
    }

    /// By which router packets go: as the data path or the kernel would decide.
    pub(crate) fn by(&self) -> Option<u8> {
        let routes = self.world.routes();
        let lost = |reachable: bool| u8::from(!reachable);
        let best = routes.iter().filter_map(|r| Some((r.next_hop?.slot.get(), r)));
        let best = best.filter(|(_, r)| r.destination.net().contains(&far()));
        if self.by_path {
            let table = self.world.table.routes.iter().filter(|r| r.destination.contains(&far()));
            let best =
                table.max_by_key(|r| (r.reachable, r.destination.prefix_len(), r.preference));
            return best.and_then(|r| Some(r.slot?.get()));
        }
        best.min_by_key(|(number, r)| {
            let length = 128 - r.destination.net().prefix_len();
            (length, lost(r.reachable), std::cmp::Reverse(r.preference), *number)
        })
        .map(|(number, _)| number)
    }

    pub(crate) fn pass(&mut self, time: Duration) -> usize {
        let end = self.world.now + time;
        let mut wakes = 0;
        self.settle();
        while let Some(next) = self.world.engine.deadline() {
            let next = next.time_since_boot();
            if next > end {
                break;
            }
            wakes += self.world.pass(next - self.world.now);
            self.settle();
        }
        self.world.now = end;
        wakes
    }

    pub(crate) fn probed(&self) -> Vec<Duration> {
        self.world.probed.iter().map(|(at, _)| *at).collect()
    }
}

fn far() -> Ipv6Addr {
    "2001:db8:9::1".parse().unwrap()
}

/// As [`good`], with these flags.
pub(crate) fn advert_of(flags: u8) -> Vec<u8> {
    let mut advert = good();
    advert[5] |= flags;
    advert
}

#[test]
fn the_other_takes_over_and_the_first_comes_back() {
    for by_path in [false, true] {
        let mut site = Site::new(by_path);
        site.traffic = true;
        site.pass(secs(100));
        assert_eq!(site.by(), Some(0));
        site.alive[0] = false;
        site.pass(secs(6));
        assert_eq!(site.by(), Some(1), "{by_path}");
        assert!(site.world.says("router 10.0.0.1: unreachable"));
        let routes: Vec<_> = site.world.routes().iter().map(|r| r.reachable).collect();
        assert!(routes.contains(&false) && routes.contains(&true), "{routes:?}");
        // It is asked less and less often, and back as soon as it answers.
        let before = site.world.probed.len();
        site.pass(secs(600));
        let first = |site: &Site| {
            let probed = site.world.probed.iter().filter(|(_, r)| *r == v4("10.0.0.1"));
            probed.map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let asked = first(&site).len();
        assert!(site.world.probed.len() > before && asked < 400, "{asked}");
        let last = first(&site);
        assert_eq!(last[asked - 1] - last[asked - 2], secs(60));
        site.alive[0] = true;
        site.pass(secs(60));
        assert_eq!(site.by(), Some(0), "{by_path}");
        assert!(site.world.says("router 10.0.0.1: reachable again"));
        assert!(site.world.routes().iter().all(|r| r.reachable));
    }
}

/// A name whose only router is lost may have another by now, whatever its time to live.
#[test]
fn the_name_of_a_lost_router_is_looked_up() {
    let zone = |address: &str| {
        let records = [("r.example", address), ("s.example", "10.0.0.2")];
        let answer = |address: &str| Answer::Addresses(vec![address.parse().unwrap()], 3600);
        vec![records.map(|(name, address)| (name.to_owned(), answer(address))).into()]
    };
    for by_path in [false, true] {
        let mut world = World::new();
        world.servers = zone("10.0.0.1");
        let mut site = Site::on(world, by_path, config("r.example s.example"));
        site.traffic = true;
        site.pass(secs(100));
        assert!(site.world.queries.is_empty());
        site.alive[0] = false;
        site.pass(secs(600));
        let asked = site.world.queries.len();
        assert!((9..=11).contains(&asked), "{asked} queries in 10 min");
        site.world.servers = zone("10.0.0.3");
        site.pass(secs(60));
        assert_eq!(site.world.routers()[0].router, v4("10.0.0.3"));
        site.world.clear();
        site.seen = 0;
        site.pass(secs(600));
        assert!(site.world.queries.is_empty(), "not lost: nobody has asked it yet");
    }
}

/// While name servers fail, their back-off holds.
#[test]
fn a_lost_router_and_servers_that_fail() {
    let names = ["r.example", "s.example"];
    let all = |answer: &dyn Fn(usize) -> Answer| {
        let zone = names.iter().enumerate().map(|(n, name)| ((*name).to_owned(), answer(n)));
        vec![zone.collect()]
    };
    let address = |n: usize| format!("10.0.0.{}", n + 1).parse().unwrap();
    let mut world = World::new();
    world.servers = all(&|n| Answer::Addresses(vec![address(n)], 3600));
    let mut site = Site::on(world, true, config("r.example s.example"));
    site.traffic = true;
    site.pass(secs(100));
    site.alive[0] = false;
    site.world.servers = all(&|_| Answer::Code(2));
    site.world.clear();
    site.seen = 0;
    site.pass(secs(600));
    assert!(site.world.queries.len() < 30, "{}", site.world.queries.len());
}

/// Whatever the backend, a lost router is asked at most once a minute, and not without traffic; nor is
/// any other.
#[test]
fn without_traffic_nobody_is_asked() {
    for by_path in [false, true] {
        for lost in [false, true] {
            let mut site = Site::new(by_path);
            if lost {
                (site.alive, site.traffic) = ([false, true], true);
                site.pass(secs(10));
                assert_eq!(site.by(), Some(1));
                site.traffic = false;
                site.pass(secs(200));
            }
            site.world.clear();
            site.seen = 0;
            let wakes = site.pass(secs(300));
            assert_eq!((site.probed().len(), wakes), (0, 0), "{by_path} {lost}");
            // When there is some again, it is asked at once.
            (site.alive, site.traffic) = ([true; 2], true);
            site.pass(secs(2));
            assert_eq!(site.by(), Some(0), "{by_path} {lost}");
        }
    }
}

/// On the TUN backend packets that come back are enough; elsewhere only the router itself tells.
#[test]
fn whom_packets_come_from_is_not_asked() {
    for (by_path, asked) in [(true, 0..=0), (false, 60..=400)] {
        let mut site = Site::new(by_path);
        site.traffic = true;
        site.pass(secs(600));
        let probed = site.probed().len();
        assert!(asked.contains(&probed), "{by_path}: {probed}");
        assert!(site.world.routes().iter().all(|r| r.reachable));
    }
}

/// `--router-timeout 1`
#[test]
fn as_quick_as_told() {
    for by_path in [false, true] {
        for (timeout, limit) in [(1, 1000), (6, 6000), (60, 60_000)] {
            let router_timeout = RouterTimeout::try_from(timeout).unwrap();
            let mut site = Site::with(by_path, Config { router_timeout, ..config(ROUTERS) });
            site.traffic = true;
            site.pass(secs(100));
            site.alive[0] = false;
            site.pass(Duration::from_millis(limit));
            assert_eq!(site.by(), Some(1), "{by_path} {timeout}");
        }
    }
}

#[test]
fn if_both_are_dead_the_routes_stay() {
    for by_path in [false, true] {
        let mut site = Site::new(by_path);
        (site.alive, site.traffic) = ([false; 2], true);
        site.pass(secs(60));
        let defaults = site.world.routes().into_iter().filter(|r| r.next_hop.is_some());
        let reachable: Vec<_> = defaults.map(|r| r.reachable).collect();
        assert_eq!(reachable, [false, false]);
        assert_eq!(site.by(), Some(0), "the preferred one");
        site.world.clear();
        site.seen = 0;
        site.pass(secs(600));
        assert!(site.probed().len() <= 24, "{}", site.probed().len());
        site.alive[1] = true;
        site.pass(secs(60));
        assert_eq!(site.by(), Some(1));
    }
}

/// The kernel takes the longest prefix, whatever the metric: the more specific route of a lost router
/// goes, if another leads there too.
#[test]
fn a_more_specific_route_does_not_hold_traffic() {
    let specific = || advert(9000, &[route("2001:db8:9::/48", 0x08, 9000)]);
    for by_path in [false, true] {
        let mut site = Site::new(by_path);
        site.hear(0, &specific());
        let count = |site: &Site| {
            let routes = site.world.routes();
            routes.iter().filter(|r| r.destination.to_string() == "2001:db8:9::/48").count()
        };
        (site.alive, site.traffic) = ([false, true], true);
        assert_eq!((count(&site), site.by()), (1, Some(0)));
        site.pass(secs(6));
        assert_eq!((count(&site), site.by()), (0, Some(1)), "{by_path}");
        // Nobody else leads there: it stays.
        site.hear(1, &advert(0, &[]));
        assert_eq!((count(&site), site.by()), (1, Some(0)), "{by_path}");
        site.hear(1, &good());
        site.alive[0] = true;
        site.pass(secs(60));
        assert_eq!((count(&site), site.by()), (1, Some(0)), "{by_path}");
    }
}

/// A router that has never answered a Neighbor Solicitation is lost only when it leaves Router
/// Solicitations unanswered too, and is given the time that it may take for these.
#[test]
fn one_that_knows_no_neighbour_solicitations() {
    let mut world = World::up_by_path(ROUTERS);
    world.hear_by_path("10.0.0.1", &good());
    world.hear_by_path("10.0.0.2", &good());
    world.pass(secs(300));
    world.clear();
    // It answers the other question.
    let traffic = |world: &mut World| world.tell(Input::Traffic(1));
    traffic(&mut world);
    world.pass(secs(2));
    assert_eq!(world.transmitted.len(), 1);
    world.hear_by_path("10.0.0.1", &good());
    let asked = world.probed.len();
    world.pass(secs(60));
    assert_eq!(world.probed.len(), asked);
    assert!(world.routes().iter().all(|r| r.reachable));
    // Not more often than every two minutes (RFC 5214 section 8.3.4).
    traffic(&mut world);
    world.pass(secs(50));
    assert_eq!(world.transmitted.len(), 1);
    // It does not.
    world.pass(secs(600));
    world.clear();
    world.hear_by_path("10.0.0.1", &good());
    world.pass(secs(300));
    world.clear();
    traffic(&mut world);
    let begin = world.now;
    while world.routes().iter().all(|r| r.reachable) {
        let next = world.engine.deadline().unwrap().time_since_boot();
        world.pass(next - world.now);
    }
    let took = world.now - begin;
    assert!(took >= secs(8) && took <= secs(12), "{took:?}");
    let solicited: Vec<_> = world.transmitted.iter().map(|(at, ..)| *at).collect();
    assert!(solicited.len() >= 2, "{solicited:?}");
    assert!(solicited[1] - solicited[0] >= Duration::from_millis(3500), "{solicited:?}");
    assert!(world.now - solicited[1] >= Duration::from_millis(3500), "{solicited:?}");
    world.hear_by_path("10.0.0.1", &good());
    assert!(world.routes().iter().all(|r| r.reachable));
}

/// A dead router is asked at once when the network has changed, and on another tunnel.
#[test]
fn a_change_of_the_network_is_a_chance() {
    for by_path in [false, true] {
        for other in [false, true] {
            let mut site = Site::new(by_path);
            (site.alive, site.traffic) = ([false, true], true);
            site.pass(secs(300));
            site.traffic = false;
            site.pass(secs(2));
            site.alive[0] = true;
            match (other, by_path) {
                (true, true) => site.world.link_by_path("10.0.0.6"),
                (true, false) => site.world.link("10.0.0.6"),
                (false, true) => {
                    let link = crate::world::tunnel_by(Backend::Tun, "10.0.0.5");
                    site.world.tell(Input::Link(link));
                }
                (false, false) => site.world.tell(Input::Link(tunnel("10.0.0.5"))),
            }
            site.settle();
            assert_eq!(site.by(), Some(0), "{by_path} {other}");
        }
    }
}

/// Of a tunnel that is gone nothing is asked; on the next one packets are watched anew.
#[test]
fn another_tunnel_is_watched_anew() {
    let mut site = Site::new(false);
    let watches = |site: &Site| site.world.count(|r| *r == Request::WatchTraffic);
    site.world.unlink();
    site.pass(secs(100));
    assert_eq!((site.probed().len(), watches(&site)), (0, 0));
    site.world.link("10.0.0.6");
    assert_eq!(watches(&site), 1);
    let mut site = Site::new(true);
    assert_eq!(site.world.watched, 0b11);
    site.world.watched = 0;
    site.world.link_by_path("10.0.0.6");
    assert_eq!(site.world.watched, 0b11);
}

/// What the parent refuses is tried again like any other wish.
#[test]
fn a_worse_metric_is_told_until_it_is_done() {
    let mut site = Site::new(true);
    (site.alive, site.traffic) = ([false, true], true);
    site.world.outcome =
        |request| if is_routes(request) { Outcome::Failed(12) } else { Outcome::Done };
    site.pass(secs(6));
    let told = site.world.count(is_routes);
    assert!(told >= 1);
    site.world.outcome = |_| Outcome::Done;
    site.pass(secs(10));
    assert!(site.world.count(is_routes) > told);
}

/// A router goes by its configuration; the others of its list are no way for it.
#[test]
fn a_router_asks_nobody() {
    let config =
        Config { advertise: Some(Advertise { ..advertise(&[]) }), ..config("10.0.0.5 10.0.0.1") };
    let mut world = World::new();
    world.tell(Input::Config(config));
    world.resolver("");
    world.link_by_path("10.0.0.5");
    world.hear_by_path("10.0.0.1", &good());
    world.tell(Input::Traffic(u64::MAX));
    world.tell(Input::Suspect("10.0.0.1".parse().unwrap()));
    world.pass(secs(9000));
    assert_eq!((world.probed.len(), world.watched), (0, 0));
}

#[test]
fn it_is_shown() {
    let mut site = Site::new(true);
    (site.alive, site.traffic) = ([false, true], true);
    site.pass(secs(7));
    let show = site.world.engine.show(Instant::since_boot(site.world.now));
    let shown: Vec<_> = show.routers.iter().map(|r| (r.reachable, r.probe.is_some())).collect();
    assert_eq!(shown, [(false, true), (true, false)]);
    assert!(site.world.dump().iter().any(|line| line.contains("unreachable, asked again in ")));
}
