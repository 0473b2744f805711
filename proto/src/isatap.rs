//! ISATAP interface identifiers (RFC 5214 section 6.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::UnicastV4;

/// The universal/local bit of an ISATAP interface identifier: which of its two forms is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UBit {
    /// `0000:5efe`: the IPv4 address is not known to be globally unique.
    Local,
    /// `0200:5efe`: it is.
    Universal,
}

impl UBit {
    /// Both forms.
    pub const BOTH: [Self; 2] = [Self::Local, Self::Universal];

    /// The form that Linux gives to `address`, so that both backends have the same addresses.
    pub fn of(address: Ipv4Addr) -> Self {
        const fn net(a: u8, b: u8, c: u8, len: u8) -> Ipv4Net {
            Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), len)
        }
        // The list of net/ipv6/addrconf.c, __ipv6_isatap_ifid().
        const LOCAL: [Ipv4Net; 10] = [
            net(0, 0, 0, 8),
            net(10, 0, 0, 8),
            net(127, 0, 0, 8),
            net(169, 254, 0, 16),
            net(172, 16, 0, 12),
            net(192, 0, 2, 24),
            net(192, 88, 99, 24),
            net(192, 168, 0, 16),
            net(198, 18, 0, 15),
            net(224, 0, 0, 4),
        ];
        if address.is_broadcast() || LOCAL.iter().any(|net| net.contains(&address)) {
            Self::Local
        } else {
            Self::Universal
        }
    }

    /// The other form.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Local => Self::Universal,
            Self::Universal => Self::Local,
        }
    }
}

/// `prefix`/64 with the ISATAP interface identifier of `address`.
pub fn address(prefix: Ipv6Addr, address: UnicastV4, u: UBit) -> Ipv6Addr {
    let [a, b, c, d, ..] = prefix.segments();
    let high = if u == UBit::Universal { 0x0200 } else { 0 };
    let [w, x, y, z] = address.get().octets();
    let (upper, lower) = (u16::from_be_bytes([w, x]), u16::from_be_bytes([y, z]));
    Ipv6Addr::new(a, b, c, d, high, 0x5efe, upper, lower)
}

/// The link-local ISATAP address of `v4` (RFC 5214 section 6.2).
pub fn link_local(v4: UnicastV4, u: UBit) -> Ipv6Addr {
    address(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), v4, u)
}

/// The IPv4 address in an ISATAP address and the form it has; `None` for any other address.
pub fn embedded(address: Ipv6Addr) -> Option<(Ipv4Addr, UBit)> {
    let [.., high, 0x5efe, upper, lower] = address.segments() else { return None };
    let u = match high {
        0 => UBit::Local,
        0x0200 => UBit::Universal,
        _ => return None,
    };
    let ([a, b], [c, d]) = (upper.to_be_bytes(), lower.to_be_bytes());
    Some((Ipv4Addr::new(a, b, c, d), u))
}

/// The 6to4 prefix of `address` (2002:V4::/48): what lies in it would come back to us in IPv4
/// (RFC 6324 section 3.3), so neither an address nor a route of ours may.
pub const fn own_6to4(address: UnicastV4) -> Ipv6Net {
    let [a, b, c, d] = address.get().octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0), 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_the_kernels() {
        for (v4, expected) in [
            ("10.0.1.5", "fe80::5efe:a00:105"),
            ("8.8.8.9", "fe80::200:5efe:808:809"),
            ("203.0.113.9", "fe80::200:5efe:cb00:7109"),
            ("192.0.2.1", "fe80::5efe:c000:201"),
            ("100.64.0.1", "fe80::200:5efe:6440:1"),
            ("198.51.100.1", "fe80::200:5efe:c633:6401"),
            ("172.31.255.255", "fe80::5efe:ac1f:ffff"),
            ("172.32.0.0", "fe80::200:5efe:ac20:0"),
            ("198.19.255.1", "fe80::5efe:c613:ff01"),
        ] {
            let v4: Ipv4Addr = v4.parse().unwrap();
            let formed = link_local(v4.try_into().unwrap(), UBit::of(v4));
            assert_eq!(formed, expected.parse::<Ipv6Addr>().unwrap());
            assert_eq!(embedded(formed), Some((v4, UBit::of(v4))));
        }
        assert_eq!(UBit::of(Ipv4Addr::new(240, 0, 0, 1)), UBit::Universal);
        assert_eq!(UBit::of(Ipv4Addr::BROADCAST), UBit::Local);
    }

    #[test]
    fn other_identifiers_embed_nothing() {
        for address in ["fe80::1", "fe80::100:5efe:a00:1", "fe80::5eff:a00:1", "::"] {
            assert_eq!(embedded(address.parse().unwrap()), None, "{address}");
        }
    }
}
