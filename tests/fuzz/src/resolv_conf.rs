//! resolv.conf.

use std::time::Duration;

use isatapd_engine::wire::resolv_conf::{ResolvConf, parse};
use isatapd_proto::HostName;

/// All values are in range, and a file written from them says the same.
pub fn check(data: &[u8]) {
    let conf = parse(data);
    assert!(conf.search.len() <= 32);
    assert!(conf.search.iter().all(|name| !name.as_str().ends_with('.')));
    assert!(conf.ndots <= 15);
    assert!((1..=30).map(Duration::from_secs).any(|timeout| timeout == conf.timeout));
    assert!((1..=5).contains(&conf.attempts));
    assert_eq!(parse(render(&conf).as_bytes()), conf);
}

fn render(conf: &ResolvConf) -> String {
    let search: Vec<&str> = conf.search.iter().map(HostName::as_str).collect();
    format!(
        "search {}\noptions ndots:{} timeout:{} attempts:{} {}\n",
        search.join(" "),
        conf.ndots,
        conf.timeout.as_secs(),
        conf.attempts,
        if conf.rotate { "rotate" } else { "" },
    )
}
