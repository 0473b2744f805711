//! The socket at which the child serves the operator's tools: made here, beside the lock.
//!
//! While there is no child, we say so ourselves to whoever connects, and read nothing.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isatapd_proto::control::{Answer, Seconds, Told, Version};
use isatapd_proto::encode;
use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, listen, send, socket,
};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;
use crate::lock::{self, Lock};

/// Clients that may wait for the child; it takes all at once.
const BACKLOG: i32 = 16;
/// Clients that were told and may still have to read it.
const TOLD: usize = 16;

/// A listening socket that only root can reach; removed when dropped.
#[derive(Debug)]
pub struct Control {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
    /// Closed too soon, they would hear of the query that we have not read, not the answer.
    told: VecDeque<OwnedFd>,
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
        self.socket.try_clone().map(OwnedFd::from)
    }

    /// Tells those who ask that the next child comes in `wait`.
    pub fn turn_away(&mut self, wait: Duration) {
        let seconds = wait.as_millis().div_ceil(1000).try_into().unwrap_or(u32::MAX);
        let told = Told::Restarting(Seconds(seconds));
        let Ok(answer) = encode(&Answer { version: Version, told }) else { return };
        // By the call that the child makes, which the filter allows.
        while let Ok((client, _)) = self.socket.accept() {
            let client = OwnedFd::from(client);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let _ = send(client.as_raw_fd(), &answer, flags);
            self.told.truncate(TOLD.saturating_sub(1));
            self.told.push_front(client);
        }
    }

    /// There is a child: it speaks for itself.
    pub fn forget_clients(&mut self) {
        self.told.clear();
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
    Ok(Control { socket: socket.into(), path, file, told: VecDeque::new() })
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
    use isatapd_proto::decode;
    use nix::sys::socket::{connect, recv};

    use super::*;

    fn reach(path: &Path) -> nix::Result<OwnedFd> {
        let client =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(client.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(client)
    }

    /// Also who asks before and who asks after, and however many: no descriptor is left.
    #[test]
    fn without_a_child_all_are_told_when_the_next_comes() {
        let folder = tempfile::tempdir().unwrap();
        let mut control = open_in(folder.path(), &"is0".parse().unwrap()).unwrap();
        for round in 0..8 {
            let clients = [(); TOLD].map(|()| reach(&control.path).unwrap());
            for client in clients.iter().step_by(2) {
                send(client.as_raw_fd(), b"query", MsgFlags::empty()).unwrap();
            }
            control.turn_away(Duration::from_millis(1500));
            assert_eq!(control.told.len(), TOLD, "{round}");
            for client in clients {
                let mut octets = [0; 64];
                let len = recv(client.as_raw_fd(), &mut octets, MsgFlags::empty()).unwrap();
                let answer: Answer = decode(&octets[..len]).unwrap();
                assert_eq!(answer.told, Told::Restarting(Seconds(2)));
            }
        }
        control.forget_clients();
        assert!(control.told.is_empty());
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
