//! Router Solicitation (RFC 4861 section 4.1).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Type (133)  |    Code (0)   |            Checksum           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Reserved                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Options ...
//! ```

use thiserror::Error;

use super::nd_option::walk;
use super::router_advert;

/// ICMPv6 type (RFC 4861 section 4.1).
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
/// Octets before the options.
const HEADER: usize = 8;

/// Why a message is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Malformed {
    /// Its type is not 133.
    #[error("not a Router Solicitation")]
    NotASolicitation,
    /// Its code is not 0.
    #[error("code not 0")]
    Code,
    /// It is shorter than 8 octets.
    #[error("too short")]
    TooShort,
    /// Its options are wrong.
    #[error(transparent)]
    Options(router_advert::Malformed),
}

/// The message from the ICMPv6 type on: type 133, code 0, a checksum for the kernel to fill in,
/// four reserved octets. No Source Link-Layer Address: the link has none (RFC 4213 section 3.8).
pub fn build() -> Vec<u8> {
    vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]
}

/// Checks an ICMPv6 message from its type on by RFC 4861 section 6.1.1; hop limit, checksum and
/// addresses are the caller's to check. Nothing in it is of use on a link without link-layer
/// addresses: the options are only walked.
pub fn check(icmp: &[u8]) -> Result<(), Malformed> {
    let [kind, code, ..] = *icmp else { return Err(Malformed::TooShort) };
    if kind != ROUTER_SOLICITATION {
        return Err(Malformed::NotASolicitation);
    }
    if code != 0 {
        return Err(Malformed::Code);
    }
    let options = icmp.get(HEADER..).ok_or(Malformed::TooShort)?;
    walk(options).try_for_each(|option| option.map(drop)).map_err(Malformed::Options)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use pnet_packet::icmpv6::{Icmpv6Packet, checksum};

    use super::router_advert::Malformed as Option;
    use super::*;

    /// As the Linux kernel sent it.
    #[test]
    fn is_what_the_kernel_checksums_to_1334() {
        let message = build();
        let source: Ipv6Addr = "fe80::5efe:a00:105".parse().unwrap();
        let destination: Ipv6Addr = "ff02::2".parse().unwrap();
        let sum = checksum(&Icmpv6Packet::new(&message).unwrap(), &source, &destination);
        assert_eq!(sum, 0x1334);
        assert_eq!(message, [0x85, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(check(&message), Ok(()));
    }

    #[test]
    fn header() {
        for length in 0..8 {
            assert_eq!(check(&build()[..length]), Err(Malformed::TooShort), "{length} octets");
        }
        assert_eq!(check(&[134, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed::NotASolicitation));
        assert_eq!(check(&[133, 1, 0, 0, 0, 0, 0, 0]), Err(Malformed::Code));
        assert_eq!(check(&[133, 0, 9, 9, 9, 9, 9, 9]), Ok(()), "reserved is ignored");
    }

    /// F7: an option of length 0, first, middle and last; F22: a link-layer address of any length.
    #[test]
    fn options() {
        let with = |options: &[&[u8]]| check(&[&build(), &options.concat()[..]].concat());
        let (good, zero) = ([1, 1, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(with(&[&good, &good, &good]), Ok(()));
        for options in [[&zero, &good, &good], [&good, &zero, &good], [&good, &good, &zero]] {
            let options = options.map(|option| &option[..]);
            assert_eq!(with(&options), Err(Malformed::Options(Option::OptionLength)));
        }
        for units in 1..=255_u8 {
            let mut option = vec![0xff; usize::from(units) * 8];
            option[..2].copy_from_slice(&[1, units]);
            assert_eq!(with(&[&option]), Ok(()), "{units} units");
            option.pop();
            let truncated = Err(Malformed::Options(Option::OptionTruncated));
            assert_eq!(with(&[&option]), truncated, "{units} units");
        }
        assert_eq!(with(&[&[1]]), Err(Malformed::Options(Option::OptionTruncated)));
        let many = Err(Malformed::Options(Option::TooManyOptions));
        assert_eq!(with(&vec![&good[..]; 257]), many);
    }
}
