//! Landlock: which paths, ports and processes can be reached. Best effort above the first version,
//! so that an old kernel still gives what it has; [`Status`](crate::Status) tells the version.

use std::os::fd::AsFd;
use std::path::PathBuf;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::failure::ConfineError;
use crate::spawn::Program;

/// The newest version whose rights are known here.
const NEWEST: ABI = ABI::V9;

/// What the parent may still reach. All else is denied. Paths that do not exist are left out: they
/// stay denied when they appear later.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files and folders to read beneath.
    pub read: Vec<PathBuf>,
    /// Files and folders to read and write beneath.
    pub write: Vec<PathBuf>,
    /// Folders beneath which sockets may be connected to: denied to others from the ninth version on.
    pub sockets: Vec<PathBuf>,
    /// Devices to open.
    pub devices: Vec<PathBuf>,
    /// Folders to make, write and remove files in.
    pub make: Vec<PathBuf>,
    /// Folders to remove files from.
    pub remove: Vec<PathBuf>,
    /// TCP ports to connect to.
    pub connect: Vec<u16>,
}

/// Denies every right of every version. Result: the version in force.
pub(crate) fn deny_all() -> Result<ABI, ConfineError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    enforce(rules)
}

/// Denies all but `paths` and the execution of `program`. No scope: processes that were started before
/// are signalled, and systemd's notification socket may be an abstract one.
pub(crate) fn allow(paths: &Paths, program: Option<&Program>) -> Result<ABI, ConfineError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::Truncate;
    let execute = AccessFs::Execute | AccessFs::ReadFile;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()?;
    if let Some(program) = program {
        rules = rules.add_rule(PathBeneath::new(program.as_fd(), execute))?;
    }
    rules = add_paths(rules, &paths.read, read)?;
    rules = add_paths(rules, &paths.write, write)?;
    rules = add_paths(rules, &paths.sockets, AccessFs::ResolveUnix.into())?;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    rules = add_paths(rules, &paths.devices, device)?;
    let make = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    rules = add_paths(rules, &paths.make, make)?;
    rules = add_paths(rules, &paths.remove, AccessFs::RemoveFile.into())?;
    for port in &paths.connect {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    enforce(rules)
}

fn add_paths(
    mut rules: RulesetCreated,
    paths: &[PathBuf],
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    for path in paths {
        let fd = match PathFd::new(path) {
            Ok(fd) => fd,
            Err(PathFdError::OpenCall { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        rules = rules.add_rule(PathBeneath::new(&fd, rights))?;
        // Open for good (close-on-exec): a rule is of an inode, and /proc has another for the same folder
        // once the kernel has dropped one that nobody uses.
        std::mem::forget(fd);
    }
    Ok(rules)
}

fn enforce(rules: RulesetCreated) -> Result<ABI, ConfineError> {
    let status = rules.restrict_self()?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if status.ruleset != RulesetStatus::NotEnforced =>
        {
            Ok(effective_abi)
        }
        _ => Err(ConfineError::NoLandlock),
    }
}
