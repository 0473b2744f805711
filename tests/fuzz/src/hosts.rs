//! The hosts file.

use isatapd_engine::wire::hosts::lookup;
use isatapd_proto::HostName;

/// Every address stands in the file as text, none twice, and case and a final dot do not matter.
pub fn check(data: &[u8]) {
    for name in ["isatap", "isatap.example.com", "a-b_c.example"] {
        let found = lookup(data, &host(name));
        assert!(found.len() <= 64);
        for (index, address) in found.iter().enumerate() {
            assert!(!found[..index].contains(address));
            let text = address.to_string();
            assert!(data.windows(text.len()).any(|window| window == text.as_bytes()));
        }
        assert_eq!(lookup(data, &host(&format!("{name}."))), found);
        assert_eq!(lookup(&data.to_ascii_uppercase(), &host(name)), found);
    }
}

fn host(name: &str) -> HostName {
    name.parse().expect("a host name")
}
