//! The grammar: what is taken, and what is said of mistakes.

mod advertise;

use super::values::router;
use super::*;

fn parsed(args: &[&str]) -> Result<Options, Stop> {
    let mut tunnels = all(args)?;
    assert_eq!(tunnels.len(), 1, "{args:?}");
    Ok(tunnels.remove(0))
}

fn all(args: &[&str]) -> Result<Vec<Options>, Stop> {
    parse(std::iter::once("/usr/sbin/isatapd").chain(args.iter().copied()).map(OsString::from))
}

fn options(args: &[&str]) -> Options {
    parsed(args).unwrap_or_else(|stop| panic!("{args:?}: {stop:?}"))
}

fn error(args: &[&str]) -> String {
    match parsed(args) {
        Err(Stop::Fatal(fatal)) if fatal.exit == Exit::Usage => fatal.line,
        other => panic!("{args:?}: {other:?}"),
    }
}

#[test]
fn defaults_are_those_of_0_9_7() {
    let defaults = Options {
        name: "is0".parse().unwrap(),
        link: None,
        mtu: None,
        ttl: NonZeroU8::new(64),
        pmtu_discovery: true,
        routers: Bounded::first_of([router("isatap").unwrap()]),
        solicit_interval: None,
        prl_refresh: Some(Duration::from_hours(1)),
        router_timeout: RouterTimeout::DEFAULT,
        daemon: false,
        keep: false,
        pid_file: None,
        user: "_isatapd".to_owned(),
        level: Level::Notice,
        backend: BackendChoice::Auto,
        locator: None,
        advertise: None,
        forward: false,
    };
    assert_eq!(options(&[]), defaults);
    let auto = ["-nauto", "-l", "auto", "--mtu=0", "--interval", "auto"];
    assert_eq!(options(&auto), defaults);
}

#[test]
fn every_option_in_both_forms() {
    let all = Options {
        name: "is1".parse().unwrap(),
        link: Some("eth0".parse().unwrap()),
        mtu: Some(1400.try_into().unwrap()),
        ttl: None,
        pmtu_discovery: false,
        routers: Bounded::first_of([router("192.0.2.1").unwrap()]),
        solicit_interval: Some(MIN_INTERVAL),
        prl_refresh: None,
        router_timeout: RouterTimeout::DEFAULT,
        daemon: true,
        keep: true,
        pid_file: Some("/run/isatapd.pid".into()),
        user: "nobody".to_owned(),
        level: Level::Info,
        backend: BackendChoice::Auto,
        locator: None,
        advertise: None,
        forward: false,
    };
    let long = "--name is1 --link eth0 --mtu 1400 --ttl inherit --nopmtudisc --router 192.0.2.1 \
        --interval 120 --check-dns 0 --daemon --keep --pid /run/isatapd.pid --user nobody --verbose";
    let short = "-n is1 -leth0 -m 1400 -t auto -N -r 192.0.2.1 -i 120 -D 0 -d -k -p \
        /run/isatapd.pid -u nobody -v";
    // The last of two counts, a name may be cut as far as it is clear, and flags be bundled.
    let odd = "-m 1280 --mt=1400 --nam x --na is1 -l eth0 --ttl 5 -t inherit -r 192.0.2.1 -i 500 \
        --inter 120 -D0 -dkNvvq --pid /run/isatapd.pid --use nobody";
    for line in [long, short, odd] {
        assert_eq!(options(&line.split_whitespace().collect::<Vec<_>>()), all, "{line}");
    }
}

#[test]
fn what_0_9_7_had_not() {
    let set = options(&["--backend", "tun", "--locator=10.0.0.2", "-N", "-m", "1480"]);
    let locator = Some(std::net::Ipv4Addr::new(10, 0, 0, 2).try_into().unwrap());
    assert_eq!((set.backend, set.locator), (BackendChoice::Tun, locator));
    assert!(!set.pmtu_discovery && set.ttl == NonZeroU8::new(64));
    assert_eq!(options(&["--backend", "kernel"]).backend, BackendChoice::Kernel);
    assert_eq!(options(&["--backend", "auto", "--locator", "auto"]), options(&[]));
    // A cut name that was clear in 0.9.7 is clear.
    assert_eq!(options(&["--l", "eth0"]).link, Some("eth0".parse().unwrap()));
    for cut in ["--r", "--ro", "--rou", "--rout", "--route", "--router"] {
        assert_eq!(options(&[cut, "a"]), options(&["a"]), "{cut}");
    }
    for (text, seconds) in [("1", 1), ("60", 60)] {
        assert_eq!(options(&["--router-timeout", text]).router_timeout.get(), seconds);
    }
}

#[test]
fn routers_stay_in_order() {
    let args = ["b", "-r", "10.0.0.2", "a", "-v", "--router", "c.example.", "10.0.0.1", "--", "d"];
    let typed = ["b", "10.0.0.2", "a", "c.example.", "10.0.0.1", "d"];
    assert_eq!(options(&args).routers, Bounded::first_of(typed.map(|r| router(r).unwrap())));
    assert_eq!(options(&["r"; 64]).routers.len(), 64);
    assert_eq!(error(&["r"; 65]), "--router: more than 64 routers");
}

#[test]
fn levels() {
    for (args, level) in [
        (vec!["-qqq"], Level::Error),
        (vec!["-q", "--quiet"], Level::Error),
        (vec!["-q"], Level::Warning),
        (vec!["-qv"], Level::Notice),
        (vec!["-v"], Level::Info),
        (vec!["-vv"], Level::Debug),
        (vec!["-vvvvq"], Level::Debug),
    ] {
        assert_eq!(options(&args).level, level, "{args:?}");
    }
}

#[test]
fn mistakes_are_told_in_one_line() {
    for (args, line) in [
        ("--mtu 1400abc", "--mtu 1400abc: not a number"),
        ("-m +1400", "--mtu +1400: not a number"),
        ("-m -5", "--mtu -5: not a number"),
        ("-m --ttl", "--mtu: needs a value"),
        ("-m 1279", "--mtu 1279: below 1280, the least for IPv6"),
        ("-m 65536", "--mtu 65536: above 65535"),
        ("-m 99999999999", "--mtu 99999999999: too large"),
        ("-m 01400", "--mtu 01400: a number with a leading zero"),
        ("-m=", "--mtu: not a number"),
        ("-t 0", "--ttl 0: not from 1 to 255"),
        ("-t 256", "--ttl 256: not from 1 to 255"),
        ("-t 64x", "--ttl 64x: not a number"),
        ("-N", "--nopmtudisc depends on --ttl inherit!"),
        ("-N --backend kernel", "--nopmtudisc depends on --ttl inherit!"),
        ("-N --backend tun -m 1481", "--mtu 1481: above 1480, the most with --nopmtudisc"),
        ("--backend sit", "--backend sit: not auto, kernel or tun"),
        ("--locator ::1", "--locator ::1: not an IPv4 address"),
        ("--locator 127.0.0.1", "--locator 127.0.0.1: a loopback address"),
        ("-N -t 64", "--nopmtudisc depends on --ttl inherit!"),
        ("-i 119", "--interval 119: below 120 s"),
        ("-i 0", "--interval 0: below 120 s"),
        ("-i 120x", "--interval 120x: not a number"),
        ("-i 99999999999", "--interval 99999999999: too large"),
        ("-D 120s", "--check-dns 120s: not a number"),
        ("-D 60", "--check-dns 60: below 120 s"),
        ("--router-timeout 0", "--router-timeout 0: not from 1 to 60 s"),
        ("--router-timeout 61", "--router-timeout 61: not from 1 to 60 s"),
        ("--router-timeout 999", "--router-timeout 999: not from 1 to 60 s"),
        ("--router-timeout 0.5", "--router-timeout 0.5: not a number"),
        ("-D auto", "--check-dns auto: not a number"),
        ("-n", "--name: needs a value"),
        ("-n -d", "--name: needs a value"),
        ("-n all", "--name all: not a name for an interface"),
        (
            "-l 1234567890123456",
            "--link 1234567890123456: an interface name of more than 15 octets",
        ),
        ("-r ::1", "--router ::1: an IPv6 address; the routers of a site have IPv4 addresses"),
        ("010.0.0.101", "ROUTER 010.0.0.101: neither a name nor an IPv4 address"),
        ("1", "ROUTER 1: neither a name nor an IPv4 address"),
        ("127.0.0.1", "ROUTER 127.0.0.1: a loopback address"),
        ("0.0.0.0", "ROUTER 0.0.0.0: an address of 0.0.0.0/8"),
        ("--pid", "--pid: needs a value"),
        ("--user a\u{e9}", "--user a\u{e9}: not the name of a user"),
        ("--bogus", "--bogus: no such option"),
        ("-x", "-x: no such option"),
        ("--ver", "--ver: no such option"),
        ("--daemon=yes", "--daemon: takes no value"),
        ("-1", "-1: not available yet"),
        ("--one-shot", "--one-shot: not available yet"),
        ("--user-rs", "--user-rs: removed in isatapd 0.9.6"),
        ("--no-user-rs", "--no-user-rs: removed in isatapd 0.9.6"),
        ("--no-rs", "--no-rs: removed in isatapd 0.9.6"),
    ] {
        assert_eq!(error(&args.split(' ').collect::<Vec<_>>()), line);
    }
    assert_eq!(error(&["-r", ""]), "--router: an empty name");
    assert_eq!(error(&["-n", ""]), "--name: an empty interface name");
    assert_eq!(error(&["-p", ""]), "--pid: needs a value");
    assert!(error(&["bad name"]).starts_with("ROUTER bad name: a name with other than"));
}

#[test]
fn octets_that_are_no_text_are_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let args = ["isatapd".into(), OsString::from_vec(vec![b'-', b'n', 0xff])];
    assert!(matches!(parse(args), Err(Stop::Fatal(fatal)) if fatal.exit == Exit::Usage));
    let path = OsString::from_vec(vec![b'/', 0xff]);
    let args = ["isatapd".into(), "-p".into(), path.clone()];
    assert_eq!(parse(args).unwrap()[0].pid_file, Some(path.into()));
}

#[test]
fn several_tunnels() {
    let line = "-d -p /run/isatapd.pid -u nobody -v -k -l eth0 b --and -n is1 -l eth1 --advertise \
        2001:db8::/64 --and --name is2";
    let tunnels = all(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    let [host, router, third] = tunnels.as_slice() else { panic!("{tunnels:?}") };
    assert_eq!(
        *host,
        options(&line.split(" --and").next().unwrap().split(' ').collect::<Vec<_>>())
    );
    let common = ["-d", "-u", "nobody", "-v", "-n"];
    assert_eq!(*third, options(&[&common[..], &["is2"]].concat()));
    let own = ["is1", "-l", "eth1", "--advertise", "2001:db8::/64"];
    assert_eq!(*router, options(&[&common[..], &own].concat()));
    for (args, line) in [
        ("--and", "--name is0: of two tunnels"),
        ("-n a --and -n b --and -n a", "--name a: of two tunnels"),
        ("--and -n is1 -d", "--daemon: holds for all, so it is to be before --and"),
        ("--and -n is1 -p /a", "--pid: holds for all, so it is to be before --and"),
        ("--and -n is1 -u a", "--user: holds for all, so it is to be before --and"),
        ("--and -n is1 -q", "--quiet: holds for all, so it is to be before --and"),
        ("--and -n is1 --an -n is2", "--and: must not be cut"),
        ("--and -n is1 --and -m 1", "--mtu 1: below 1280, the least for IPv6"),
    ] {
        match all(&args.split(' ').collect::<Vec<_>>()) {
            Err(Stop::Fatal(fatal)) if fatal.exit == Exit::Usage => assert_eq!(fatal.line, line),
            other => panic!("{args}: {other:?}"),
        }
    }
}

#[test]
fn a_relative_pid_file_does_not_move() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(options(&["-p", "a.pid"]).pid_file, Some(here.join("a.pid")));
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [["-h"], ["--help"]] {
        assert!(matches!(parsed(&args), Err(Stop::Print(text)) if text.contains("--check-dns")));
    }
    for args in [["-V"], ["--version"]] {
        let Err(Stop::Print(text)) = parsed(&args) else { panic!("{args:?}") };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(text, format!("isatapd {version} (compatible with 0.9.7)\n"));
    }
}
