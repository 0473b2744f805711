//! The answer for people: what matters most first, one thing a line.

use std::fmt::{Display, Write};

use isatapd_proto::control::{
    Advertises, Counts, Learnt, Name, Prefix, Role, Router, Seconds, Show,
};
use isatapd_proto::isatap::UBit;
use isatapd_proto::{Backend, Preference};

/// Lines of a subject and what is said of it, with a title.
struct Section(&'static str, Vec<(String, String)>);

/// How things stand.
pub(crate) fn show(show: &Show) -> String {
    let name = if show.name.is_empty() { "isatapd" } else { &*show.name };
    let state = match (show.working, &*show.why) {
        (true, _) => "working".to_owned(),
        (false, why) => format!("not working: {why}"),
    };
    let first = format!("{}\n", escape(&format!("{name}: {state}")));
    let dns = show.dns_servers.iter().map(|s| learnt("server", s));
    let dns = dns.chain(show.dns_domains.iter().map(|d| learnt("search domain", d)));
    let sections = [
        Section("tunnel", tunnel(show)),
        Section("advertises", show.advertises.as_ref().map(advertises).unwrap_or_default()),
        Section("names", show.names.iter().map(|n| (n.name.to_string(), of_name(n))).collect()),
        Section(
            "routers",
            show.routers.iter().map(|r| (r.address.to_string(), of_router(r))).collect(),
        ),
        Section(
            "prefixes",
            show.prefixes.iter().map(|p| (p.prefix.to_string(), of_prefix(p))).collect(),
        ),
        Section("routes", show.routes.iter().map(of_route).collect()),
        Section("DNS", dns.collect()),
        Section("NAT64", show.nat64_prefixes.iter().map(|n| learnt("prefix", n)).collect()),
        Section("counters", of_counters(&show.counters)),
    ];
    sections.iter().fold(first, |text, section| text + &section.lines())
}

/// All counters.
pub(crate) fn counters(counters: &Counts) -> String {
    columns(&of_counters(counters), "")
}

impl Section {
    fn lines(&self) -> String {
        let Self(title, rows) = self;
        if rows.is_empty() { String::new() } else { format!("{title}\n{}", columns(rows, "  ")) }
    }
}

fn columns(rows: &[(String, String)], indent: &str) -> String {
    let rows: Vec<_> = rows.iter().map(|(what, text)| (escape(what), escape(text))).collect();
    let width = rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for (what, text) in rows {
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{indent}{what:width$}  {text}");
    }
    lines
}

fn tunnel(show: &Show) -> Vec<(String, String)> {
    let backend = match show.backend {
        None => "none".to_owned(),
        Some(Backend::Kernel) => "kernel".to_owned(),
        Some(Backend::Tun) => "tun".to_owned(),
    };
    let reason = if show.reason.is_empty() { "" } else { ": " };
    let role = match (show.role, show.forwarding) {
        (Role::Host, _) => "host",
        (Role::Router, true) => "router",
        (Role::Router, false) => "router, but this host does not forward",
    };
    let mut rows = vec![
        ("role".to_owned(), role.to_owned()),
        ("backend".to_owned(), format!("{backend}{reason}{}", &*show.reason)),
    ];
    rows.extend(show.locator.map(|locator| ("locator".to_owned(), locator.to_string())));
    rows.extend(show.mtu.map(|mtu| ("MTU".to_owned(), mtu.get().to_string())));
    rows
}

fn advertises(advertises: &Advertises) -> Vec<(String, String)> {
    let default = match advertises.lifetime {
        Seconds(0) => "no default router".to_owned(),
        time => format!("for {}, {}", Time(Some(time)), preference(advertises.preference)),
    };
    let mut rows = vec![("default router".to_owned(), default)];
    rows.extend(advertises.prefixes.iter().map(|offer| {
        let (valid, preferred) = (Time(offer.valid), Time(offer.preferred));
        (offer.prefix.to_string(), format!("valid {valid}, preferred {preferred}"))
    }));
    let Advertises { clients, pending, .. } = advertises;
    rows.push(("hosts".to_owned(), format!("{clients} recently, {pending} to be answered")));
    rows
}

fn of_name(name: &Name) -> String {
    let mut items = Vec::new();
    if name.count == 0 {
        items.push("no address".to_owned());
    } else {
        let all: Vec<_> = name.addresses.iter().map(ToString::to_string).collect();
        let more = u64::from(name.count).saturating_sub(all.len().try_into().unwrap_or(u64::MAX));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        items.push(all.join(" ") + &more);
    }
    items.extend(name.full_name.as_ref().map(|full| format!("as {full}")));
    items.extend(name.hosts_file.then(|| "by the hosts file".to_owned()));
    items.extend(name.ttl.map(|ttl| format!("time to live {}", Time(Some(ttl)))));
    items.extend(name.error.as_ref().map(|error| (**error).to_owned()));
    items.push(match name.next {
        _ if name.asking => "is being looked up".to_owned(),
        Some(next) => format!("next look-up in {}", Time(Some(next))),
        None => "next look-up when the files change".to_owned(),
    });
    items.join(", ")
}

fn of_router(router: &Router) -> String {
    let mut items = vec![match router.heard {
        Some(ago) => format!("heard {} ago", Time(Some(ago))),
        None => "not heard".to_owned(),
    }];
    items.extend(router.default_router.map(|default| {
        format!("default router for {}, {}", Time(default.left), preference(default.preference))
    }));
    items.extend((!router.reachable).then(|| "unreachable".to_owned()));
    items.extend(router.probe.map(|next| format!("asked again in {}", Time(Some(next)))));
    items.extend((router.unanswered > 0).then(|| format!("{} unanswered", router.unanswered)));
    items.extend(router.error.as_ref().map(|error| (**error).to_owned()));
    items.push(match router.next {
        Some(next) => format!("next solicitation in {}", Time(Some(next))),
        None => "no way to it".to_owned(),
    });
    items.push(format!("slot {}", router.slot.get()));
    items.extend(router.u_bit.map(|form| format!("u {}", u8::from(form == UBit::Universal))));
    items.extend(router.mtu.map(|mtu| format!("MTU {}", mtu.get())));
    items.extend(router.hop_limit.map(|limit| format!("hop limit {limit}")));
    items.extend(router.managed.then(|| "flag M".to_owned()));
    items.extend(router.other.then(|| "flag O".to_owned()));
    items.join(", ")
}

fn of_prefix(prefix: &Prefix) -> String {
    let mut items = Vec::new();
    if let Some(address) = prefix.address {
        items.push(address.ip.map_or("no tunnel".to_owned(), |ip| ip.to_string()));
        items.push(format!("valid {}", Time(address.valid)));
        items.push(format!("preferred {}", Time(address.preferred)));
    } else {
        items.push("no address".to_owned());
    }
    items.extend(prefix.on_link.then(|| "on the link".to_owned()));
    items.extend(prefix.by.iter().map(|router| format!("by {router}")));
    items.join(", ")
}

fn of_route(route: &isatapd_proto::control::Route) -> (String, String) {
    let by = route.by.map_or("on the link".to_owned(), |router| format!("by {router}"));
    let text = format!("{by}, {}, {}", preference(route.preference), Time(route.left));
    (route.destination.to_string(), text)
}

fn learnt<T: Display>(what: &str, learnt: &Learnt<T>) -> (String, String) {
    (format!("{what} {}", learnt.value), format!("by {}, {}", learnt.by, Time(learnt.left)))
}

fn of_counters(counters: &Counts) -> Vec<(String, String)> {
    counters.iter().map(|count| ((*count.what).to_owned(), count.count.to_string())).collect()
}

const fn preference(preference: Preference) -> &'static str {
    match preference {
        Preference::Low => "preference low",
        Preference::Medium => "preference medium",
        Preference::High => "preference high",
    }
}

/// A time in its two largest units.
struct Time(Option<Seconds>);

impl Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(Seconds(all)) = self.0 else { return f.write_str("for ever") };
        let (days, hours, minutes, seconds) =
            (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
        let (first, second) = match (days, hours, minutes) {
            (0, 0, 0) => ((seconds, "s"), (0, "")),
            (0, 0, _) => ((minutes, "min"), (seconds, "s")),
            (0, ..) => ((hours, "h"), (minutes, "min")),
            _ => ((days, "d"), (hours, "h")),
        };
        write!(f, "{} {}", first.0, first.1)?;
        if second.0 > 0 { write!(f, " {} {}", second.0, second.1) } else { Ok(()) }
    }
}

/// `text` as one line of printable ASCII. Any other octet, and the backslash, becomes `\xNN`.
pub(crate) fn escape(text: &str) -> String {
    let mut line = String::new();
    for octet in text.bytes() {
        if matches!(octet, b' '..=b'~') && octet != b'\\' {
            line.push(char::from(octet));
        } else {
            let _ = write!(line, "\\x{octet:02x}");
        }
    }
    line
}

#[cfg(test)]
pub(crate) mod tests;
