//! The command line: every option of isatapd 0.9.7, with its meaning and default, and what is new.

mod advertise;
mod values;

use std::ffi::OsString;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use isatapd_proto::{
    Advertise, Bounded, Level, MAX_ROUTER_SPECS, Mtu, RouterSpec, RouterTimeout, UnicastV4,
};

use self::advertise::Advertising;
use self::values::{
    Choice, backend, check_dns, interval, link, locator, mtu, name, router, router_timeout, ttl,
    user,
};
use crate::device::MAX_STATIC_MTU;
use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;

/// The least time between solicitations (MinRouterSolicitInterval, RFC 5214 section 8.3.4), and
/// between look-ups as 0.9.7 has it.
pub const MIN_INTERVAL: Duration = Duration::from_mins(2);

/// Between the options of two tunnels.
const AND: &str = "--and";

/// Options that hold for all tunnels.
const OF_ALL: [&str; 5] = ["daemon", "pid", "user", "verbose", "quiet"];

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
    /// IPv4 path MTU discovery; off it is the static method of RFC 4213 section 3.2.1.
    pub pmtu_discovery: bool,
    /// Routers, in the order of the command line; never none.
    pub routers: Bounded<RouterSpec, MAX_ROUTER_SPECS>,
    /// Time between solicitations; `None`: by the routers' lifetimes.
    pub solicit_interval: Option<Duration>,
    /// Time between look-ups of names; `None`: never again once they are known.
    pub prl_refresh: Option<Duration>,
    /// The longest time until traffic leaves a router that has died.
    pub router_timeout: RouterTimeout,
    /// Go to the background once ready.
    pub daemon: bool,
    /// Leave the tunnel at the end, for the next start.
    pub keep: bool,
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

/// ISATAP (RFC 5214), host or router: a tunnel over the site's IPv4, and IPv6 through it.
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
    // 0.9.7 took --l for it, which --locator would make unclear.
    #[arg(short, long, alias = "l", value_name = "DEVICE", default_value = "auto",
        value_parser = link)]
    link: Choice<InterfaceName>,
    /// MTU of the tunnel, 1280 to 65535, or auto
    #[arg(short, long, value_name = "OCTETS", default_value = "auto", value_parser = mtu,
        allow_negative_numbers = true)]
    mtu: Choice<Mtu>,
    /// Time to live of tunnelled packets, 1 to 255, or inherit
    #[arg(short, long, value_name = "HOPS", default_value = "64", value_parser = ttl,
        allow_negative_numbers = true)]
    ttl: Choice<NonZeroU8>,
    /// No IPv4 path MTU discovery; in the kernel only with --ttl inherit
    #[arg(short = 'N', long)]
    nopmtudisc: bool,
    /// Router by name or IPv4 address, as many as wanted [default: isatap]
    // What 0.9.7 took for it, which --router-timeout would make unclear.
    #[arg(short, long, aliases = ["r", "ro", "rou", "rout", "route"], value_name = "ROUTER",
        value_parser = router)]
    router: Vec<RouterSpec>,
    /// Time between solicitations, at least 120, or auto
    #[arg(short, long, value_name = "SECONDS", default_value = "auto", value_parser = interval,
        allow_negative_numbers = true)]
    interval: Choice<Duration>,
    /// Time between look-ups of names, at least 120, or 0 for none
    #[arg(short = 'D', long, value_name = "SECONDS", default_value = "3600",
        value_parser = check_dns, allow_negative_numbers = true)]
    check_dns: Choice<Duration>,
    /// Traffic leaves a router that died within 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "6", value_parser = router_timeout,
        allow_negative_numbers = true)]
    router_timeout: RouterTimeout,
    /// Go to the background once ready
    #[arg(short, long)]
    daemon: bool,
    /// What follows is of another tunnel
    #[arg(long)]
    and: bool,
    /// Leave the tunnel as it is at the end; the next start takes it over
    #[arg(short, long)]
    keep: bool,
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
    /// Who encapsulates: kernel, tun (isatapd itself), or auto
    #[arg(long, value_name = "WHO", default_value = "auto", value_parser = backend)]
    backend: BackendChoice,
    /// IPv4 address of this end of the tunnel, or auto
    #[arg(long, value_name = "ADDRESS", default_value = "auto", value_parser = locator)]
    locator: Choice<UnicastV4>,
    #[command(flatten)]
    advertising: Advertising,
    /// More routers
    #[arg(id = "ROUTER", value_parser = router)]
    routers: Vec<RouterSpec>,
}

/// The grammar, for the tests that compare it with the manual page.
pub fn command() -> clap::Command {
    Line::command()
}

/// The options that `args` are, of each tunnel, never none; the first of `args` is the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Vec<Options>, Stop> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let args: Vec<_> = args.collect();
    let mut tunnels: Vec<Options> = Vec::new();
    for part in args.split(|arg| arg == AND) {
        let part = [&program].into_iter().chain(part);
        let tunnel = parse_one(part.cloned(), tunnels.first())?;
        if tunnels.iter().any(|other| other.name == tunnel.name) {
            return Err(usage(format!("--name {}: of two tunnels", tunnel.name)).into());
        }
        tunnels.push(tunnel);
    }
    Ok(tunnels)
}

/// The options of one tunnel; what holds for all is as in the `first`.
fn parse_one(
    args: impl IntoIterator<Item = OsString>,
    first: Option<&Options>,
) -> Result<Options, Stop> {
    let matches = command().try_get_matches_from(args).map_err(|error| stop(&error))?;
    let line = Line::from_arg_matches(&matches).map_err(|error| stop(&error))?;
    if line.and {
        return Err(usage("--and: must not be cut").into());
    }
    check_backend(&line)?;
    let mut options = options(line, &matches)?;
    if let Some(first) = first {
        let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        if let Some(id) = OF_ALL.into_iter().find(given) {
            return Err(usage(format!("--{id}: holds for all, so it is to be before {AND}")).into());
        }
        options.daemon = first.daemon;
        options.user.clone_from(&first.user);
        options.level = first.level;
    }
    Ok(options)
}

fn options(line: Line, matches: &ArgMatches) -> Result<Options, Fatal> {
    Ok(Options {
        name: line.name,
        link: line.link.0,
        mtu: line.mtu.0,
        ttl: line.ttl.0,
        pmtu_discovery: !line.nopmtudisc,
        routers: routers(matches)?,
        solicit_interval: line.interval.0,
        prl_refresh: line.check_dns.0,
        router_timeout: line.router_timeout,
        daemon: line.daemon,
        keep: line.keep,
        pid_file: line.pid.as_deref().map(absolute).transpose()?,
        user: line.user,
        level: level(line.verbose, line.quiet),
        backend: line.backend,
        locator: line.locator.0,
        forward: line.advertising.forward,
        advertise: line.advertising.advertise()?,
    })
}

/// What one backend does and the other does not.
fn check_backend(line: &Line) -> Result<(), Fatal> {
    let router = line.advertising.is_router();
    if router && line.backend == BackendChoice::Kernel {
        return Err(usage("--backend kernel: not with --advertise; a router needs tun"));
    }
    let tun = router || line.backend == BackendChoice::Tun;
    // 0.9.7's words.
    if line.nopmtudisc && !tun && line.ttl.0.is_some() {
        return Err(usage("--nopmtudisc depends on --ttl inherit!"));
    }
    let mtu = line.mtu.0.map(Mtu::get).filter(|mtu| *mtu > MAX_STATIC_MTU);
    if line.nopmtudisc
        && tun
        && let Some(mtu) = mtu
    {
        let line = format!("--mtu {mtu}: above {MAX_STATIC_MTU}, the most with --nopmtudisc");
        return Err(usage(line));
    }
    Ok(())
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
mod tests;
