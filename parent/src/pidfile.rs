//! A file with our process id in it that only one process can hold.
//!
//! Root writes it where an operator says, so nothing that somebody may have put there is followed or
//! overwritten. It is locked as long as we run and removed at the end. The lock conflicts with that
//! of 0.9.7.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::{Mode, fchmod, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use thiserror::Error;

use crate::exit::{Exit, Fatal};

/// How often the file may vanish under our hands before we give up.
const ATTEMPTS: usize = 100;

/// A file that is ours until dropped; then it is removed. To remove it under Landlock,
/// `REMOVE_FILE` is needed beneath [`PidFile::folder`].
#[derive(Debug)]
pub struct PidFile {
    folder: OwnedFd,
    name: OsString,
    file: File,
}

/// Why the file is not ours.
#[derive(Debug, Error)]
pub(crate) enum HoldError {
    /// Another process holds it: this one, if it says so.
    #[error("another process holds it{}", pid.map_or_else(String::new, |pid| format!(", pid {pid}")))]
    Held {
        /// What the file says.
        pid: Option<u32>,
    },
    /// What is there is not what we would have made.
    #[error("{0}")]
    Foreign(&'static str),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for HoldError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ELOOP => Self::Foreign("it is a symbolic link"),
            Errno::EISDIR => Self::Foreign("it is a directory"),
            Errno::ENXIO => Self::Foreign("not a regular file"),
            errno => Self::Io(errno.into()),
        }
    }
}

impl PidFile {
    /// Makes the pid file `path`.
    pub fn create(path: &Path) -> Result<Self, Fatal> {
        let held = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => open_folder(folder, OFlag::empty())
                .map_err(HoldError::from)
                .and_then(|folder| Self::hold(folder, name)),
            _ => Err(HoldError::Foreign("not the name of a file")),
        };
        held.map_err(|error| {
            let exit = match error {
                HoldError::Held { .. } => Exit::TempFail,
                HoldError::Foreign(_) | HoldError::Io(_) => Exit::CannotCreate,
            };
            Fatal::new(exit, format!("pid file {}: {error}", path.display()))
        })
    }

    /// Where it is.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Makes, or takes over, the file `name` in `folder`, which must be one component.
    pub(crate) fn hold(folder: OwnedFd, name: &OsStr) -> Result<Self, HoldError> {
        for _ in 0..ATTEMPTS {
            let file = open(&folder, name, true)?;
            if !lock(&file, libc::F_WRLCK)? {
                return Err(HoldError::Held { pid: holder(&file) });
            }
            // Who held it before removed it, maybe after we had opened it: then we hold a file that
            // has no name, and another process may hold the one that has.
            if is_in_place(&folder, name, &file) {
                let mut held = Self { folder, name: name.to_owned(), file };
                held.write()?;
                return Ok(held);
            }
        }
        Err(Errno::EBUSY.into())
    }

    fn write(&mut self) -> Result<(), HoldError> {
        // 0644 whatever the umask says: others may read who runs.
        fchmod(&self.file, Mode::from_bits_truncate(0o644))?;
        self.file.set_len(0)?;
        self.file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        remove(&self.folder, &self.name, &self.file);
    }
}

/// Removes the file of that name if it is this one.
pub(crate) fn remove(folder: &OwnedFd, name: &OsStr, file: &File) {
    if is_in_place(folder, name, file)
        && let Err(errno) = unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)
    {
        log::warn!("{}: cannot be removed: {}", name.display(), errno.desc());
    }
}

/// A file that several processes hold, until each lets go of it or ends.
#[derive(Debug)]
pub(crate) struct SharedFile {
    folder: OwnedFd,
    name: OsString,
    file: File,
}

impl SharedFile {
    /// How long another may take to leave.
    const PAUSE: Duration = Duration::from_millis(10);

    /// Joins those that hold the file; `None`: there is none and it is not to be made.
    pub(crate) fn join(
        folder: OwnedFd,
        name: &OsStr,
        make: bool,
    ) -> Result<Option<Self>, HoldError> {
        for _ in 0..ATTEMPTS {
            let file = match open(&folder, name, make) {
                Err(HoldError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                file => file?,
            };
            if !lock(&file, libc::F_RDLCK)? {
                std::thread::sleep(Self::PAUSE);
            } else if is_in_place(&folder, name, &file) {
                return Ok(Some(Self { folder, name: name.to_owned(), file }));
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// Lets go of it. The last that does acts, and removes it: one of two that let go at once.
    pub(crate) fn let_go(&self, act: impl FnOnce()) {
        let is_last = lock(&self.file, libc::F_UNLCK) == Ok(true)
            && lock(&self.file, libc::F_WRLCK) == Ok(true);
        if is_last && is_in_place(&self.folder, &self.name, &self.file) {
            act();
            remove(&self.folder, &self.name, &self.file);
        }
    }
}

/// Whether the name still leads to the file that we hold.
fn is_in_place(folder: &OwnedFd, name: &OsStr, file: &File) -> bool {
    let there = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let (Ok(there), Ok(ours)) = (there, file.metadata()) else { return false };
    (there.st_dev, there.st_ino) == (ours.dev(), ours.ino())
}

/// A folder as a place for files, not for reading.
pub(crate) fn open_folder(path: &Path, more: OFlag) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | more;
    nix::fcntl::open(path, flags, Mode::empty())
}

fn open(folder: &OwnedFd, name: &OsStr, make: bool) -> Result<File, HoldError> {
    // O_NONBLOCK: a FIFO must not hold us up.
    let flags = OFlag::O_RDWR
        | if make { OFlag::O_CREAT } else { OFlag::empty() }
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY;
    let file = File::from(openat(folder, name, flags, Mode::from_bits_truncate(0o644))?);
    check(&file)?;
    Ok(file)
}

/// A file that we could have made, or one that was removed in the meantime.
fn check(file: &File) -> Result<(), HoldError> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(HoldError::Foreign("not a regular file"));
    }
    if found.nlink() > 1 {
        return Err(HoldError::Foreign("it has another name too (hard link)"));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(HoldError::Foreign("it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(HoldError::Foreign("others may write to it"));
    }
    Ok(())
}

/// A lock of the open file (F_OFD_SETLK, fcntl(2)): unlike one of the process it is not lost when the
/// file is opened and closed once more. False: another has one.
#[expect(clippy::cast_possible_truncation, reason = "two small constants, of another type in C")]
fn lock(file: &File, kind: libc::c_int) -> nix::Result<bool> {
    let whole = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut octets = [0; 12];
    let len = file.read_at(&mut octets, 0).ok()?;
    str::from_utf8(octets.get(..len)?).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder, and the path of a pid file in it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("isatapd.pid");
        (folder, path)
    }

    fn refused(path: &Path, why: &str) {
        let fatal = PidFile::create(path).unwrap_err();
        assert_eq!(fatal.exit, Exit::CannotCreate);
        assert_eq!(fatal.line, format!("pid file {}: {why}", path.display()));
    }

    #[test]
    fn made_held_and_removed() {
        let (_folder, path) = place();
        let held = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_644);
        let fatal = PidFile::create(&path).unwrap_err();
        assert_eq!(fatal.exit, Exit::TempFail);
        assert!(fatal.line.ends_with(&format!("holds it, pid {}", std::process::id())));
        // Opening and closing it must not have cost the lock.
        assert!(PidFile::create(&path).is_err());
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn one_left_behind_is_taken_over() {
        let (_folder, path) = place();
        fs::write(&path, "123456789012345\n").unwrap();
        let _held = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn what_is_there_is_not_followed() {
        let (folder, path) = place();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        refused(&path, "it is a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        refused(&path, "it has another name too (hard link)");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        refused(&path, "not a regular file");
        fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        refused(&path, "not a regular file");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused(&path, "it is a directory");
        refused(&folder.path().join("none/isatapd.pid"), "No such file or directory (os error 2)");
        refused(Path::new("/"), "not the name of a file");
    }

    #[test]
    fn what_others_may_change_is_refused() {
        let (_folder, path) = place();
        fs::write(&path, "1\n").unwrap();
        for mode in [0o664, 0o646] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            refused(&path, "others may write to it");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        if geteuid().is_root() {
            chown(&path, Some(65_534), None).unwrap();
            refused(&path, "it belongs to another user");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn the_file_of_another_is_not_removed() {
        let (_folder, path) = place();
        let held = PidFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = PidFile::create(&path).unwrap();
        drop(held);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn removing_lets_no_two_in() {
        let (_folder, path) = place();
        let (inside, times) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let Ok(held) = PidFile::create(&path) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        times.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!(times.into_inner() > 4);
    }

    /// Of those that let go at once exactly one is the last.
    #[test]
    fn one_of_two_is_the_last() {
        let (folder, path) = place();
        for _ in 0..200 {
            let join = || {
                let at = open_folder(folder.path(), OFlag::empty()).unwrap();
                SharedFile::join(at, OsStr::new("isatapd.pid"), true).unwrap().unwrap()
            };
            let (both, acts) = ([join(), join()], AtomicU32::new(0));
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for share in &both {
                    scope.spawn(|| {
                        start.wait();
                        share.let_go(|| {
                            acts.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
            assert_eq!((acts.into_inner(), path.exists()), (1, false));
        }
    }
}
