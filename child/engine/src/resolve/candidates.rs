//! In which order a name is completed (resolv.conf(5): search, ndots).

use std::collections::VecDeque;

use isatapd_proto::HostName;

use crate::wire::resolv_conf::ResolvConf;

/// The full names to ask for, in order; maybe none.
pub(super) fn candidates(name: &HostName, conf: &ResolvConf) -> VecDeque<HostName> {
    let text = name.as_str();
    if let Some(absolute) = text.strip_suffix('.') {
        return absolute.parse().into_iter().collect();
    }
    let searched = conf.search.iter().filter_map(|domain| complete(text, domain));
    let dots = text.bytes().filter(|b| *b == b'.').count();
    let mut found: VecDeque<HostName> = searched.collect();
    if dots == 0 {
        // Never as it is: no site has it, but who answers for the root might, and a stub of the
        // host might ask its neighbours (LLMNR).
    } else if dots >= usize::from(conf.ndots) {
        found.push_front(name.clone());
    } else {
        found.push_back(name.clone());
    }
    found
}

/// `None` if it is too long for a name.
fn complete(name: &str, domain: &HostName) -> Option<HostName> {
    let domain = domain.as_str().trim_end_matches('.');
    format!("{name}.{domain}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_glibcs_but_for_single_labels() {
        for (name, search, ndots, expected) in [
            ("isatap", "a.example b.example", 1, "isatap.a.example isatap.b.example"),
            ("isatap", "a.example", 0, "isatap.a.example"),
            ("isatap", "", 1, ""),
            ("isatap.", "a.example", 1, "isatap"),
            ("r.site", "a.example", 1, "r.site r.site.a.example"),
            ("r.site", "a.example", 2, "r.site.a.example r.site"),
            ("r.site.example.", "a.example", 15, "r.site.example"),
        ] {
            let search = search.split_whitespace().map(|d| d.parse().unwrap()).collect();
            let conf = ResolvConf { search, ndots, ..ResolvConf::default() };
            let found = candidates(&name.parse().unwrap(), &conf);
            let found: Vec<_> = found.iter().map(HostName::as_str).collect();
            assert_eq!(found.join(" "), expected, "{name} with ndots {ndots}");
        }
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let label = "a".repeat(63);
        let name: HostName = format!("{label}.{label}").parse().unwrap();
        let search = vec![format!("{label}.{label}").parse().unwrap(), "b".parse().unwrap()];
        let conf = ResolvConf { search, ..ResolvConf::default() };
        let lengths: Vec<_> = candidates(&name, &conf).iter().map(|n| n.as_str().len()).collect();
        assert_eq!(lengths, [127, 129]);
    }
}
