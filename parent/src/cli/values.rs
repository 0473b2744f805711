//! The values of options, each from its text.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use isatapd_proto::{InvalidValue, Mtu, RouterSpec, RouterTimeout, UnicastV4};

use super::{BackendChoice, MIN_INTERVAL};
use crate::kernel::InterfaceName;

/// A value, or none by the option's own word for it.
#[derive(Clone, Debug)]
pub(super) struct Choice<T>(pub(super) Option<T>);

pub(super) fn name(text: &str) -> Result<InterfaceName, InvalidValue> {
    if text == "auto" { "is0" } else { text }.parse()
}

pub(super) fn link(text: &str) -> Result<Choice<InterfaceName>, InvalidValue> {
    match text {
        "auto" => Ok(Choice(None)),
        "lo" => Err(InvalidValue("no router is reached by the loopback link")),
        name => Ok(Choice(Some(name.parse()?))),
    }
}

pub(super) fn backend(text: &str) -> Result<BackendChoice, InvalidValue> {
    match text {
        "auto" => Ok(BackendChoice::Auto),
        "kernel" => Ok(BackendChoice::Kernel),
        "tun" => Ok(BackendChoice::Tun),
        _ => Err(InvalidValue("not auto, kernel or tun")),
    }
}

pub(super) fn locator(text: &str) -> Result<Choice<UnicastV4>, InvalidValue> {
    if text == "auto" {
        return Ok(Choice(None));
    }
    let address: Ipv4Addr = text.parse().map_err(|_| InvalidValue("not an IPv4 address"))?;
    Ok(Choice(Some(address.try_into()?)))
}

pub(super) fn mtu(text: &str) -> Result<Choice<Mtu>, InvalidValue> {
    if matches!(text, "auto" | "0") {
        return Ok(Choice(None));
    }
    let octets = u16::try_from(number(text)?).map_err(|_| InvalidValue("above 65535"))?;
    let mtu = Mtu::try_from(octets).map_err(|_| InvalidValue("below 1280, the least for IPv6"))?;
    Ok(Choice(Some(mtu)))
}

pub(super) fn ttl(text: &str) -> Result<Choice<NonZeroU8>, InvalidValue> {
    if matches!(text, "auto" | "inherit") {
        return Ok(Choice(None));
    }
    let hops = u8::try_from(number(text)?).ok().and_then(NonZeroU8::new);
    hops.map(|hops| Choice(Some(hops))).ok_or(InvalidValue("not from 1 to 255"))
}

pub(super) fn router(text: &str) -> Result<RouterSpec, InvalidValue> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(RouterSpec::Address(address.try_into()?));
    }
    if text.is_empty() {
        return Err(InvalidValue("an empty name"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(InvalidValue("an IPv6 address; the routers of a site have IPv4 addresses"));
    }
    text.parse().map(RouterSpec::Name)
}

pub(super) fn interval(text: &str) -> Result<Choice<Duration>, InvalidValue> {
    if text == "auto" { Ok(Choice(None)) } else { Ok(Choice(Some(at_least_120(text)?))) }
}

pub(super) fn check_dns(text: &str) -> Result<Choice<Duration>, InvalidValue> {
    if text == "0" { Ok(Choice(None)) } else { Ok(Choice(Some(at_least_120(text)?))) }
}

pub(super) fn router_timeout(text: &str) -> Result<RouterTimeout, InvalidValue> {
    u8::try_from(number(text)?).unwrap_or(u8::MAX).try_into()
}

fn at_least_120(text: &str) -> Result<Duration, InvalidValue> {
    let interval = Duration::from_secs(number(text)?.into());
    if interval < MIN_INTERVAL { Err(InvalidValue("below 120 s")) } else { Ok(interval) }
}

pub(super) fn user(text: &str) -> Result<String, InvalidValue> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidValue("not the name of a user"));
    }
    Ok(text.to_owned())
}

pub(super) fn number(text: &str) -> Result<u32, InvalidValue> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidValue("not a number"));
    }
    // C reads such a number as octal or as decimal, by the function it is given to.
    if text.len() > 1 && text.starts_with('0') {
        return Err(InvalidValue("a number with a leading zero"));
    }
    text.parse().map_err(|_| InvalidValue("too large"))
}
