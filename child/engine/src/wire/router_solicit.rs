//! Router Solicitation (RFC 4861 section 4.1).

/// The message from the ICMPv6 type on: type 133, code 0, a checksum for the kernel to fill in,
/// four reserved octets. No Source Link-Layer Address: the link has none (RFC 4213 section 3.8).
pub fn build() -> Vec<u8> {
    vec![133, 0, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use pnet_packet::icmpv6::{Icmpv6Packet, checksum};

    /// As the Linux kernel sent it.
    #[test]
    fn is_what_the_kernel_checksums_to_1334() {
        let message = super::build();
        let source: Ipv6Addr = "fe80::5efe:a00:105".parse().unwrap();
        let destination: Ipv6Addr = "ff02::2".parse().unwrap();
        let sum = checksum(&Icmpv6Packet::new(&message).unwrap(), &source, &destination);
        assert_eq!(sum, 0x1334);
        assert_eq!(message, [0x85, 0, 0, 0, 0, 0, 0, 0]);
    }
}
