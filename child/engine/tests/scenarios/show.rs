//! What the operator's tool is told.

use isatapd_engine::{Input, Instant};
use isatapd_proto::control::{Role, Seconds, Show};
use isatapd_proto::{Advertise, Backend, Link, Outcome, Preference, Request, State, Text};

use crate::advertise::{advertise, routing};
use crate::message::{AUTONOMOUS, Answer, ON_LINK, advert, dnssl, prefix, rdnss, route};
use crate::world::{World, Zone, config, secs, tunnel, tunnel_by, v4};

fn show(world: &World) -> Show {
    world.engine.show(Instant::since_boot(world.now))
}

fn why(world: &World) -> String {
    let show = show(world);
    assert!(!show.working, "{show:#?}");
    show.why.to_string()
}

#[test]
fn one_reason_why_it_does_not_work() {
    let mut world = World::new();
    assert_eq!(why(&world), "it has not been told yet of any router");
    world.servers = vec![Zone::new()];
    world.tell(Input::Config(config("isatap.site.example")));
    world.resolver("");
    assert_eq!(why(&world), "isatap.site.example is being looked up");
    world.pass(secs(60));
    let asked = "no router is known; isatap.site.example: name servers do not answer";
    assert_eq!(why(&world), asked);
    let answer = Answer::Addresses(vec![v4("10.0.0.1").get()], 600);
    world.servers = vec![Zone::from([("*".to_owned(), answer)])];
    world.pass(secs(60));
    assert_eq!(why(&world), "there is no tunnel, as no router can be reached by IPv4");
    let reason = Text::cut("no route to 10.0.0.1");
    world.tell(Input::Link(Link { reason, ..Link::default() }));
    assert_eq!(why(&world), "there is no tunnel: no route to 10.0.0.1");
    world.tell(Input::Link(tunnel("10.0.0.5")));
    assert_eq!(why(&world), "no router was asked yet");
    world.link("10.0.0.5");
    assert_eq!(why(&world), "no router answers");
    world.hear(0, &advert(0, &[]));
    assert_eq!(why(&world), "routers answer, but advertise neither prefix nor route");
    world.hear(0, &advert(1800, &[]));
    assert!(show(&world).working && show(&world).why.is_empty());
}

/// A router works when hosts can send by it, if they are to.
#[test]
fn a_router_without_data_path_or_forwarding_says_so() {
    let link = |forwarding| Link { forwarding, ..tunnel_by(Backend::Tun, "10.0.0.5") };
    for (lifetime, works) in [(1800, false), (0, true)] {
        let mut world = World::new();
        let advertise = Advertise { lifetime: lifetime.try_into().unwrap(), ..advertise(&[]) };
        world.tell(Input::Config(routing("10.0.0.1", advertise)));
        world.tell(Input::Link(link(true)));
        assert_eq!(why(&world), "the data path is not open yet");
        world.link_by_path("10.0.0.5");
        world.tell(Input::Link(link(true)));
        assert!(show(&world).working && show(&world).why.is_empty());
        world.tell(Input::Link(link(false)));
        assert_eq!(show(&world).working, works);
        if !works {
            let still = "hosts are told lifetime 0, as this host does not forward IPv6";
            assert_eq!(why(&world), still);
        }
        assert_eq!(world.states().last(), Some(&State::Working), "it is ready");
    }
}

#[test]
fn what_the_parent_could_not_do_is_told() {
    let mut world = World::up("10.0.0.1");
    world.outcome = |request| match request {
        Request::SetRoutes(_) => Outcome::Failed(13),
        _ => Outcome::Done,
    };
    world.hear(0, &advert(1800, &[]));
    assert_eq!(why(&world), "the routes could not be set; see the log");
    world.outcome = |_| Outcome::Done;
    world.hear(0, &advert(1800, &[]));
    assert!(show(&world).working);
}

#[test]
fn all_is_shown() {
    let mut world = World::up("10.0.0.1 10.0.0.2");
    let options = [
        prefix("2001:db8:0:1::", ON_LINK | AUTONOMOUS, u32::MAX, 86_400),
        prefix("2001:db8:0:2::", ON_LINK, 600, 600),
        route("2001:db8:1::/48", 0, 600),
        rdnss("2001:db8::53".parse().unwrap(), 60),
        dnssl("site", 60),
    ];
    world.hear(0, &advert(1800, &options));
    world.pass(secs(10));
    let show = show(&world);
    assert_eq!((show.role, show.working, &*show.why), (Role::Host, true, ""));
    assert_eq!((show.locator, show.mtu), (Some(v4("10.0.0.5")), 1480.try_into().ok()));
    let [first, second] = &*show.routers else { panic!("two routers") };
    assert_eq!((first.heard, first.unanswered), (Some(Seconds(10)), 0));
    let default = first.default_router.unwrap();
    assert_eq!((default.left, default.preference), (Some(Seconds(1790)), Preference::Medium));
    assert!(first.next > Some(Seconds(100)));
    assert_eq!((second.heard, second.default_router), (None, None));
    assert!(second.unanswered >= 1, "{second:?}");
    assert!(second.next.is_some_and(|next| next < Seconds(20)), "{second:?}");
    let [wide, near] = &*show.prefixes else { panic!("two prefixes") };
    let address = wide.address.unwrap();
    assert_eq!(address.ip, "2001:db8:0:1:0:5efe:10.0.0.5".parse().ok());
    assert_eq!((address.valid, address.preferred), (None, Some(Seconds(86_390))));
    assert!(wide.on_link && near.on_link && near.address.is_none());
    assert_eq!(wide.by[..], [v4("10.0.0.1")]);
    let routes: Vec<_> = show.routes.iter().map(|r| (r.destination.to_string(), r.by)).collect();
    let by = Some(v4("10.0.0.1").get());
    for destination in ["::/0", "2001:db8:1::/48"] {
        assert!(routes.contains(&(destination.to_owned(), by)), "{routes:?}");
    }
    assert_eq!(show.dns_servers[0].left, Some(Seconds(50)));
    assert_eq!(show.dns_domains[0].value.as_str(), "site");
    let sent = show.counters.iter().find(|c| &*c.what == "solicitations sent").unwrap();
    assert!(sent.count >= 2);
    assert!(show.counters.len() < world.engine.counters().len());

    // Looking changes nothing, and what has ended is not shown.
    world.pass(secs(60));
    let later = world.engine.show(Instant::since_boot(world.now));
    assert!(later.dns_servers.is_empty() && later.dns_domains.is_empty());
}
