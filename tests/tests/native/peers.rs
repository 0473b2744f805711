//! What rdisc6(8) reads in our router's answers.

use isatapd_tests::forge::{isatap, universal};
use isatapd_tests::rdisc6;
use isatapd_tests::relay::Relay;
use isatapd_tests::site::{HOST, ROUTER1, Site};

const VARIABLES: [&str; 9] = [
    "AdvDefaultLifetime 1234",
    "AdvDefaultPreference high",
    "AdvCurHopLimit 61",
    "AdvManagedFlag on",
    "AdvOtherConfigFlag on",
    "AdvReachableTime 30000",
    "AdvRetransTimer 2000",
    "AdvLinkMTU 1400",
    "AdvRDNSSLifetime 1200",
];
const OPTIONS: [&str; 8] = [
    "--advertise",
    "2001:db8:3::/64,AdvValidLifetime=7200,AdvPreferredLifetime=0",
    "--advertise-route",
    "2001:db8:9::/48,AdvRouteLifetime=900,AdvRoutePreference=low",
    "--advertise-dns",
    "2001:db8:ffff::53",
    "--advertise-domain",
    "site.example",
];
const FIELDS: [&str; 27] = [
    "Hop limit : 61 ( 0x3d)",
    "Stateful address conf. : Yes",
    "Stateful other conf. : Yes",
    "Mobile home agent : No",
    "Router preference : high",
    "Neighbor discovery proxy : No",
    "Router lifetime : 1234 (0x000004d2) seconds",
    "Reachable time : 30000 (0x00007530) milliseconds",
    "Retransmit time : 2000 (0x000007d0) milliseconds",
    "Prefix : 2001:db8:1::/64",
    "On-link : Yes",
    "Autonomous address conf.: Yes",
    "Valid time : 86400 (0x00015180) seconds",
    "Pref. time : 14400 (0x00003840) seconds",
    "Prefix : 2001:db8:3::/64",
    "On-link : Yes",
    "Autonomous address conf.: Yes",
    "Valid time : 7200 (0x00001c20) seconds",
    "Pref. time : 0 (0x00000000) seconds",
    "MTU : 1400 bytes (valid)",
    "Route : 2001:db8:9::/48",
    "Route preference : low",
    "Route lifetime : 900 (0x00000384) seconds",
    "Recursive DNS server : 2001:db8:ffff::53",
    "DNS server lifetime : 1200 (0x000004b0) seconds",
    "DNS search list : site.example",
    "DNS search list lifetime: 1200 (0x000004b0) seconds",
];

#[test]
fn rdisc6_agrees_on_every_field_for_both_forms_and_all_routers() {
    let site = Site::bare(&[]);
    site.run_router("router1", &OPTIONS, &VARIABLES);
    let host = site.namespace("host");
    let _relay = Relay::start(&host, "peer", HOST, ROUTER1);
    let forms = |v4| [isatap(v4), universal(isatap(v4))];
    for source in forms(HOST) {
        site.ip("host", &format!("-6 addr add {source}/64 dev peer nodad"));
    }
    let [private, other] = forms(ROUTER1).map(|to| to.to_string());
    let mut want = FIELDS;
    want.sort_unstable();
    for source in forms(HOST) {
        for to in [private.as_str(), &other, "ff02::2"] {
            let mut fields = rdisc6::ask(&host, "peer", source, to);
            // The answer comes from the address that was asked.
            let from = if to == other { &other } else { &private };
            assert_eq!(fields.pop(), Some(format!("from {from}")));
            fields.sort_unstable();
            assert_eq!(fields, want, "{source} to {to}: {}", site.router_log("router1"));
        }
    }
}
