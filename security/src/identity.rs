//! Who the child is.

use std::{fs, io};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use thiserror::Error;

/// passwd(5).
const PASSWD: &str = "/etc/passwd";

/// An ordinary user and its primary group: neither is 0, neither is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: Uid,
    gid: Gid,
}

/// Why a user cannot be the child's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The name is unknown.
    #[error("user {0:?}: no such user")]
    Unknown(String),
    /// The list of users cannot be read.
    #[error("user {name:?}: {PASSWD}: {}", .errno.desc())]
    Lookup {
        /// The name.
        name: String,
        /// Why not.
        errno: Errno,
    },
    /// Root, or a number that setresuid(2) takes for "leave as it is".
    #[error("user {0:?}: its uid {1} or gid {2} gives up nothing")]
    Privileged(String, Uid, Gid),
}

impl Identity {
    /// Looks a user up by name in passwd(5) itself: getpwnam(3) would load whatever modules
    /// nsswitch.conf names into a process that is root. A number is a name like any other.
    pub fn lookup(name: &str) -> Result<Self, IdentityError> {
        let failed = |error: io::Error| IdentityError::Lookup {
            name: name.into(),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        };
        let passwd = fs::read(PASSWD).map_err(failed)?;
        let (uid, gid) = find(&String::from_utf8_lossy(&passwd), name)
            .ok_or_else(|| IdentityError::Unknown(name.into()))?;
        Self::checked(uid, gid).ok_or_else(|| IdentityError::Privileged(name.into(), uid, gid))
    }

    fn checked(uid: Uid, gid: Gid) -> Option<Self> {
        let ordinary = |id| id != 0 && id != u32::MAX;
        (ordinary(uid.as_raw()) && ordinary(gid.as_raw())).then_some(Self { uid, gid })
    }

    /// The user id.
    pub fn uid(self) -> Uid {
        self.uid
    }

    /// The primary group.
    pub fn gid(self) -> Gid {
        self.gid
    }
}

/// The ids of a user in the text of passwd(5): name:password:uid:gid:...
fn find(passwd: &str, name: &str) -> Option<(Uid, Gid)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then(|| (Uid::from_raw(uid), Gid::from_raw(gid)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_users() {
        for (uid, gid, good) in [
            (0, 0, false),
            (0, 65534, false),
            (65534, 0, false),
            (u32::MAX, 1, false),
            (1, u32::MAX, false),
            (1, 1, true),
        ] {
            let identity = Identity::checked(Uid::from_raw(uid), Gid::from_raw(gid));
            assert_eq!(identity.is_some(), good, "{uid} {gid}");
        }
    }

    #[test]
    fn looks_up_by_name_only() {
        let nobody = Identity::lookup("nobody").unwrap();
        assert_eq!((nobody.uid().as_raw(), nobody.gid().as_raw()), (65534, 65534));
        let error = Identity::lookup("65534").unwrap_err();
        assert_eq!(error, IdentityError::Unknown("65534".into()));
        let error = Identity::lookup("root").unwrap_err();
        assert!(matches!(error, IdentityError::Privileged(..)), "{error}");
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        let passwd = "+::::::\n\nx\nx:*:y:1::\nx:*:-1:1::\nx:*:7:8:X:/:/bin/sh\nx:*:9:9::\n";
        assert_eq!(find(passwd, "x"), Some((Uid::from_raw(7), Gid::from_raw(8))));
        assert_eq!(find(passwd, "x:*"), None);
        assert_eq!(find(passwd, ""), None);
    }
}
