//! How soon a router that was lost is back.

use isatapd_engine::Input;

use crate::reach::good;
use crate::world::{World, secs, v4};

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
