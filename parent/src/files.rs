//! resolv.conf and hosts: opened for the child, and followed as they change.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isatapd_proto::MAX_FILE;
use nix::libc::O_NONBLOCK;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::name_servers::name_servers;

/// Watches on the files and on the folders that name them.
pub struct Files {
    inotify: Inotify,
}

/// The files as they are now.
#[derive(Debug)]
pub struct Opened {
    /// The name servers of resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// resolv.conf, if there is one.
    pub resolv_conf: Option<OwnedFd>,
    /// hosts, if there is one.
    pub hosts: Option<OwnedFd>,
}

impl Files {
    /// What is followed.
    pub const PATHS: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

    /// Begins to watch.
    pub fn watch() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        for path in Files::PATHS.map(Path::new) {
            // Also where a symbolic link leads. What is not there cannot be watched, but the folder
            // it would come to can.
            let real = path.canonicalize().ok();
            for path in real.iter().map(PathBuf::as_path).chain([path]) {
                let folder = AddWatchFlags::IN_CREATE
                    | AddWatchFlags::IN_CLOSE_WRITE
                    | AddWatchFlags::IN_MOVE
                    | AddWatchFlags::IN_DELETE;
                // A file may be mounted over: then its own folder sees nothing.
                let file = AddWatchFlags::IN_CLOSE_WRITE
                    | AddWatchFlags::IN_ATTRIB
                    | AddWatchFlags::IN_DELETE_SELF
                    | AddWatchFlags::IN_MOVE_SELF;
                let _ = inotify.add_watch(path, file);
                if let Some(parent) = path.parent() {
                    let _ = inotify.add_watch(parent, folder);
                }
            }
        }
        Ok(Self { inotify })
    }

    /// Whether anything has changed since. If so the watches are laid anew, for what has come by a
    /// new name is another file.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        while let Ok(events) = self.inotify.read_events() {
            // An event without a name is about a file itself, or says that events were lost.
            changed |= events.iter().any(|e| e.name.as_deref().is_none_or(is_followed));
        }
        if changed {
            *self = Self::watch()?;
        }
        Ok(changed)
    }

    /// Opens the files.
    pub fn open(&self) -> Opened {
        let [resolv_conf, hosts] = Files::PATHS.map(|path| open(Path::new(path)).ok());
        let servers = match resolv_conf.as_ref().map(beginning) {
            Some(Ok(text)) => name_servers(&text),
            _ => name_servers(&[]),
        };
        // Opened again, so that the child reads from the beginning.
        let again = |path| open(Path::new(path)).ok().map(OwnedFd::from);
        Opened {
            servers,
            resolv_conf: resolv_conf.and_then(|_| again(Files::PATHS[0])),
            hosts: hosts.map(OwnedFd::from),
        }
    }
}

impl AsFd for Files {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn is_followed(name: &OsStr) -> bool {
    // The name that a symbolic link leads to may be another; its folder is a small one.
    Files::PATHS.iter().any(|path| Path::new(path).file_name() == Some(name))
        || Files::PATHS.iter().any(|path| {
            Path::new(path).canonicalize().is_ok_and(|real| real.file_name() == Some(name))
        })
}

/// Only regular files: a FIFO would have no end.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_FILE.try_into().unwrap_or(u64::MAX)).read_to_end(&mut text)?;
    Ok(text)
}
