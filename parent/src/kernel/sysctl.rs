//! Settings of an interface that have no other interface than /proc/sys.

use std::fs;

use nix::errno::Errno;

use super::{InterfaceName, KernelError, Refusal};

/// What the kernel would otherwise do of its own accord; the child does it, and checks what the
/// kernel does not (RFC 5214 section 8.3.3).
const SETTINGS: [&str; 4] = [
    // Addresses, routes, MTU and more of advertisements, whoever of the PRL they come from.
    "accept_ra",
    // Addresses of prefixes.
    "autoconf",
    // Routes to where a router of the PRL says.
    "accept_redirects",
    // Solicitations to ff02::2, which has no meaning here.
    "router_solicitations",
];

/// Whether IPv6 is switched off on an interface, or on those to come if that is `default`.
pub fn ipv6_is_off(interface: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"))
        .is_ok_and(|value| value.trim_end() != "0")
}

/// Stops the kernel from configuring the interface by what the network says. To be called before the
/// interface is up. `EROFS`: /proc/sys is read-only, as in a container; `ENOENT`: no IPv6.
pub fn hold_still(name: &InterfaceName) -> Result<(), KernelError> {
    for setting in SETTINGS {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/{setting}");
        fs::write(&path, "0")
            .and_then(|()| fs::read_to_string(&path))
            .map_err(Refusal::from)
            .and_then(|value| match value.trim_end() {
                "0" => Ok(()),
                value => Err(Refusal::because(Errno::EPROTO, format!("it stays {value}"))),
            })
            .map_err(|e| KernelError::new(&path, "set to 0", e))?;
    }
    Ok(())
}
