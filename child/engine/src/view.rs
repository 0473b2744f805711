//! The whole state in a bounded number of lines, for the operator.

use std::fmt::{Arguments, Display, Write};

use isatapd_proto::control::{Learnt, Name, Prefix, Router, Seconds, Show};
use isatapd_proto::isatap::UBit;
use isatapd_proto::{Level, MAX_DUMP_PIECE, Preference, Request, Text};

use crate::Engine;
use crate::text::{self, Count};

/// Lines of one dump.
const MAX_LINES: usize = 256;

/// Writes the state of `engine` to the log, and tells it the parent.
pub(crate) fn dump(engine: &mut Engine) {
    let mut lines = lines(&engine.show(engine.cx.now));
    lines.splice(1..1, engine.advertiser.describe());
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    if more > 0 {
        lines.push(format!("{more} more lines, left out"));
    }
    for line in &lines {
        engine.cx.write(Level::Notice, format_args!("state: {line}"));
    }
    let mut piece = String::new();
    for line in lines {
        if piece.len().saturating_add(line.len()) >= MAX_DUMP_PIECE {
            engine.cx.send(Request::Dump { text: Text::cut(&piece), last: false });
            piece.clear();
        }
        piece.push_str(&line);
        piece.push('\n');
    }
    engine.cx.send(Request::Dump { text: Text::cut(&piece), last: true });
}

/// What matters most first.
fn lines(show: &Show) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match (show.locator, show.mtu) {
        (Some(locator), Some(mtu)) => format!("tunnel: locator {locator}, MTU {}", mtu.get()),
        _ => "tunnel: none".to_owned(),
    });
    if !show.working {
        lines.push(format!("not working: {}", &*show.why));
    }
    lines.extend(show.names.iter().map(name_line));
    lines.extend(show.routers.iter().map(router_line));
    lines.extend(show.prefixes.iter().map(prefix_line));
    lines.extend(show.counters.iter().map(|c| format!("{}: {}", &*c.what, c.count)));
    lines.extend(show.routes.iter().map(|route| {
        let by = route.by.map_or("on the link".to_owned(), |router| format!("by {router}"));
        let preference = text::preference(route.preference);
        format!("route {}: {by}, preference {preference}, {}", route.destination, left(route.left))
    }));
    lines.extend(show.dns_servers.iter().map(|server| learnt_line("DNS server", server)));
    lines.extend(show.dns_domains.iter().map(|domain| learnt_line("DNS search domain", domain)));
    lines.extend(show.nat64_prefixes.iter().map(|net| learnt_line("NAT64 prefix", net)));
    lines
}

fn name_line(name: &Name) -> String {
    let count = Count(usize::try_from(name.count).unwrap_or(usize::MAX), "address", "es");
    let mut line = format!("{}: {count}", name.name);
    // Writing to a String does not fail.
    if let Some(full) = &name.full_name {
        let _ = write!(line, " as {full}");
    } else if name.hosts_file {
        line += " of the hosts file";
    }
    if let Some(ttl) = name.ttl {
        add(&mut line, format_args!("time to live {} s", ttl.0));
    }
    if let Some(error) = &name.error {
        add(&mut line, format_args!("{}", &**error));
    }
    match name.next {
        _ if name.asking => line += ", is being looked up",
        Some(next) => add(&mut line, format_args!("next lookup in {} s", next.0)),
        None => line += ", next lookup when the files change",
    }
    line
}

fn router_line(router: &Router) -> String {
    let mut line = format!("router {}: slot {}", router.address, router.slot.get());
    if let Some(form) = router.u_bit {
        let u = u8::from(form == UBit::Universal);
        add(&mut line, format_args!("u bit {u}"));
    }
    match router.heard {
        Some(ago) => add(&mut line, format_args!("heard {} s ago", ago.0)),
        None => line += ", not heard",
    }
    if let Some(default) = router.default_router {
        add_default(&mut line, default.left, default.preference);
    }
    if let Some(mtu) = router.mtu {
        add(&mut line, format_args!("MTU {}", mtu.get()));
    }
    if let Some(limit) = router.hop_limit {
        add(&mut line, format_args!("hop limit {limit}"));
    }
    for (set, flag) in [(router.managed, "M"), (router.other, "O")] {
        if set {
            add(&mut line, format_args!("flag {flag}"));
        }
    }
    if !router.reachable {
        line += ", unreachable";
    }
    if let Some(probe) = router.probe {
        add(&mut line, format_args!("asked again in {} s", probe.0));
    }
    if router.unanswered > 0 {
        add(&mut line, format_args!("{} unanswered", router.unanswered));
    }
    match router.next {
        Some(next) => add(&mut line, format_args!("next solicitation in {} s", next.0)),
        None => line += ", no way to it",
    }
    line
}

fn add_default(line: &mut String, time: Option<Seconds>, preference: Preference) {
    let preference = text::preference(preference);
    add(line, format_args!("default router for {}, preference {preference}", left(time)));
}

fn prefix_line(prefix: &Prefix) -> String {
    let mut line = format!("prefix {}:", prefix.prefix);
    match prefix.address {
        Some(address) => {
            let (valid, preferred) = (left(address.valid), left(address.preferred));
            let _ = write!(line, " address valid {valid}, preferred {preferred}");
        }
        None => line += " no address",
    }
    if prefix.on_link {
        line += ", on the link";
    }
    for router in prefix.by.iter() {
        add(&mut line, format_args!("by {router}"));
    }
    line
}

fn learnt_line<T: Display>(what: &str, learnt: &Learnt<T>) -> String {
    format!("{what} {}: by {}, {}", learnt.value, learnt.by, left(learnt.left))
}

fn add(line: &mut String, item: Arguments<'_>) {
    let _ = write!(line, ", {item}");
}

fn left(time: Option<Seconds>) -> String {
    time.map_or_else(|| "forever".to_owned(), |seconds| format!("{} s", seconds.0))
}
