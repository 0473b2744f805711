//! The hosts file (hosts(5)).

use std::net::Ipv4Addr;

use isatapd_proto::HostName;

use super::lines::{lines, words};

/// Addresses used of one file.
const MAX_ADDRESSES: usize = 64;

/// The IPv4 addresses that `hosts` gives to `name`, each once, in order, at most 64. Any address:
/// what cannot be a router is the caller's to refuse. Lines that are wrong are left out.
pub fn lookup(hosts: &[u8], name: &HostName) -> Vec<Ipv4Addr> {
    let name = without_dot(name.as_str());
    let mut found = Vec::new();
    for line in lines(hosts) {
        let line = line.split(|b| *b == b'#').next().unwrap_or_default();
        let mut words = words(line);
        // Strict: no octal, no missing parts.
        let Some(Ok(address)) = words.next().map(str::parse::<Ipv4Addr>) else { continue };
        if found.len() < MAX_ADDRESSES
            && words.any(|word| without_dot(word).eq_ignore_ascii_case(name))
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hosts: &str, name: &str) -> Vec<String> {
        let name = name.parse().unwrap();
        lookup(hosts.as_bytes(), &name).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_and_aliases() {
        let hosts = "127.0.0.1\tlocalhost\n\
            192.0.2.1 isatap.example.com isatap # isatap2\n\
            \x20 192.0.2.2 ISATAP. other\r\n\
            192.0.2.1 isatap\n\
            # 192.0.2.3 isatap\n\
            2001:db8::1 isatap\n\
            192.0.2.4 isatap.example\n\
            192.0.2.5 x#isatap\n\
            0.0.0.0 isatap";
        assert_eq!(found(hosts, "isatap"), ["192.0.2.1", "192.0.2.2", "0.0.0.0"]);
        assert_eq!(found(hosts, "Isatap.Example.COM."), ["192.0.2.1"]);
        assert_eq!(found(hosts, "isatap2"), [""; 0]);
        assert_eq!(found(hosts, "com"), [""; 0]);
    }

    #[test]
    fn addresses_are_strict() {
        for wrong in
            ["192.0.2", "192.0.2.256", "192.0.2.01", "0300.0.2.1", "192.0.2.1.", "1", "-", "isatap"]
        {
            assert_eq!(found(&format!("{wrong} isatap"), "isatap"), [""; 0], "{wrong}");
        }
        let hosts = b"\xff 192.0.2.1\n192.0.2.1 \xff\xfe isatap\n";
        assert_eq!(lookup(hosts, &"isatap".parse().unwrap()).len(), 1);
    }

    #[test]
    fn only_64_addresses() {
        let hosts: Vec<_> = (0..100).map(|i| format!("10.0.0.{i} isatap\n")).collect();
        let found = found(&hosts.concat(), "isatap");
        assert_eq!((found.len(), &found[63][..]), (64, "10.0.0.63"));
    }
}
