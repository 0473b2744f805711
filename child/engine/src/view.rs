//! The whole state in a bounded number of log lines, for the operator.

use std::fmt::Write;

use isatapd_proto::isatap::UBit;
use isatapd_proto::{Level, OnLinkPrefix, Slot};

use crate::addrconf::Prefix;
use crate::prl::{Prl, Router};
use crate::text::{self, Left};
use crate::{Engine, Instant};

/// Lines of one dump.
const MAX_LINES: usize = 256;

/// Writes the state of `engine` to the log.
pub(crate) fn dump(engine: &mut Engine) {
    let lines = lines(engine);
    let more = lines.len().saturating_sub(MAX_LINES);
    for line in lines.iter().take(MAX_LINES) {
        engine.cx.write(Level::Notice, format_args!("state: {line}"));
    }
    if more > 0 {
        engine.cx.write(Level::Notice, format_args!("state: {more} more lines, left out"));
    }
}

/// What matters most first.
fn lines(engine: &Engine) -> Vec<String> {
    let now = engine.cx.now;
    let mut lines = vec![match engine.tunnel {
        Some(tunnel) => format!("tunnel: locator {}, MTU {}", tunnel.locator, tunnel.mtu.get()),
        None => "tunnel: none".to_owned(),
    }];
    lines.extend(engine.advertiser.describe());
    lines.extend(engine.resolver.describe(now, &engine.prl));
    lines.extend(engine.prl.iter().map(|(slot, router)| router_line(slot, router, now)));
    lines.extend(engine.prefixes.iter().map(|(net, p)| prefix_line(net, p, &engine.prl, now)));
    let counters = engine.cx.counters.iter();
    lines.extend(counters.map(|(counter, count)| format!("{}: {count}", counter.text())));
    for (_, router) in engine.prl.iter() {
        learnt_lines(router, now, &mut lines);
    }
    lines
}

fn router_line(slot: Slot, router: &Router, now: Instant) -> String {
    let Router { address, schedule, learnt, .. } = router;
    let mut line = format!("router {address}: slot {}", slot.get());
    if let Some(form) = schedule.answered() {
        let u = u8::from(form == UBit::Universal);
        add(&mut line, format_args!("u bit {u}"));
    }
    match learnt.heard {
        Some((at, _)) => add(&mut line, format_args!("heard {} s ago", now.since(at).as_secs())),
        None => add(&mut line, format_args!("not heard")),
    }
    if let Some(default) = learnt.default {
        let (left, preference) =
            (Left(default.until.left(now)), text::preference(default.preference));
        add(&mut line, format_args!("default router for {left}, preference {preference}"));
    }
    if let Some(mtu) = learnt.mtu {
        add(&mut line, format_args!("MTU {}", mtu.get()));
    }
    if let Some(limit) = learnt.hop_limit {
        add(&mut line, format_args!("hop limit {limit}"));
    }
    for (set, flag) in [(learnt.managed, "M"), (learnt.other, "O")] {
        if set {
            add(&mut line, format_args!("flag {flag}"));
        }
    }
    match schedule.due() {
        Some(due) => {
            add(&mut line, format_args!("next solicitation in {} s", due.since(now).as_secs()));
        }
        None => add(&mut line, format_args!("no socket")),
    }
    line
}

fn add(line: &mut String, item: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = write!(line, ", {item}");
}

fn prefix_line(net: OnLinkPrefix, prefix: &Prefix, prl: &Prl, now: Instant) -> String {
    let mut line = format!("prefix {net}:");
    match prefix.address {
        Some(address) => {
            let (valid, preferred) = (address.valid.left(now), address.preferred.left(now));
            let (valid, preferred) = (Left(valid), Left(preferred));
            let _ = write!(line, " address valid {valid}, preferred {preferred}");
        }
        None => line += " no address",
    }
    if let Some(until) = prefix.on_link {
        add(&mut line, format_args!("on-link {}", Left(until.left(now))));
    }
    for slot in prefix.advertisers() {
        if let Some((_, router)) = prl.iter().find(|(s, _)| *s == slot) {
            add(&mut line, format_args!("by {}", router.address));
        }
    }
    line
}

fn learnt_lines(router: &Router, now: Instant, lines: &mut Vec<String>) {
    let Router { address, learnt, .. } = router;
    lines.extend(learnt.routes.iter().map(|entry| {
        let (left, preference) = (Left(entry.until.left(now)), text::preference(entry.value));
        format!("route {}: by {address}, preference {preference}, {left}", entry.key)
    }));
    let live = |left: isatapd_proto::Lifetime| (!left.is_zero()).then_some(Left(left));
    lines.extend(learnt.rdnss.iter().filter_map(|entry| {
        let left = live(entry.until.left(now))?;
        Some(format!("DNS server {}: by {address}, {left}", entry.key))
    }));
    lines.extend(learnt.dnssl.iter().filter_map(|entry| {
        let left = live(entry.until.left(now))?;
        Some(format!("DNS search domain {}: by {address}, {left}", entry.key))
    }));
    lines.extend(learnt.pref64.iter().filter_map(|entry| {
        let left = live(entry.until.left(now))?;
        Some(format!("NAT64 prefix {}: by {address}, {left}", entry.key))
    }));
}
