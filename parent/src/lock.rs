//! One isatapd for one tunnel: a file for each network namespace and name.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::exit::{Exit, Fatal};
use crate::kernel::InterfaceName;
use crate::pidfile::{HoldError, PidFile, open_folder};

/// The right to serve a tunnel of this name in this network namespace, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: PidFile,
}

impl Lock {
    /// Where the locks are. The folder stays when they go.
    pub const FOLDER: &str = "/run/isatapd";

    /// Takes it for `name`.
    pub fn take(name: &InterfaceName) -> Result<Self, Fatal> {
        Ok(Self { _file: take_in(Path::new(Self::FOLDER), name)? })
    }
}

fn take_in(folder: &Path, name: &InterfaceName) -> Result<PidFile, Fatal> {
    hold(folder, name).map_err(|error| match error {
        HoldError::Held { pid } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            let line = format!("{name}: another isatapd{pid} serves it; this one ends");
            Fatal::new(Exit::TempFail, line)
        }
        error => {
            let line = format!("{name}: no lock in {}: {error}", folder.display());
            Fatal::new(Exit::CannotCreate, line)
        }
    })
}

fn hold(folder: &Path, name: &InterfaceName) -> Result<PidFile, HoldError> {
    let file = file_name(name, "lock")?;
    make(folder)?;
    let folder = open_folder(folder, OFlag::O_NOFOLLOW).map_err(|errno| match errno {
        Errno::ENOTDIR => HoldError::Foreign("it is not a directory"),
        errno => errno.into(),
    })?;
    let folder = File::from(folder);
    let found = folder.metadata()?;
    if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(HoldError::Foreign("others may write there"));
    }
    PidFile::hold(folder.into(), OsStr::new(&file))
}

/// The name of the file of `kind` that belongs to `name` in this network namespace.
pub(crate) fn file_name(name: &InterfaceName, kind: &str) -> io::Result<String> {
    // The inode is the namespace's number, unique while it exists (namespaces(7)).
    let namespace = fs::metadata("/proc/self/ns/net")?.ino();
    Ok(format!("{namespace}.{name}.{kind}"))
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        // 0755 whatever the umask says: others may see what runs.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> InterfaceName {
        name.parse().unwrap()
    }

    #[test]
    fn one_instance_for_each_name() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("isatapd");
        let first = take_in(&folder, &name("is0")).unwrap();
        let mode = fs::metadata(&folder).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
        let second = take_in(&folder, &name("is0")).unwrap_err();
        let me = std::process::id();
        let line = format!("is0: another isatapd (pid {me}) serves it; this one ends");
        assert_eq!(second, Fatal::new(Exit::TempFail, line));
        let other = take_in(&folder, &name("is1")).unwrap();
        drop((first, other));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        take_in(&folder, &name("is0")).unwrap();
    }

    #[test]
    fn a_folder_of_others_is_refused() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("isatapd");
        let refusal = |folder: &Path| {
            let fatal = take_in(folder, &name("is0")).unwrap_err();
            assert_eq!(fatal.exit, Exit::CannotCreate);
            fatal.line
        };
        std::os::unix::fs::symlink(run.path(), &folder).unwrap();
        assert!(refusal(&folder).ends_with("it is not a directory"));
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
        assert!(refusal(&folder).ends_with("others may write there"));
        assert!(refusal(&run.path().join("a/b")).contains("No such file or directory"));
    }
}
