//! resolv.conf and hosts: opened for the child, and followed as they change.

mod watches;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isatapd_proto::MAX_FILE;
use log::warn;
use nix::libc::O_NONBLOCK;

use self::watches::Watches;
use crate::bucket::Bucket;
use crate::name_servers::name_servers;

/// Changes followed at once, and one more each second: a storm costs no more than that, and leaves
/// look-ups the time that they take.
const CHANGES: Bucket = Bucket::new(5, Duration::from_secs(1));
/// How long a file that had content is believed to have it when it has none: it may be about to be
/// written.
const DOUBT: Duration = Duration::from_secs(1);

/// The files and the watches on them.
pub struct Files {
    paths: [PathBuf; 2],
    watches: Watches,
    changes: Bucket,
    /// When the files are looked at, as they have changed.
    look_at: Option<Instant>,
    /// Until when it is not believed that one of them has no content.
    doubt: Option<Instant>,
    /// Which of them had content when last opened.
    full: [bool; 2],
    /// Why they could not be opened, as last said.
    said: [Option<String>; 2],
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
        Self::at(Self::PATHS.map(PathBuf::from))
    }

    /// Begins to watch these two; the paths are absolute.
    pub fn at(paths: [PathBuf; 2]) -> io::Result<Self> {
        let watches = Watches::lay(&paths)?;
        Ok(Self {
            paths,
            watches,
            changes: CHANGES,
            look_at: None,
            doubt: None,
            full: [false; 2],
            said: [None, None],
        })
    }

    /// Whether it is of use to hear of changes now.
    pub const fn listens(&self) -> bool {
        self.look_at.is_none()
    }

    /// Takes note of changes.
    pub fn hear(&mut self, now: Instant) {
        if self.watches.drain() {
            let wait = self.changes.wait(now).unwrap_or_default();
            self.look_at = self.look_at.or_else(|| now.checked_add(wait));
        }
    }

    /// When [`Files::changed`] is of use.
    pub fn due(&self) -> Option<Instant> {
        self.look_at.into_iter().chain(self.doubt).min()
    }

    /// The files, if there was a change and it is time for it.
    pub fn changed(&mut self, now: Instant) -> Option<Opened> {
        if self.due().is_none_or(|at| at > now) {
            return None;
        }
        if self.look_at.take().is_some() {
            self.changes.take(now);
        }
        // Laid anew before they are opened, so that no change is missed: what has come by a new name
        // is another file.
        match Watches::lay(&self.paths) {
            Ok(watches) => self.watches = watches,
            Err(error) => warn!("resolv.conf and hosts may not be followed any more: {error}"),
        }
        let full = self.full;
        let opened = self.open();
        let is_less = full.iter().zip(self.full).any(|(before, now)| *before && !now);
        if is_less && self.doubt.is_none_or(|until| until > now) {
            self.doubt = self.doubt.or_else(|| now.checked_add(DOUBT));
            self.full = full;
            return None;
        }
        self.doubt = None;
        Some(opened)
    }

    /// Opens the files as they are.
    pub fn open(&mut self) -> Opened {
        let files = [0, 1].map(|file| self.open_one(file));
        self.full = files.each_ref().map(|file| file.as_ref().is_some_and(has_content));
        let [resolv_conf, hosts] = files;
        let servers = match resolv_conf.as_ref().map(beginning) {
            Some(Ok(text)) => name_servers(&text),
            _ => name_servers(&[]),
        };
        // Opened again, so that the child reads from the beginning.
        let [path, _] = &self.paths;
        let again = open(path).ok().map(OwnedFd::from);
        Opened { servers, resolv_conf: resolv_conf.and(again), hosts: hosts.map(OwnedFd::from) }
    }

    /// One that is there but cannot be opened is as good as missing, but that is said.
    fn open_one(&mut self, file: usize) -> Option<File> {
        let (path, said) = (self.paths.get(file)?, self.said.get_mut(file)?);
        let (opened, trouble) = match open(path) {
            Ok(opened) => (Some(opened), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(format!("{}: {error}; counts as missing", path.display()))),
        };
        if let Some(line) = trouble.as_ref().filter(|line| said.as_ref() != Some(line)) {
            warn!("{line}");
        }
        *said = trouble;
        opened
    }
}

impl AsFd for Files {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watches.as_fd()
    }
}

/// Where `path` leads, with the folder around it: it may be replaced there. But not all that there is.
pub fn folder(path: &Path) -> Option<PathBuf> {
    let file = path.canonicalize().ok()?;
    let folder = file.parent().filter(|folder| folder.parent().is_some());
    Some(folder.map_or_else(|| file.clone(), Path::to_path_buf))
}

/// Only regular files: a FIFO would have no end.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn has_content(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.len() > 0)
}

/// As much as is used, and an octet that tells of more.
fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(MAX_FILE + 1).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}
