//! isatapd: the privileged half. What happens at the start, in this order, is all here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use isatapd::backend::{self, Has};
use isatapd::child::Child;
use isatapd::cli::{self, BackendChoice, Options, Stop};
use isatapd::control::Control;
use isatapd::daemon::{self, Process, Readiness};
use isatapd::device::mtu_method;
use isatapd::dump::Dump;
use isatapd::exit::{Exit, Fatal};
use isatapd::files::{Files, folder};
use isatapd::forwarding::Forwarding;
use isatapd::kernel::{KernelError, Monitor, Netlink, Prl, TUN_DEVICE, has_tun};
use isatapd::leader::{self, Role};
use isatapd::lock::Lock;
use isatapd::notify::Notify;
use isatapd::pidfile::PidFile;
use isatapd::run::{Daemon, Resources, signals};
use isatapd::sockets::Protocol41;
use isatapd_security::identity::Identity;
use isatapd_security::parent::{self, Paths};
use isatapd_security::spawn::{EmptyRoot, Plan, Program};
use isatapd_security::wash::{Kept, wash};
use nix::unistd::{AccessFlags, Pid, access, geteuid};

/// The child's program. The folder is set by the build.
const CHILD: &str = concat!(env!("ISATAPD_LIBEXECDIR"), "/isatapd-child");
/// One of them that is there on every system.
const SETTINGS_OF_ALL: &str = "/proc/sys/net/ipv6/conf/all/accept_ra";
/// The kernel's settings of interfaces for IPv6.
const SETTINGS: &str = "/proc/sys/net/ipv6/conf";

fn main() -> ExitCode {
    // P1: what the caller left in this process goes.
    let kept = match wash() {
        Ok(kept) => kept,
        Err(error) => return end(&Fatal::new(Exit::Os, error.to_string())),
    };
    // P2, P3: the command line; errors go to the standard error until there is a log.
    let tunnels = match cli::parse(std::env::args_os()) {
        Ok(tunnels) => tunnels,
        Err(Stop::Print(text)) => return print(&text),
        Err(Stop::Fatal(fatal)) => return end(&fatal),
    };
    let mut readiness = None;
    if tunnels.iter().any(|options| options.daemon) {
        match daemon::start() {
            Ok(Process::Original(status)) => return status.into(),
            Ok(Process::Daemon(it)) => readiness = Some(it),
            Err(fatal) => return end(&fatal),
        }
    }
    let status = run(tunnels, &kept, &mut readiness).unwrap_or_else(|fatal| {
        fatal.complain();
        fatal.exit.code()
    });
    if let Some(readiness) = readiness.filter(|_| status != 0) {
        readiness.fail(status);
    }
    status.into()
}

/// Serves one tunnel, or leads the processes that serve one each. Result: the exit status.
fn run(tunnels: Vec<Options>, kept: &Kept, readiness: &mut Option<Readiness>) -> Result<u8, Fatal> {
    let (options, notify, leader) = match leader::part(tunnels)? {
        Role::Leader(leader) => return leader.lead(kept, readiness),
        Role::Alone(options) => {
            isatapd::log::start(&options, kept, None);
            (options, Notify::new(kept), None)
        }
        Role::Tunnel(options, leader, channel) => {
            if let Some(readiness) = readiness {
                readiness.leave_telling();
            }
            isatapd::log::start(&options, kept, Some(&options.name));
            (options, Notify::to_leader(channel, leader, kept), Some(leader))
        }
    };
    serve(*options, notify, leader, readiness).map(|()| 0)
}

fn serve(
    options: Options,
    notify: Notify,
    leader: Option<Pid>,
    readiness: &mut Option<Readiness>,
) -> Result<(), Fatal> {
    // P4
    if !geteuid().is_root() {
        return Err(Fatal::new(Exit::NoPermission, "must be started by root"));
    }
    // P5: there is no configuration but the options.
    // P7, before anything is made: the child's user and program.
    let identity = Identity::lookup(&options.user)
        .map_err(|error| Fatal::new(Exit::NoUser, format!("--{error}")))?;
    let program =
        Program::open(Path::new(CHILD)).map_err(|e| Fatal::new(Exit::Os, e.to_string()))?;
    let signals = signals().map_err(os("signalfd"))?;
    // P6: nobody else serves this name here; the control socket and the pid file.
    let _lock = Lock::take(&options.name)?;
    let control = Control::open(&options.name)?;
    let dump = Dump::new(&options.name).map_err(os(Lock::FOLDER))?;
    let pid_file = options.pid_file.as_deref().map(PidFile::create).transpose()?;
    // P8: the kernel; what a predecessor left is taken over.
    let (netlink, monitor, has) = open_kernel(&options)?;
    let forward = || Forwarding::switch_on(Path::new(Lock::FOLDER));
    let forwarding = options.forward.then(forward).transpose()?.flatten();
    // P9 to P11: the child.
    let root = EmptyRoot::new().map_err(os("/run"))?;
    let sockets = protocol_41(&options, has).map_err(kernel)?;
    let copies = sockets.as_ref().map(Protocol41::copies).transpose().map_err(os("dup"))?;
    let plan = Plan { program, root, identity, protocol_41: copies };
    let child = Child::start(&plan, Instant::now())
        .map_err(|error| Fatal::new(Exit::Os, format!("isatapd-child: {error}")))?;
    let files = Files::watch().map_err(os("inotify"))?;
    let prl = Prl::open().map_err(kernel)?;
    // P12
    let status = parent::confine(&paths(&options), &plan.program)
        .map_err(|error| Fatal::unconfined(&error))?;
    log::debug!("sandbox: {status}");
    // P13, P14
    let with = Resources {
        netlink,
        has,
        prl,
        monitor,
        files,
        control,
        dump,
        signals,
        notify,
        leader,
        plan,
        forwarding,
        sockets,
    };
    let ended = Daemon::new(options, with, child, readiness).run();
    drop(pid_file);
    ended
}

/// Opens netlink and looks whether the kernel has what is needed and the name is free.
fn open_kernel(options: &Options) -> Result<(Netlink, Monitor, Has), Fatal> {
    if !Path::new(SETTINGS).exists() {
        return Err(Fatal::new(Exit::Unavailable, "this kernel has no IPv6"));
    }
    let mut netlink = Netlink::open().map_err(kernel)?;
    let monitor = Monitor::open().map_err(kernel)?;
    let has = look_for_tunnels(options, &mut netlink)?;
    let found = netlink.find_link(&options.name).map_err(kernel)?;
    if found.is_some_and(|link| !link.is_our_tunnel()) {
        let line =
            format!("--name {}: there is an interface of this name that is not ours", options.name);
        return Err(Fatal::new(Exit::CannotCreate, line));
    }
    Ok((netlink, monitor, has))
}

/// Which tunnels this kernel has; an error if none of them will do.
fn look_for_tunnels(options: &Options, netlink: &mut Netlink) -> Result<Has, Fatal> {
    let router = options.advertise.is_some();
    // A driver that is loaded for nothing is in the way.
    let sit_will_do = options.backend != BackendChoice::Tun && !router;
    let has = Has {
        sit: sit_will_do && netlink.probe_sit().map_err(kernel)?,
        tun: has_tun(),
        settings: access(SETTINGS_OF_ALL, AccessFlags::W_OK).is_ok(),
    };
    let wanted = options.backend;
    let facts = backend::Facts { wanted, has, router, one_next_hop: true, on_tun: false };
    match backend::choose(facts) {
        Ok(_) => Ok(has),
        Err(lacks) => Err(Fatal::new(Exit::Unavailable, lacks.to_string())),
    }
}

/// The sockets that the child needs if it may ever have to encapsulate.
fn protocol_41(options: &Options, has: Has) -> Result<Option<Protocol41>, KernelError> {
    let may = has.tun && options.backend != BackendChoice::Kernel;
    let method = mtu_method(options.pmtu_discovery);
    may.then(|| Protocol41::open(options.ttl, method)).transpose()
}

/// What the parent may still reach in the file system.
fn paths(options: &Options) -> Paths {
    let pid_folder = options.pid_file.as_deref().and_then(Path::parent);
    Paths {
        // resolv.conf and hosts, and where symbolic links of theirs lead.
        read: ["/etc", "/run"]
            .map(PathBuf::from)
            .into_iter()
            .chain(Files::PATHS.iter().filter_map(|path| folder(Path::new(path))))
            .collect(),
        write: vec![SETTINGS.into()],
        sockets: isatapd::log::folders(),
        devices: vec![TUN_DEVICE.into()],
        make: vec![Lock::FOLDER.into()],
        remove: pid_folder.map(PathBuf::from).into_iter().collect(),
        connect: vec![53],
    }
}

fn os(what: &'static str) -> impl Fn(std::io::Error) -> Fatal {
    move |error| Fatal::new(Exit::Os, format!("{what}: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn kernel(error: KernelError) -> Fatal {
    Fatal { exit: Exit::Os, line: error.to_string() }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => Exit::Os.into(),
    }
}

fn end(fatal: &Fatal) -> ExitCode {
    fatal.complain();
    fatal.exit.into()
}
