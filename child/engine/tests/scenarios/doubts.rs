//! Whom routers are doubted by, and who can say that they are there.

use isatapd_engine::Input;
use isatapd_engine::wire::icmp6;
use isatapd_proto::isatap::{UBit, link_local};

use crate::reach::{Site, advert_of, answer, good};
use crate::world::{secs, slot, v4};

/// A45: what is left unanswered without traffic counts too.
#[test]
fn unanswered_solicitations_are_a_reason_to_ask() {
    for by_path in [false, true] {
        let mut site = Site::new(by_path);
        site.alive[0] = false;
        let end = site.world.now + secs(9000);
        while site.world.routes().iter().all(|r| r.reachable) {
            assert!(site.world.now < end, "{by_path}");
            site.pass(secs(1));
            // The second refreshes, the first does not.
            let (transmitted, solicited) = (&site.world.transmitted, &site.world.solicited);
            let asked = transmitted.iter().any(|(_, to, _)| *to == v4("10.0.0.2").get())
                || solicited.iter().any(|(_, number, _)| *number == slot(1));
            if asked {
                site.hear(1, &good());
                site.world.transmitted.clear();
                site.world.solicited.clear();
            }
        }
        let probed: Vec<_> = site.world.probed.iter().map(|(_, router)| *router).collect();
        assert_eq!(probed, [v4("10.0.0.1"); 4]);
    }
}

/// RFC 5214 section 7.2: what IPv4 says of a router is a reason to ask it, and not more.
#[test]
fn a_suspect_is_asked_at_once() {
    let mut site = Site::new(true);
    let suspect = |site: &mut Site, router: &str| {
        site.world.tell(Input::Suspect(router.parse().unwrap()));
        site.settle();
    };
    for router in ["10.0.0.3", "10.0.0.2", "10.0.0.2"] {
        suspect(&mut site, router);
    }
    assert_eq!(site.probed(), [site.world.now; 2], "it answers each time");
    assert!(site.world.table.routes.iter().all(|route| route.reachable));
    // One that does not is lost.
    site.alive[0] = false;
    suspect(&mut site, "10.0.0.1");
    for _ in 0..4 {
        site.pass(secs(1));
        suspect(&mut site, "10.0.0.1");
    }
    assert_eq!((site.probed().len(), site.by()), (2 + 4, Some(1)));
    // Forged ones are bounded, also if the router answers.
    site.world.clear();
    site.seen = 0;
    for _ in 0..600 {
        site.pass(secs(1));
        suspect(&mut site, "10.0.0.2");
    }
    assert!(site.probed().len() <= 5 + 10, "{:?}", site.probed().len());
}

/// RFC 4861 section 7.1.2, and who may answer: each condition alone.
#[test]
fn only_the_router_itself_answers() {
    let [source, other_form] = UBit::BOTH.map(|u| link_local(v4("10.0.0.1"), u));
    let second = link_local(v4("10.0.0.2"), UBit::Local);
    let [ours, other_of_ours] = UBit::BOTH.map(|u| link_local(v4("10.0.0.5"), u));
    let by = |target| answer(target);
    let with = |at: usize, octet: u8| {
        let mut message = answer(source);
        message[at] = octet;
        message
    };
    let long = [&answer(source)[..], &[2, 0, 0, 0, 0, 0, 0, 0]].concat();
    for (from, source, hops, to, message, counts) in [
        ("10.0.0.1", source, 255, ours, by(source), true),
        ("10.0.0.1", source, 254, ours, by(source), false),
        ("10.0.0.2", source, 255, ours, by(source), false),
        ("10.0.0.2", second, 255, ours, by(source), false),
        ("10.0.0.9", source, 255, ours, by(source), false),
        ("10.0.0.1", source, 255, ours, by(second), false),
        ("10.0.0.1", source, 255, ours, by(other_form), false),
        ("10.0.0.1", source, 255, ours, with(4, 0x80), false),
        ("10.0.0.1", source, 255, ours, with(1, 1), false),
        ("10.0.0.1", source, 255, ours, by(source)[..23].to_vec(), false),
        ("10.0.0.1", source, 255, ours, long, false),
        ("10.0.0.1", source, 255, other_of_ours, by(source), true),
        ("10.0.0.1", source, 255, "ff02::1".parse().unwrap(), by(source), false),
    ] {
        let mut site = Site::new(true);
        (site.alive, site.traffic) = ([false, true], true);
        site.pass(secs(6));
        let mut packet = icmp6::packet(source, to, &message);
        packet[7] = hops;
        site.world.tell(Input::Tunnelled { from: from.parse().unwrap(), packet: &packet });
        let expected = if counts { Some(0) } else { Some(1) };
        assert_eq!(site.by(), expected, "{from} {source} {hops} {to} {message:02x?}");
    }
    // By the socket of a router.
    for (source, hops, message, counts) in [
        (source, Some(255), by(source), true),
        (source, Some(64), by(source), false),
        (source, None, by(source), false),
        (second, Some(255), by(second), false),
        (source, Some(255), by(second), false),
    ] {
        let mut site = Site::new(false);
        (site.alive, site.traffic) = ([false, true], true);
        site.pass(secs(6));
        site.world.hear_as(0, UBit::Local, source, hops, &message);
        let expected = if counts { Some(0) } else { Some(1) };
        assert_eq!(site.by(), expected, "{source} {hops:?} {message:02x?}");
    }
}

/// An advertisement that nobody asked for says nothing of the way there (RFC 4861 section 7.3.1).
#[test]
fn an_unsolicited_advertisement_is_a_reason_to_ask() {
    for (alive, by) in [(false, Some(1)), (true, Some(0))] {
        let mut site = Site::new(true);
        (site.alive, site.traffic) = ([false, true], true);
        site.pass(secs(6));
        // Its solicitation was sent by the way that has failed, and is over.
        site.hear(0, &advert_of(0x08));
        site.alive[0] = alive;
        site.hear(0, &advert_of(0x08));
        site.pass(secs(1));
        assert_eq!(site.by(), by, "{alive}");
    }
}
