//! Name servers of resolv.conf: the only text that the parent parses which the network may have
//! written. The rest of the file is the child's.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

use isatapd_proto::{MAX_FILE, MAX_NAME_SERVERS};
use nix::net::if_::if_nameindex;

use crate::kernel::InterfaceName;

const DNS_PORT: u16 = 53;

/// The first three servers of `resolv_conf`, as resolv.conf(5) has it: a line that is not understood
/// is passed over, and without any the server is 127.0.0.1. What is beyond 64 KiB is not read.
pub fn name_servers(resolv_conf: &[u8]) -> Vec<SocketAddr> {
    parse(resolv_conf, index_of)
}

/// By netlink; if_nametoindex(3) would need an ioctl, which the parent's filter has no rule for.
fn index_of(name: &InterfaceName) -> Option<u32> {
    let interfaces = if_nameindex().ok()?;
    let found = interfaces.iter().find(|i| i.name().to_bytes() == name.as_str().as_bytes())?;
    Some(found.index())
}

/// `index_of` says which interface is meant by a scope, as in fe80::1%eth0.
fn parse(resolv_conf: &[u8], index_of: impl Fn(&InterfaceName) -> Option<u32>) -> Vec<SocketAddr> {
    let mut servers: Vec<_> = whole_lines(resolv_conf)
        .split(|octet| *octet == b'\n')
        .filter_map(|line| server(str::from_utf8(line).ok()?, &index_of))
        .take(MAX_NAME_SERVERS)
        .collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
    }
    servers
}

/// `text`, if too long without the line that is cut off.
fn whole_lines(text: &[u8]) -> &[u8] {
    let Some(start) = text.get(..MAX_FILE).filter(|start| start.len() < text.len()) else {
        return text;
    };
    let end = start.iter().rposition(|octet| *octet == b'\n').unwrap_or(0);
    start.get(..end).unwrap_or_default()
}

fn server(line: &str, index_of: &impl Fn(&InterfaceName) -> Option<u32>) -> Option<SocketAddr> {
    let value = line.strip_prefix("nameserver")?.strip_prefix([' ', '\t'])?;
    let value = value.trim_start_matches([' ', '\t']);
    let (value, _) = value.split_once([' ', '\t', '\r', ';', '#']).unwrap_or((value, ""));
    match value.split_once('%') {
        None => Some(SocketAddr::new(value.parse().ok()?, DNS_PORT)),
        Some((address, scope)) => {
            let index = match scope.parse() {
                Ok(number) => number,
                Err(_) => index_of(&scope.parse().ok()?)?,
            };
            Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, index).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &[u8]) -> Vec<String> {
        let index_of = |name: &InterfaceName| (name.as_str() == "eth0").then_some(7);
        parse(text, index_of).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_are_read_as_by_the_c_library() {
        for (text, servers) in [
            ("", &["127.0.0.1:53"][..]),
            ("nameserver 10.0.0.53", &["10.0.0.53:53"]),
            ("nameserver\t 10.0.0.53 \n", &["10.0.0.53:53"]),
            ("nameserver 10.0.0.53\r\n", &["10.0.0.53:53"]),
            ("nameserver 10.0.0.53#x\nnameserver ::1;y\n", &["10.0.0.53:53", "[::1]:53"]),
            (
                "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver x\nnameserver 3.3.3.3\n\
              nameserver 4.4.4.4",
                &["1.1.1.1:53", "2.2.2.2:53", "3.3.3.3:53"],
            ),
            (
                "nameserver fe80::1%eth0\nnameserver fe80::2%9",
                &["[fe80::1%7]:53", "[fe80::2%9]:53"],
            ),
            ("nameserver fe80::1%eth1\nnameserver fe80::1%../x", &["127.0.0.1:53"]),
            ("nameserver 10.0.0.1%eth0\nnameserver fe80::1%", &["127.0.0.1:53"]),
            (
                " nameserver 1.1.1.1\nnameservers 1.1.1.1\nnameserver1.1.1.1\n#nameserver 1.1.1.1\n\
              search nameserver 1.1.1.1\nnameserver 1.1.1\nnameserver",
                &["127.0.0.1:53"],
            ),
        ] {
            assert_eq!(texts(text.as_bytes()), servers, "{text:?}");
        }
        assert_eq!(texts(b"\xff\nnameserver 1.1.1.1\xff\nnameserver 2.2.2.2"), ["2.2.2.2:53"]);
    }

    #[test]
    fn no_line_is_cut_in_two() {
        let mut text = vec![b'#'; MAX_FILE - 20];
        text.extend(b"\nnameserver 10.0.0.123\n");
        assert_eq!(texts(&text), ["127.0.0.1:53"]);
        text.drain(..4);
        assert_eq!(texts(&text), ["10.0.0.123:53"]);
        assert_eq!(name_servers(b"nameserver fe80::1%lo"), ["[fe80::1%1]:53".parse().unwrap()]);
        assert_eq!(texts(&vec![b'\n'; 3 * MAX_FILE]), ["127.0.0.1:53"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_one_to_three_servers(text in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!((1..=MAX_NAME_SERVERS).contains(&texts(&text).len()));
        }

        #[test]
        fn any_server_is_found(servers in prop::collection::vec(any::<std::net::IpAddr>(), 1..4)) {
            let lines: Vec<_> = servers.iter().map(|s| format!("x\nnameserver {s}\n")).collect();
            let text = lines.concat();
            let expected: Vec<_> = servers.iter().map(|s| SocketAddr::new(*s, 53)).collect();
            prop_assert_eq!(name_servers(text.as_bytes()), expected);
        }
    }
}
