//! The socket at which the child serves the operator's tools: made here, beside the lock.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;
use crate::lock::{self, Lock};

/// Clients that may wait for the child; it takes all at once.
const BACKLOG: i32 = 16;

/// A listening socket that only root can reach; removed when dropped.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Control {
    /// Makes that of `name`, whose lock must be held: what is there was left by a process that has
    /// ended.
    pub fn open(name: &InterfaceName) -> Result<Self, Fatal> {
        open_in(Path::new(Lock::FOLDER), name).map_err(|error| {
            let line = format!("{name}: no control socket in {}: {error}", Lock::FOLDER);
            Fatal::new(Exit::CannotCreate, line)
        })
    }

    /// Another descriptor of it, for a child.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

fn open_in(folder: &Path, name: &InterfaceName) -> io::Result<Control> {
    let path = folder.join(lock::file_name(name, "control")?);
    if fs::symlink_metadata(&path).is_ok_and(|there| there.file_type().is_socket()) {
        remove(&path)?;
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
    // Nobody can connect before it listens, and nobody but root can exchange what is there.
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    let file = identity(&path)?;
    Ok(Control { socket, path, file })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// By the call that the filter allows.
fn remove(path: &Path) -> nix::Result<()> {
    unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir)
}

impl Drop for Control {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file)
            && let Err(errno) = remove(&self.path)
        {
            log::warn!("{}: cannot be removed: {}", self.path.display(), errno.desc());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::connect;

    use super::*;

    fn reach(path: &Path) -> nix::Result<()> {
        let client =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(client.as_raw_fd(), &UnixAddr::new(path)?)
    }

    #[test]
    fn made_for_root_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let name: InterfaceName = "is0".parse().unwrap();
        let control = open_in(folder.path(), &name).unwrap();
        let file = fs::symlink_metadata(&control.path).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600);
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert!(control.path.ends_with(format!("{own}.is0.control")));
        reach(&control.path).unwrap();
        let copy = control.copy().unwrap();
        let path = control.path.clone();
        drop(control);
        assert!(!path.exists());
        drop(copy);
    }

    #[test]
    fn one_left_behind_is_replaced_and_that_of_another_stays() {
        let folder = tempfile::tempdir().unwrap();
        let name: InterfaceName = "is0".parse().unwrap();
        let path = folder.path().join(lock::file_name(&name, "control").unwrap());
        drop(UnixListener::bind(&path).unwrap());
        assert!(reach(&path).is_err());
        let first = open_in(folder.path(), &name).unwrap();
        reach(&path).unwrap();
        let second = open_in(folder.path(), &name).unwrap();
        drop(first);
        reach(&path).unwrap();
        drop(second);
        // What is no socket is not ours to remove.
        fs::write(&path, "precious").unwrap();
        assert_eq!(open_in(folder.path(), &name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
