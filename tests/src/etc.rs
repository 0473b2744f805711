//! A folder /etc of a daemon's own, so that a test can do with it what it likes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::site::Site;

/// The folder, and one below /run that it can lead to; both go in the end.
pub struct Etc {
    folder: TempDir,
    run: PathBuf,
}

impl Etc {
    /// With the users of this machine, no hosts, and this resolv.conf if it is not empty.
    pub fn new(site: &Site, resolv_conf: &str) -> Self {
        let etc = Self {
            folder: tempfile::tempdir().expect("a folder"),
            run: PathBuf::from(site.file("run")),
        };
        fs::create_dir_all(&etc.run).expect("a folder");
        for file in ["passwd", "group", "nsswitch.conf"] {
            let _ = fs::copy(Path::new("/etc").join(file), etc.path(file));
        }
        if !resolv_conf.is_empty() {
            etc.write("resolv.conf", resolv_conf);
        }
        etc
    }

    /// Where a file of it is; `run/NAME` is in the other folder.
    pub fn path(&self, name: &str) -> PathBuf {
        name.strip_prefix("run/")
            .map_or_else(|| self.folder.path().join(name), |n| self.run.join(n))
    }

    /// Writes a file in place.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    /// Writes another file and renames it.
    pub fn replace(&self, name: &str, content: &str) {
        let path = self.path(name);
        let new = path.with_extension("new");
        fs::write(&new, content).expect("a file");
        fs::rename(new, path).expect("rename");
    }

    /// Has `name` lead to `to`.
    pub fn link(&self, to: &str, name: &str) {
        let path = self.path(name);
        let new = path.with_extension("new");
        symlink(self.path(to), &new).expect("a link");
        fs::rename(new, path).expect("rename");
    }

    /// A shell command that makes it the /etc of what it starts, in the mount namespace that ip(8) has
    /// made.
    pub(crate) fn mounted(&self) -> String {
        format!("mount --bind {} /etc && exec \"$@\"", self.folder.path().display())
    }
}
