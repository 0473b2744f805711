//! The command line: every option of isatapd 0.9.7, with its meaning and default.

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use isatapd_proto::{
    Advertise, Bounded, InvalidValue, Level, MAX_ROUTER_SPECS, Mtu, RouterSpec, UnicastV4,
};

use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;

/// The least time between solicitations (MinRouterSolicitInterval, RFC 5214 section 8.3.4), and
/// between look-ups as 0.9.7 has it.
pub const MIN_INTERVAL: Duration = Duration::from_mins(2);

/// Options that were, and what became of them.
const GONE: [(&str, &str); 5] = [
    ("-1", "not available yet"),
    ("--one-shot", "not available yet"),
    ("--user-rs", "removed in isatapd 0.9.6"),
    ("--no-user-rs", "removed in isatapd 0.9.6"),
    ("--no-rs", "removed in isatapd 0.9.6"),
];

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The tunnel's name.
    pub name: InterfaceName,
    /// The link that the tunnel is bound to; `None`: the one that leads to the routers.
    pub link: Option<InterfaceName>,
    /// The tunnel's MTU; `None`: the kernel's choice.
    pub mtu: Option<Mtu>,
    /// Time to live of the outer IPv4 header; `None`: the hop limit of the inner packet.
    pub ttl: Option<NonZeroU8>,
    /// IPv4 path MTU discovery.
    pub pmtu_discovery: bool,
    /// Routers, in the order of the command line; never none.
    pub routers: Bounded<RouterSpec, MAX_ROUTER_SPECS>,
    /// Time between solicitations; `None`: by the routers' lifetimes.
    pub solicit_interval: Option<Duration>,
    /// Time between look-ups of names; `None`: never again once they are known.
    pub prl_refresh: Option<Duration>,
    /// Go to the background once ready.
    pub daemon: bool,
    /// Absolute path of the pid file.
    pub pid_file: Option<PathBuf>,
    /// The user that the child runs as.
    pub user: String,
    /// What goes to the log.
    pub level: Level,
    /// Who encapsulates.
    pub backend: BackendChoice,
    /// Our end of the tunnel; `None`: by the way to the routers, or the link's first address.
    pub locator: Option<UnicastV4>,
    /// Router role: what is advertised.
    pub advertise: Option<Advertise>,
    /// Router role: have the host forward IPv6.
    pub forward: bool,
}

/// Who is to encapsulate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The kernel where that is safe, else the child.
    #[default]
    Auto,
    /// The kernel's `sit` driver.
    Kernel,
    /// The child, behind a TUN interface.
    Tun,
}

/// Why there are no options to work by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: this goes to the standard output, the exit status is 0.
    Print(String),
    /// The command line is wrong.
    Fatal(Fatal),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// ISATAP host (RFC 5214): a tunnel to the site's routers and IPv6 through it.
#[derive(Parser)]
#[command(
    name = "isatapd",
    version = concat!(env!("CARGO_PKG_VERSION"), " (compatible with 0.9.7)"),
    args_override_self = true,
    infer_long_args = true
)]
struct Line {
    /// Name of the tunnel, or auto
    #[arg(short, long, default_value = "is0", value_parser = name)]
    name: InterfaceName,
    /// Link that the tunnel is bound to, or auto
    #[arg(short, long, value_name = "DEVICE", default_value = "auto", value_parser = link)]
    link: Choice<InterfaceName>,
    /// MTU of the tunnel, 1280 to 65535, or auto
    #[arg(short, long, value_name = "OCTETS", default_value = "auto", value_parser = mtu,
        allow_negative_numbers = true)]
    mtu: Choice<Mtu>,
    /// Time to live of tunnelled packets, 1 to 255, or inherit
    #[arg(short, long, value_name = "HOPS", default_value = "64", value_parser = ttl,
        allow_negative_numbers = true)]
    ttl: Choice<NonZeroU8>,
    /// No IPv4 path MTU discovery; needs --ttl inherit
    #[arg(short = 'N', long)]
    nopmtudisc: bool,
    /// Router by name or IPv4 address, as many as wanted [default: isatap]
    #[arg(short, long, value_name = "ROUTER", value_parser = router)]
    router: Vec<RouterSpec>,
    /// Time between solicitations, at least 120, or auto
    #[arg(short, long, value_name = "SECONDS", default_value = "auto", value_parser = interval,
        allow_negative_numbers = true)]
    interval: Choice<Duration>,
    /// Time between look-ups of names, at least 120, or 0 for none
    #[arg(short = 'D', long, value_name = "SECONDS", default_value = "3600",
        value_parser = check_dns, allow_negative_numbers = true)]
    check_dns: Choice<Duration>,
    /// Go to the background once ready
    #[arg(short, long)]
    daemon: bool,
    /// Write the process id to this file and keep it locked
    #[arg(short, long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// User that the child runs as
    #[arg(short, long, value_name = "NAME", default_value = "_isatapd", value_parser = user)]
    user: String,
    /// Log more; twice: all
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log less; twice: errors only
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
    /// More routers
    #[arg(id = "ROUTER", value_parser = router)]
    routers: Vec<RouterSpec>,
}

/// A value, or none by the option's own word for it.
#[derive(Clone, Debug)]
struct Choice<T>(Option<T>);

/// The grammar, for the tests that compare it with the manual page.
pub fn command() -> clap::Command {
    Line::command()
}

/// The options that `args` are; the first of them is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Stop> {
    let matches = command().try_get_matches_from(args).map_err(|error| stop(&error))?;
    let line = Line::from_arg_matches(&matches).map_err(|error| stop(&error))?;
    if line.nopmtudisc && line.ttl.0.is_some() {
        return Err(usage("--nopmtudisc depends on --ttl inherit!").into());
    }
    Ok(Options {
        name: line.name,
        link: line.link.0,
        mtu: line.mtu.0,
        ttl: line.ttl.0,
        pmtu_discovery: !line.nopmtudisc,
        routers: routers(&matches)?,
        solicit_interval: line.interval.0,
        prl_refresh: line.check_dns.0,
        daemon: line.daemon,
        pid_file: line.pid.as_deref().map(absolute).transpose()?,
        user: line.user,
        level: level(line.verbose, line.quiet),
        backend: BackendChoice::Auto,
        locator: None,
        advertise: None,
        forward: false,
    })
}

fn usage(line: impl Into<String>) -> Fatal {
    Fatal::new(Exit::Usage, line)
}

/// Those of `--router` and the others as they were typed: the order is the order of preference.
fn routers(matches: &ArgMatches) -> Result<Bounded<RouterSpec, MAX_ROUTER_SPECS>, Fatal> {
    let mut typed = Vec::new();
    for id in ["router", "ROUTER"] {
        let places = matches.indices_of(id).into_iter().flatten();
        typed.extend(places.zip(matches.get_many::<RouterSpec>(id).into_iter().flatten()));
    }
    typed.sort_by_key(|&(place, _)| place);
    let mut routers: Vec<_> = typed.into_iter().map(|(_, router)| router.clone()).collect();
    if routers.is_empty() {
        routers.extend(router("isatap"));
    }
    Bounded::try_from(routers)
        .map_err(|_| usage(format!("--router: more than {MAX_ROUTER_SPECS} routers")))
}

fn absolute(path: &Path) -> Result<PathBuf, Fatal> {
    std::path::absolute(path)
        .map_err(|error| Fatal::new(Exit::Os, format!("--pid {}: {error}", path.display())))
}

fn level(verbose: u8, quiet: u8) -> Level {
    match i16::from(verbose).saturating_sub(i16::from(quiet)) {
        ..=-2 => Level::Error,
        -1 => Level::Warning,
        0 => Level::Notice,
        1 => Level::Info,
        2.. => Level::Debug,
    }
}

fn name(text: &str) -> Result<InterfaceName, InvalidValue> {
    if text == "auto" { "is0" } else { text }.parse()
}

fn link(text: &str) -> Result<Choice<InterfaceName>, InvalidValue> {
    match text {
        "auto" => Ok(Choice(None)),
        "lo" => Err(InvalidValue("no router is reached by the loopback link")),
        name => Ok(Choice(Some(name.parse()?))),
    }
}

fn mtu(text: &str) -> Result<Choice<Mtu>, InvalidValue> {
    if matches!(text, "auto" | "0") {
        return Ok(Choice(None));
    }
    let octets = u16::try_from(number(text)?).map_err(|_| InvalidValue("above 65535"))?;
    let mtu = Mtu::try_from(octets).map_err(|_| InvalidValue("below 1280, the least for IPv6"))?;
    Ok(Choice(Some(mtu)))
}

fn ttl(text: &str) -> Result<Choice<NonZeroU8>, InvalidValue> {
    if matches!(text, "auto" | "inherit") {
        return Ok(Choice(None));
    }
    let hops = u8::try_from(number(text)?).ok().and_then(NonZeroU8::new);
    hops.map(|hops| Choice(Some(hops))).ok_or(InvalidValue("not from 1 to 255"))
}

fn router(text: &str) -> Result<RouterSpec, InvalidValue> {
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

fn interval(text: &str) -> Result<Choice<Duration>, InvalidValue> {
    if text == "auto" { Ok(Choice(None)) } else { Ok(Choice(Some(at_least_120(text)?))) }
}

fn check_dns(text: &str) -> Result<Choice<Duration>, InvalidValue> {
    if text == "0" { Ok(Choice(None)) } else { Ok(Choice(Some(at_least_120(text)?))) }
}

fn at_least_120(text: &str) -> Result<Duration, InvalidValue> {
    let interval = Duration::from_secs(number(text)?.into());
    if interval < MIN_INTERVAL { Err(InvalidValue("below 120 s")) } else { Ok(interval) }
}

fn user(text: &str) -> Result<String, InvalidValue> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidValue("not the name of a user"));
    }
    Ok(text.to_owned())
}

fn number(text: &str) -> Result<u32, InvalidValue> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidValue("not a number"));
    }
    // C reads such a number as octal or as decimal, by the function it is given to.
    if text.len() > 1 && text.starts_with('0') {
        return Err(InvalidValue("a number with a leading zero"));
    }
    text.parse().map_err(|_| InvalidValue("too large"))
}

/// What clap says in a page, in a line.
fn stop(error: &clap::Error) -> Stop {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    // "--mtu <OCTETS>" or "[ROUTER]...".
    let option = text(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
    let option = option.trim_start_matches('[').trim_end_matches("]...");
    let value = text(ContextKind::InvalidValue);
    let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let line = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Stop::Print(error.to_string());
        }
        ErrorKind::UnknownArgument => match GONE.iter().find(|(gone, _)| *gone == option) {
            Some((gone, fate)) => format!("{gone}: {fate}"),
            None => format!("{option}: no such option"),
        },
        ErrorKind::ValueValidation if value.is_empty() => format!("{option}: {reason}"),
        ErrorKind::ValueValidation => format!("{option} {value}: {reason}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("{option}: needs a value"),
        ErrorKind::TooManyValues => format!("{option}: takes no value"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().replace("error: ", ""),
    };
    usage(line).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, Stop> {
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
            daemon: false,
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
            daemon: true,
            pid_file: Some("/run/isatapd.pid".into()),
            user: "nobody".to_owned(),
            level: Level::Info,
            backend: BackendChoice::Auto,
            locator: None,
            advertise: None,
            forward: false,
        };
        let long = "--name is1 --link eth0 --mtu 1400 --ttl inherit --nopmtudisc --router 192.0.2.1 \
            --interval 120 --check-dns 0 --daemon --pid /run/isatapd.pid --user nobody --verbose";
        let short = "-n is1 -leth0 -m 1400 -t auto -N -r 192.0.2.1 -i 120 -D 0 -d -p \
            /run/isatapd.pid -u nobody -v";
        // The last of two counts, a name may be cut as far as it is clear, and flags be bundled.
        let odd = "-m 1280 --mt=1400 --nam x --na is1 -l eth0 --ttl 5 -t inherit -r 192.0.2.1 -i 500 \
            --inter 120 -D0 -dNvvq --pid /run/isatapd.pid --use nobody";
        for line in [long, short, odd] {
            assert_eq!(options(&line.split_whitespace().collect::<Vec<_>>()), all, "{line}");
        }
    }

    #[test]
    fn routers_stay_in_order() {
        let args =
            ["b", "-r", "10.0.0.2", "a", "-v", "--router", "c.example.", "10.0.0.1", "--", "d"];
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
            ("-N -t 64", "--nopmtudisc depends on --ttl inherit!"),
            ("-i 119", "--interval 119: below 120 s"),
            ("-i 0", "--interval 0: below 120 s"),
            ("-i 120x", "--interval 120x: not a number"),
            ("-i 99999999999", "--interval 99999999999: too large"),
            ("-D 120s", "--check-dns 120s: not a number"),
            ("-D 60", "--check-dns 60: below 120 s"),
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
        assert_eq!(parse(args).unwrap().pid_file, Some(path.into()));
    }

    #[test]
    fn a_relative_pid_file_does_not_move() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(options(&["-p", "a.pid"]).pid_file, Some(here.join("a.pid")));
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for args in [["-h"], ["--help"]] {
            assert!(
                matches!(parsed(&args), Err(Stop::Print(text)) if text.contains("--check-dns"))
            );
        }
        for args in [["-V"], ["--version"]] {
            let Err(Stop::Print(text)) = parsed(&args) else { panic!("{args:?}") };
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(text, format!("isatapd {version} (compatible with 0.9.7)\n"));
        }
    }
}
