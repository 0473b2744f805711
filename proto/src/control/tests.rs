use proptest::prelude::*;

use super::*;
use crate::{DecodeError, decode, encode};

fn full<T: Clone, const N: usize>(item: &T) -> Bounded<T, N> {
    Bounded::first_of(std::iter::repeat_n(item.clone(), N))
}

fn text<const N: usize>() -> Text<N> {
    Text::cut(&"x".repeat(N))
}

/// The longest name of [`crate::HostName`], with its final dot.
fn host() -> HostName {
    format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "a".repeat(61)).parse().unwrap()
}

fn v4() -> UnicastV4 {
    Ipv4Addr::new(192, 0, 2, 1).try_into().unwrap()
}

/// No answer is longer.
fn longest() -> Show {
    let left = Some(Seconds(u32::MAX));
    let net: Ipv6Net = "2001:db8::/64".parse().unwrap();
    let name = Name {
        name: host(),
        full_name: Some(host()),
        hosts_file: false,
        ttl: left,
        count: 64,
        addresses: full(&v4()),
        error: Some(text()),
        asking: true,
        next: left,
    };
    let preference = Preference::High;
    let router = Router {
        address: v4(),
        slot: 63.try_into().unwrap(),
        heard: left,
        u_bit: Some(UBit::Universal),
        default_router: Some(DefaultRouter { left, preference }),
        next: left,
        reachable: false,
        probe: left,
        unanswered: 1,
        error: Some(text()),
        mtu: Some(Mtu::MIN),
        hop_limit: Some(64),
        managed: true,
        other: true,
    };
    let address = Some(Address { ip: Some(net.addr()), valid: left, preferred: left });
    let route = Route { destination: net, by: Some(v4().get()), preference, left };
    let offer = Offer { prefix: net, valid: left, preferred: left };
    Show {
        version: text(),
        name: text(),
        role: Role::Router,
        working: true,
        why: text(),
        backend: Some(Backend::Tun),
        reason: text(),
        locator: Some(v4()),
        mtu: Some(Mtu::MIN),
        forwarding: true,
        names: full(&name),
        routers: full(&router),
        prefixes: full(&Prefix { prefix: net, address, on_link: true, by: full(&v4()) }),
        routes: full(&route),
        dns_servers: full(&Learnt { value: net.addr(), by: v4(), left }),
        dns_domains: full(&Learnt { value: host(), by: v4(), left }),
        nat64_prefixes: full(&Learnt { value: net, by: v4(), left }),
        advertises: Some(Advertises {
            lifetime: Seconds(1800),
            preference,
            prefixes: full(&offer),
            clients: u32::MAX,
            pending: 0,
        }),
        counters: full(&Count { what: text(), count: u64::MAX }),
    }
}

/// If these change, [`VERSION`] must.
#[test]
fn octets_stay() {
    let query = |ask| encode(&Query { version: Version, ask }).unwrap();
    assert_eq!(query(Ask::Show), [2, 0, 0, 0, 0, 0]);
    assert_eq!(query(Ask::Counters), [2, 0, 1, 0, 0, 0]);
    let answer = |told| encode(&Answer { version: Version, told }).unwrap();
    assert_eq!(answer(Told::OtherVersion), [2, 0, 2, 0, 0, 0]);
    let one = Count { what: Text::cut("ab"), count: 258 };
    let counters = answer(Told::Counters(Bounded::first_of([one])));
    let expected =
        [&[2, 0, 1, 0, 0, 0][..], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], b"ab"];
    assert_eq!(counters, [&expected.concat()[..], &[2, 1, 0, 0, 0, 0, 0, 0]].concat());
    // Of all that can be shown, at least the length.
    assert_eq!(answer(Told::Show(Box::new(longest()))).len(), 75_862);
}

#[test]
fn the_longest_answer_passes() {
    let answer = Answer { version: Version, told: Told::Show(Box::new(longest())) };
    let octets = encode(&answer).unwrap();
    assert!(octets.len() <= MAX_ANSWER);
    assert_eq!(decode::<Answer>(&octets).unwrap(), answer);
}

#[test]
fn what_is_wrong_is_refused() {
    let octets = encode(&Query { version: Version, ask: Ask::Show }).unwrap();
    assert_eq!(version_of(&octets), Some(VERSION));
    for len in 0..octets.len() {
        assert!(matches!(decode::<Query>(&octets[..len]), Err(DecodeError::Malformed)), "{len}");
        assert_eq!(version_of(&octets[..len]).is_some(), len >= 2);
    }
    let longer = [&octets[..], &[0]].concat();
    assert!(matches!(decode::<Query>(&longer), Err(DecodeError::Trailing(1))));
    for (place, octet) in [(0, 1), (1, 1), (2, 2), (5, 1)] {
        let mut wrong = octets.clone();
        wrong[place] = octet;
        assert!(matches!(decode::<Query>(&wrong), Err(DecodeError::Malformed)), "{place}");
    }
    let long = vec![0; MAX_QUERY + 1];
    assert!(matches!(decode::<Query>(&long), Err(DecodeError::TooLong(_))));
    // One counter too many.
    let octets = [&[2, 0, 1, 0, 0, 0, 129, 0, 0, 0, 0, 0, 0, 0][..], &[0; 129 * 16]].concat();
    assert!(matches!(decode::<Answer>(&octets), Err(DecodeError::Malformed)));
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(decode::<Query>(&octets));
        let begun = [&[1, 0, 0, 0, 0, 0][..], &octets].concat();
        drop(decode::<Answer>(&begun));
    }

    #[test]
    fn what_is_decoded_is_encoded_alike(at in 0_usize..75_862, octet in any::<u8>()) {
        let answer = Answer { version: Version, told: Told::Show(Box::new(longest())) };
        let mut octets = encode(&answer).unwrap();
        octets[at] = octet;
        if let Ok(answer) = decode::<Answer>(&octets) {
            // Names are put in lower case.
            let again = encode(&answer).unwrap();
            prop_assert_eq!(decode::<Answer>(&again).unwrap(), answer);
        }
    }
}
