//! The state as a file, as rtsold has it: made of the child's lines when SIGUSR1 asks for it, beside the
//! lock, and removed at the end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use isatapd_proto::{Command, Event, Level, Phase};
use log::info;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::child::Violation;
use crate::kernel::InterfaceName;
use crate::lock::{self, Lock};
use crate::pidfile::{open_folder, remove};
use crate::run::Daemon;
use crate::text::{MAX_LINE, escape};

/// Octets of the file; the child's 257 lines are fewer.
const MAX_DUMP: usize = 1 << 17;

/// The place of the file.
#[derive(Debug)]
pub struct Dump {
    folder: OwnedFd,
    name: OsString,
    /// The one that is there.
    file: Option<File>,
    /// What the child has told, as long as it is not all.
    told: Option<String>,
}

impl Dump {
    /// That of `name`, whose lock must be held: what is there was left by a process that has ended.
    pub fn new(name: &InterfaceName) -> io::Result<Self> {
        Self::open_in(Path::new(Lock::FOLDER), name)
    }

    fn open_in(folder: &Path, name: &InterfaceName) -> io::Result<Self> {
        let folder = open_folder(folder, OFlag::O_NOFOLLOW)?;
        let name = OsString::from(lock::file_name(name, "dump")?);
        let dump = Self { folder, name, file: None, told: None };
        let _ = unlinkat(&dump.folder, &*dump.name, UnlinkatFlags::NoRemoveDir);
        Ok(dump)
    }

    /// Replaces the file by one that root alone can read. Whoever reads sees the old one or the new.
    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut other = self.name.clone();
        other.push(".new");
        // Left by a predecessor that was killed while it wrote.
        let _ = unlinkat(&self.folder, &*other, UnlinkatFlags::NoRemoveDir);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file =
            File::from(openat(&self.folder, &*other, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| Ok(renameat(&self.folder, &*other, &self.folder, &*self.name)?));
        match written {
            Ok(()) => self.file = Some(file),
            Err(_) => remove(&self.folder, &other, &file),
        }
        written
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            remove(&self.folder, &self.name, &file);
        }
    }
}

/// `told` line by line, as washed as the log is, and as much as goes into the file.
fn wash(told: &str) -> String {
    let mut text = String::new();
    for line in told.lines() {
        let line = escape(line, MAX_LINE);
        if text.len().saturating_add(line.len()) >= MAX_DUMP {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

impl Daemon<'_> {
    /// Whether there is a child to ask for its state, which has told all that it was asked before.
    pub(crate) fn can_dump(&self) -> bool {
        let runs =
            |child: &crate::child::Child| child.phase() == Phase::Running && !child.is_condemned();
        self.with.dump.told.is_none() && self.child.as_ref().is_some_and(runs)
    }

    /// Asks the child for its state.
    pub(crate) fn ask_state(&mut self) {
        self.with.dump.told = Some(String::new());
        self.tell(&Event::Command(Command::Dump), Vec::new());
    }

    /// The child has told a piece of its state.
    pub(crate) fn take_state(&mut self, text: &str, last: bool, now: std::time::Instant) {
        let dump = &mut self.with.dump;
        let Some(told) = &mut dump.told else { return self.punish(&Violation::Unasked) };
        if told.len() < MAX_DUMP {
            told.push_str(text);
        }
        if !last {
            return;
        }
        let text = wash(told);
        dump.told = None;
        let path = Path::new(Lock::FOLDER).join(&dump.name);
        match dump.write(&text) {
            Ok(()) => info!("SIGUSR1: the state is in {}", path.display()),
            Err(error) => {
                let line = format!("{}: {error}", path.display());
                self.log.caused(Level::Warning, &line, now);
            }
        }
    }

    /// The child has ended: the next one is asked, if this one has not told all.
    pub(crate) fn ask_state_anew(&mut self) {
        if self.with.dump.told.take().is_some() {
            self.dump.wish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn made_for_root_replaced_as_a_whole_and_removed() {
        let run = tempfile::tempdir().unwrap();
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let path = run.path().join(format!("{own}.is0.dump"));
        fs::write(&path, "of a predecessor").unwrap();
        let mut dump = Dump::open_in(run.path(), &"is0".parse().unwrap()).unwrap();
        assert!(!path.exists());
        // What others have put there is neither followed nor written to.
        let victim = run.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in [&path, &run.path().join(format!("{own}.is0.dump.new"))] {
            symlink(&victim, name).unwrap();
        }
        for text in ["first\n", "second\n"] {
            dump.write(text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode(), 0o100_600);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        // A folder is in the way: the old state stays, and nothing else is left.
        fs::create_dir(run.path().join(format!("{own}.is0.dump.new"))).unwrap();
        assert!(dump.write("third\n").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        fs::remove_dir(run.path().join(format!("{own}.is0.dump.new"))).unwrap();
        drop(dump);
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_gets_in_raw_or_without_end() {
        assert_eq!(wash("a\n\u{1b}[2J\r\nb"), "a\n\\x1b[2J\nb\n");
        let text = wash(&"\u{202e}".repeat(MAX_DUMP));
        assert!(text.len() <= MAX_LINE + 1, "{}", text.len());
        assert!(wash(&"\n".repeat(MAX_DUMP * 2)).len() <= MAX_DUMP);
    }
}
