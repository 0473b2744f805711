//! Starts the child: everything that needs a privilege to be given up is given up between fork and
//! exec, so the child's program never runs an instruction as root.

use std::convert::Infallible;
use std::ffi::c_char;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Pid, chroot, fchdir, fork, pipe2, setgroups, setresgid, setresuid, setsid, write,
};
use thiserror::Error;

use crate::failure::{At, Failure};
use crate::identity::Identity;
use crate::protocol_41::{FRAGMENTING_FD, WHOLE_FD};
use crate::{CHILD_FD, caps, prctl, wash};

/// Numbers from here on are free of those that the child gets.
const ABOVE: RawFd = 10;

/// The child's program, opened once: what is started later is what was checked.
#[derive(Debug)]
pub struct Program(File);

/// Why a program is not the child's.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It cannot be opened.
    #[error("{0}: {1}")]
    Open(PathBuf, io::Error),
    /// Someone other than root could have written it.
    #[error("{0}: not a regular file that only root can write")]
    Untrusted(PathBuf),
}

impl Program {
    /// Opens a program: a regular file, no link, owned by root, not writable by group or others.
    pub fn open(path: &Path) -> Result<Self, ProgramError> {
        let failed = |error| ProgramError::Open(path.into(), error);
        let file = open_path(path, OFlag::O_NOFOLLOW).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_file() && about.uid() == 0 && about.mode() & 0o022 == 0 {
            Ok(Self(file))
        } else {
            Err(ProgramError::Untrusted(path.into()))
        }
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where the child lives: a folder that is empty, has no name any more, and so can never hold
/// anything; and /dev/null for its standard descriptors.
#[derive(Debug)]
pub struct EmptyRoot {
    folder: File,
    null: File,
}

impl EmptyRoot {
    /// Makes the folder in /run, opens it and removes its name.
    pub fn new() -> io::Result<Self> {
        let path = nix::unistd::mkdtemp("/run/isatapd-root.XXXXXX")?;
        let opened = fs::set_permissions(&path, Permissions::from_mode(0o555))
            .and_then(|()| open_path(&path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW));
        fs::remove_dir(&path)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        Ok(Self { folder: opened?, null })
    }
}

/// Opens a place without the right to read or write it; close-on-exec.
fn open_path(path: &Path, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_PATH;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// All that it takes to start the child, again and again.
#[derive(Debug)]
pub struct Plan {
    /// What runs.
    pub program: Program,
    /// Where it lives.
    pub root: EmptyRoot,
    /// Who it is.
    pub identity: Identity,
    /// Its sockets of protocol 41, for [`WHOLE_FD`] and [`FRAGMENTING_FD`]; without, /dev/null.
    pub protocol_41: Option<[OwnedFd; 2]>,
}

/// Why there is no child.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpawnError {
    /// The parent could not make ready for it.
    #[error("{0}")]
    Parent(#[from] Failure),
    /// The child could not give something up, or could not run its program; it is gone.
    #[error("{step}: {}", .errno.desc())]
    Child {
        /// The call that failed.
        step: String,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// What the child needs between fork and exec, at numbers that do not get in each other's way.
struct Image {
    ipc: OwnedFd,
    protocol_41: [OwnedFd; 2],
    null: OwnedFd,
    folder: OwnedFd,
    program: OwnedFd,
    report: OwnedFd,
    identity: Identity,
}

impl Image {
    fn new(plan: &Plan, ipc: &OwnedFd, report: &OwnedFd) -> Result<Self, Failure> {
        let protocol_41 = match &plan.protocol_41 {
            Some([whole, fragmenting]) => [raise(whole)?, raise(fragmenting)?],
            None => [raise(&plan.root.null)?, raise(&plan.root.null)?],
        };
        Ok(Self {
            ipc: raise(ipc)?,
            protocol_41,
            null: raise(&plan.root.null)?,
            folder: raise(&plan.root.folder)?,
            program: raise(&plan.program)?,
            report: raise(report)?,
            identity: plan.identity,
        })
    }
}

/// A close-on-exec copy at a high number.
fn raise(fd: impl AsFd) -> Result<OwnedFd, Failure> {
    use std::os::fd::FromRawFd;
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ABOVE)).at("fcntl(F_DUPFD_CLOEXEC)")?;
    // SAFETY: the kernel has just opened it: nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Starts the child with `ipc` at [`CHILD_FD`], /dev/null below and the sockets of protocol 41 above.
/// When this returns its program runs, or no child is left.
pub fn spawn(plan: &Plan, ipc: OwnedFd) -> Result<Pid, SpawnError> {
    let (reader, report) = pipe2(OFlag::O_CLOEXEC).at("pipe2")?;
    let image = Image::new(plan, &ipc, &report)?;
    drop((ipc, report));
    // No signal of the parent's is handled in the child before its own program is there.
    let mask = wash::set_mask(&SigSet::all()).at("sigprocmask")?;
    // SAFETY: until exec or exit the child only makes system calls: it neither allocates nor locks.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let Err(failure) = become_child(&image);
        tell(&image.report, failure);
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(127) }
    }
    wash::set_mask(&mask).at("sigprocmask")?;
    drop(image);
    match forked.at("fork")? {
        ForkResult::Parent { child } => hear(reader, child),
        ForkResult::Child => {
            Err(SpawnError::Parent(Failure { step: "fork", errno: Errno::EINVAL }))
        }
    }
}

/// In the child. Comes back only if a step failed.
fn become_child(image: &Image) -> Result<Infallible, Failure> {
    arrange_descriptors(image)?;
    wash::reset_signals()?;
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setsid().at("setsid")?;
    fchdir(&image.folder).at("fchdir")?;
    chroot(c".").at("chroot")?;
    caps::close_ways_back(caps::Set::default())?;
    let (uid, gid) = (image.identity.uid(), image.identity.gid());
    setgroups(&[]).at("setgroups")?;
    setresgid(gid, gid, gid).at("setresgid")?;
    setresuid(uid, uid, uid).at("setresuid")?;
    caps::limit(caps::Set::default())?;
    prctl::set_no_new_privs().at("prctl(PR_SET_NO_NEW_PRIVS)")?;
    // A bonus, lost if the parent may not signal the child: the end of the channel is what counts.
    prctl::set_parent_death_kill().at("prctl(PR_SET_PDEATHSIG)")?;
    run(&image.program).at("execveat")
}

fn arrange_descriptors(image: &Image) -> Result<(), Failure> {
    for number in 0..CHILD_FD {
        duplicate(&image.null, number).at("dup2")?;
    }
    let [whole, fragmenting] = &image.protocol_41;
    for (fd, number) in [(&image.ipc, CHILD_FD), (whole, WHOLE_FD), (fragmenting, FRAGMENTING_FD)] {
        duplicate(fd, number).at("dup2")?;
    }
    // They are needed up to exec, and gone with it.
    let (first, flags) = (FRAGMENTING_FD.unsigned_abs() + 1, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: numbers only, and nothing is closed yet.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    Errno::result(answer).at("close_range").map(drop)
}

/// dup2(2): the copy is not close-on-exec.
fn duplicate(fd: &OwnedFd, number: RawFd) -> nix::Result<()> {
    // SAFETY: numbers only. What the target number was belongs to the parent's image, of which
    // nothing below `ABOVE` is used any more.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Runs the program with one argument, its name, and an empty environment.
fn run(program: &OwnedFd) -> nix::Result<Infallible> {
    let arguments: [*const c_char; 2] = [c"isatapd-child".as_ptr(), ptr::null()];
    let environment: [*const c_char; 1] = [ptr::null()];
    // SAFETY: both lists end with null and, like the strings, live until the call; on success this
    // image is gone.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(answer)?;
    Err(Errno::ENOEXEC)
}

/// Writes the error number and the step. Short enough for one piece of a pipe.
fn tell(report: &OwnedFd, failure: Failure) {
    // A parent that cannot be told sees a child that ended.
    let _ = write(report, &(failure.errno as i32).to_ne_bytes());
    let _ = write(report, failure.step.as_bytes());
}

/// Waits for the report's end, which comes with exec.
fn hear(reader: OwnedFd, child: Pid) -> Result<Pid, SpawnError> {
    let mut report = Vec::new();
    let heard = File::from(reader).read_to_end(&mut report);
    if heard.is_ok() && report.is_empty() {
        return Ok(child);
    }
    while waitpid(child, None) == Err(Errno::EINTR) {}
    let (errno, step) = match report.split_first_chunk::<4>() {
        Some((number, step)) => (Errno::from_raw(i32::from_ne_bytes(*number)), step),
        None => (Errno::EIO, &b"report"[..]),
    };
    Err(SpawnError::Child { step: String::from_utf8_lossy(step).into_owned(), errno })
}
