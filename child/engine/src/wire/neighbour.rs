//! Neighbor Solicitation and Advertisement (RFC 4861 sections 4.3 and 4.4).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Type (136)   |    Code (0)   |            Checksum           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|S|O|                     Reserved                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                        Target address                         +
//! |                                                               |
//! +                                                               +
//! |                                                               |
//! +                                                               +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Options ...
//! ```
//!
//! A solicitation has type 135 and no flags.

use std::net::Ipv6Addr;

use super::nd_option::walk;
use super::router_advert::Malformed;

const NEIGHBOUR_SOLICITATION: u8 = 135;
/// ICMPv6 type (RFC 4861 section 4.4).
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// S: in response to a solicitation.
const SOLICITED: u8 = 0x40;
/// Octets before the options.
const HEADER: usize = 24;

/// An advertisement, as far as it is of use: the link has no link-layer addresses (RFC 4213 section
/// 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAdvert {
    /// Flag S.
    pub solicited: bool,
    /// Whose it is.
    pub target: Ipv6Addr,
}

/// A solicitation from the ICMPv6 type on, with a checksum to be filled in.
pub fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    [&[NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat()
}

/// Checks an ICMPv6 message from its type on by RFC 4861 section 7.1.2; hop limit, checksum and
/// addresses are the caller's to check.
pub fn parse(icmp: &[u8]) -> Result<NeighbourAdvert, Malformed> {
    let (&[kind, code, _, _, flags, _, _, _, ref target @ ..], options) =
        icmp.split_first_chunk::<HEADER>().ok_or(Malformed::TooShort)?;
    if kind != NEIGHBOUR_ADVERTISEMENT {
        return Err(Malformed::NotAnAdvertisement);
    }
    if code != 0 {
        return Err(Malformed::Code);
    }
    walk(options).try_for_each(|option| option.map(drop))?;
    Ok(NeighbourAdvert { solicited: flags & SOLICITED != 0, target: Ipv6Addr::from(*target) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "fe80::5efe:10.0.1.5";

    /// As the Linux kernel answers.
    fn advert() -> Vec<u8> {
        let target: Ipv6Addr = TARGET.parse().unwrap();
        [&[0x88, 0, 0xfe, 0x23, 0x40, 0, 0, 0][..], &target.octets()].concat()
    }

    #[test]
    fn the_answer_of_linux() {
        let target = TARGET.parse().unwrap();
        assert_eq!(parse(&advert()), Ok(NeighbourAdvert { solicited: true, target }));
        let mut other = advert();
        other[4] = 0xbf;
        assert_eq!(parse(&other), Ok(NeighbourAdvert { solicited: false, target }));
        assert_eq!(solicitation(target)[..8], [135, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(solicitation(target)[8..], target.octets());
    }

    #[test]
    fn what_is_refused() {
        for length in 0..24 {
            assert_eq!(parse(&advert()[..length]), Err(Malformed::TooShort), "{length}");
        }
        for (place, octet, why) in
            [(0, 135, Malformed::NotAnAdvertisement), (1, 1, Malformed::Code)]
        {
            let mut wrong = advert();
            wrong[place] = octet;
            assert_eq!(parse(&wrong), Err(why));
        }
        for (option, why) in [
            (&[2, 0, 0, 0, 0, 0, 0, 0][..], Malformed::OptionLength),
            (&[2, 2, 0, 0, 0, 0, 0, 0], Malformed::OptionTruncated),
        ] {
            assert_eq!(parse(&[&advert(), option].concat()), Err(why));
        }
        assert!(parse(&[&advert()[..], &[2, 1, 0, 0, 0, 0, 0, 0]].concat()).is_ok());
    }
}
