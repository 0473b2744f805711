//! How soon a router that was lost is back.

use std::time::Duration;

use isatapd_engine::Input;
use isatapd_proto::Backend;

use crate::reach::{Site, good};
use crate::world::{World, secs, tunnel_by, v4};

/// One that knows no Neighbor Solicitations is asked for an advertisement every two minutes (RFC 5214
/// section 8.3.4) as long as there is traffic, and else less and less often.
#[test]
fn one_that_knows_none_is_back_within_two_minutes() {
    let mut world = World::up_by_path("10.0.0.1 10.0.0.2");
    world.hear_by_path("10.0.0.1", &good());
    world.hear_by_path("10.0.0.2", &good());
    let solicited = |world: &World| {
        let first = world.transmitted.iter().filter(|(_, to, _)| *to == v4("10.0.0.1").get());
        first.map(|(at, ..)| *at).collect::<Vec<_>>()
    };
    let traffic = |world: &mut World, seconds: u64| {
        for _ in 0..seconds {
            world.tell(Input::Traffic(0b11));
            world.pass(secs(1));
        }
    };
    traffic(&mut world, 600);
    assert!(world.says("router 10.0.0.1: unreachable"));
    world.clear();
    traffic(&mut world, 3600);
    let at = solicited(&world);
    assert!(at.len() >= 29 && at.windows(2).all(|pair| pair[1] - pair[0] == secs(120)), "{at:?}");
    world.clear();
    world.pass(secs(3000));
    assert!(solicited(&world).len() <= 1, "{:?}", solicited(&world));
    world.clear();
    traffic(&mut world, 1);
    assert_eq!(solicited(&world).len(), 1, "there is traffic again");
    world.hear_by_path("10.0.0.1", &good());
    assert!(world.says("router 10.0.0.1: reachable again"));
}

/// After many changes the last is no less a chance than the first: it is taken within ten seconds. One
/// that helps nobody is forgotten.
#[test]
fn the_last_of_many_changes_is_a_chance() {
    for by_path in [false, true] {
        let backend = if by_path { Backend::Tun } else { Backend::Kernel };
        let change = || Input::Link(tunnel_by(backend, "10.0.0.5"));
        let mut site = Site::new(by_path);
        (site.alive, site.traffic) = ([false, true], true);
        site.pass(secs(300));
        site.traffic = false;
        site.pass(secs(100));
        for turn in 0..20 {
            site.alive[0] = turn == 19;
            site.world.tell(change());
            site.pass(Duration::from_millis(100));
        }
        assert_eq!(site.by(), Some(1), "{by_path}");
        site.pass(secs(10));
        assert_eq!(site.by(), Some(0), "{by_path}");

        let mut site = Site::new(by_path);
        for _ in 0..20 {
            site.world.tell(change());
        }
        assert_eq!(site.pass(secs(300)), 0, "{by_path}");
    }
}
