use std::fmt;
use std::str::FromStr;

use isatapd_proto::InvalidValue;

/// A name of an interface: 1 to 15 visible ASCII characters (IFNAMSIZ), never `/`, `:` or `%`.
///
/// It becomes part of a path below /proc/sys (see CVE-2011-3602), where `all` and `default` are not
/// interfaces, and of log lines. The kernel takes more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidValue;

    fn from_str(name: &str) -> Result<Self, InvalidValue> {
        match name {
            "" => Err(InvalidValue("an empty interface name")),
            "." | ".." | "all" | "default" => Err(InvalidValue("not a name for an interface")),
            _ if name.len() > 15 => Err(InvalidValue("an interface name of more than 15 octets")),
            _ if !name.bytes().all(|b| b.is_ascii_graphic() && !b"/:%".contains(&b)) => {
                Err(InvalidValue("an interface name with a space, /, :, % or a special character"))
            }
            _ => Ok(Self(name.to_owned())),
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["is0", "a", "eth0.100", "br-lan_1", "123456789012345", "...", "x@y"] {
            assert_eq!(good.parse::<InterfaceName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            ".",
            "..",
            "all",
            "default",
            "1234567890123456",
            "a/b",
            "../x",
            "a b",
            "a:b",
            "a%b",
            "a\n",
            "a\0",
            "\u{7f}",
            "é",
        ] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }
}
