//! What other routers of the link advertise, beside what we do (RFC 4861 section 6.2.7, RFC 8781
//! section 5.2). It is said, never applied.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use isatapd_proto::{Level, UnicastV4};

use crate::context::Context;
use crate::text::Left;
use crate::wire::router_advert::RouterAdvert;

/// The differences of each of them that were said, by subject; empty: it agrees.
#[derive(Debug, Default)]
pub(crate) struct Others(BTreeMap<UnicastV4, BTreeMap<String, String>>);

impl Others {
    /// `router` advertises `theirs`: what differs from `ours` is said once, and again when it
    /// changes.
    pub(crate) fn compare(
        &mut self,
        cx: &mut Context,
        router: UnicastV4,
        ours: &RouterAdvert,
        theirs: &RouterAdvert,
    ) {
        let said = self.0.entry(router).or_default();
        let differed = !said.is_empty();
        for Compared { subject, difference } in compared(ours, theirs) {
            let Some(difference) = difference else {
                said.remove(&subject);
                continue;
            };
            if said.get(&subject) != Some(&difference) {
                let line = format_args!("router {router}: advertises {subject} {difference}");
                cx.log(Level::Notice, line);
                said.insert(subject, difference);
            }
        }
        if differed && said.is_empty() {
            cx.log(Level::Notice, format_args!("router {router}: advertises the same as we do"));
        }
    }

    /// Only these are still there.
    pub(crate) fn retain(&mut self, routers: &[UnicastV4]) {
        self.0.retain(|router, _| routers.contains(router));
    }

    /// What we advertise has changed: all is compared anew.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What both specify.
struct Compared {
    subject: String,
    /// In words; `None`: they agree.
    difference: Option<String>,
}

/// What one of the two leaves unspecified is not compared: another message of theirs may have it.
fn compared(ours: &RouterAdvert, theirs: &RouterAdvert) -> Vec<Compared> {
    let ms = |time: Option<Duration>| time.map(|time| format!("{} ms", time.as_millis()));
    let set = |flag| Some(if flag { "set" } else { "not set" });
    let mut found: Vec<Compared> = [
        compare("hop limit", ours.hop_limit, theirs.hop_limit),
        compare("flag M", set(ours.managed), set(theirs.managed)),
        compare("flag O", set(ours.other), set(theirs.other)),
        compare("reachable time", ms(ours.reachable_time), ms(theirs.reachable_time)),
        compare("retransmission timer", ms(ours.retrans_timer), ms(theirs.retrans_timer)),
        compare("MTU", ours.mtu, theirs.mtu),
    ]
    .into_iter()
    .flatten()
    .collect();
    for our in &ours.prefixes {
        let net = our.prefix;
        for their in theirs.prefixes.iter().filter(|their| their.prefix == net) {
            let (valid, preferred) = (Left(our.valid).to_string(), Left(our.preferred).to_string());
            let theirs = [Left(their.valid).to_string(), Left(their.preferred).to_string()];
            let [their_valid, their_preferred] = theirs;
            found.extend(compare(&format!("{net} valid"), Some(valid), Some(their_valid)));
            found.extend(compare(
                &format!("{net} preferred"),
                Some(preferred),
                Some(their_preferred),
            ));
        }
    }
    found.extend(compare("NAT64 prefixes", nat64(ours), nat64(theirs)));
    found
}

fn compare<T: PartialEq + Display>(
    subject: &str,
    our: Option<T>,
    their: Option<T>,
) -> Option<Compared> {
    let (our, their) = (our?, their?);
    let difference = (our != their).then(|| format!("{their}, we {our}"));
    Some(Compared { subject: subject.to_owned(), difference })
}

/// Those that are in force, in order; `None`: it has none.
fn nat64(advert: &RouterAdvert) -> Option<String> {
    let live = advert.pref64.iter().filter(|option| !option.lifetime.is_zero());
    let mut prefixes: Vec<_> = live.map(|option| option.prefix).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let texts: Vec<_> = prefixes.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}
