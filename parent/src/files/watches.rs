//! Watches on all that decides what a path leads to: each link on the way, each folder, what is still
//! to come.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Links followed on one way (MAXSYMLINKS of linux/namei.h).
const MAX_LINKS: usize = 40;

/// To what is watched of the same folder already.
const ADD: AddWatchFlags = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);

/// Watches on some paths, as they led when the watches were laid.
pub(super) struct Watches {
    inotify: Inotify,
    /// The names that matter, by the folder that they are in.
    names: BTreeMap<WatchDescriptor, BTreeSet<OsString>>,
}

impl Watches {
    /// Lays them. What happens to the paths from now on is not missed.
    pub(super) fn lay(paths: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watches = Self { inotify, names: BTreeMap::new() };
        for path in paths {
            watches.follow(path);
        }
        Ok(watches)
    }

    /// Whether anything has happened since the last time.
    pub(super) fn drain(&self) -> bool {
        let mut any = false;
        while let Ok(events) = self.inotify.read_events() {
            // An event without a name is about a file or folder itself, or says that events were lost.
            any |= events.iter().any(|event| match &event.name {
                None => true,
                Some(name) => self.names.get(&event.wd).is_some_and(|names| names.contains(name)),
            });
        }
        any
    }

    /// Goes along `path` as the kernel does, as far as there is something.
    fn follow(&mut self, path: &Path) {
        let mut here = PathBuf::from("/");
        let mut rest = components(path);
        let mut links = 0_usize;
        while let Some(name) = rest.pop() {
            if name == ".." {
                here.pop();
                continue;
            }
            let (next, is_last) = (here.join(&name), rest.is_empty());
            let look = || next.symlink_metadata().map(|found| found.is_symlink());
            let mut is_link = look();
            if is_last || !matches!(is_link, Ok(false)) {
                self.watch_name(&here, name);
                // It may have come, or changed, before it was watched.
                is_link = look();
            }
            match is_link {
                Err(_) => return,
                Ok(true) => {
                    links = links.saturating_add(1);
                    let Ok(target) = next.read_link() else { return };
                    if links > MAX_LINKS {
                        return;
                    }
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    rest.extend(components(&target));
                }
                Ok(false) => {
                    self.watch(&next, is_last);
                    here = next;
                }
            }
        }
    }

    fn watch_name(&mut self, folder: &Path, name: OsString) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | ADD;
        if let Ok(watch) = self.inotify.add_watch(folder, flags) {
            self.names.entry(watch).or_default().insert(name);
        }
    }

    /// A file may be mounted over: then its own folder sees nothing. A folder on the way may go.
    fn watch(&self, path: &Path, is_file: bool) {
        let mut flags = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | ADD;
        if is_file {
            flags |= AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        }
        let _ = self.inotify.add_watch(path, flags);
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The names in `path`, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().map(std::path::Component::as_os_str);
    names
        .filter(|name| *name != OsStr::new("/") && *name != OsStr::new("."))
        .rev()
        .map(Into::into)
        .collect()
}
