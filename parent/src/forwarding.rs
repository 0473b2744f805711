//! Forwarding of IPv6 that we switched on: it is switched off when the last that needs it ends.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::warn;
use nix::fcntl::OFlag;

use crate::exit::{Exit, Fatal};
use crate::kernel::{FORWARDING, forwards};
use crate::pidfile::{HoldError, SharedFile, open_folder};

/// A share in it. A file says that it is our doing; it outlives a crash, so that the next start
/// knows.
#[derive(Debug)]
pub struct Forwarding(SharedFile);

impl Forwarding {
    /// Has the host forward IPv6; `None` if it does so already by another's will, which is left as it
    /// is. The file is in `folder`, that of the lock.
    pub fn switch_on(folder: &Path) -> Result<Option<Self>, Fatal> {
        loop {
            let on = forwards();
            let joined = join(folder, !on).map_err(|e| fatal(&e.to_string()))?.map(Self);
            if !on {
                write(true).map_err(|e| fatal(&e.to_string()))?;
            }
            // The last that needed it may just have switched it off.
            if joined.is_some() || forwards() {
                return Ok(joined);
            }
        }
    }

    /// Leaves it on, and the file, for the next start.
    pub(crate) fn leave(self) {
        // The file is let go of by the end of the process.
        std::mem::forget(self);
    }

    /// Switches it on again.
    pub(crate) fn again() -> io::Result<()> {
        write(true)
    }
}

fn fatal(why: &str) -> Fatal {
    Fatal::new(Exit::Os, format!("--forward: {FORWARDING}: {why}"))
}

fn write(on: bool) -> io::Result<()> {
    fs::write(FORWARDING, if on { "1" } else { "0" })
}

fn join(folder: &Path, make: bool) -> Result<Option<SharedFile>, HoldError> {
    // As lock::file_name, but for all tunnels of the namespace.
    let name = format!("{}.forward", fs::metadata("/proc/self/ns/net")?.ino());
    SharedFile::join(open_folder(folder, OFlag::O_NOFOLLOW)?, name.as_ref(), make)
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.let_go(|| {
            if let Err(error) = write(false) {
                warn!("{FORWARDING}: stays 1: {error}");
            }
        });
    }
}
