//! One query and its answer.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use isatapd_proto::control::{Answer, Ask, MAX_ANSWER, Query, Told, VERSION, Version, version_of};
use isatapd_proto::{decode, encode};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::exit::{Exit, Fatal};

/// How long isatapd may take, in seconds.
const PATIENCE: i64 = 5;

/// What isatapd says at the socket `path`.
pub(crate) fn ask(path: &Path, ask: Ask) -> Result<Told, Fatal> {
    let fatal = |exit, line: &str| Fatal::new(exit, format!("{}: {line}", path.display()));
    let os = |errno: Errno| fatal(Exit::Os, errno.desc());
    let socket = open().map_err(os)?;
    let address = UnixAddr::new(path).map_err(os)?;
    connect(socket.as_raw_fd(), &address).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => fatal(Exit::Unavailable, "isatapd does not run"),
        Errno::EACCES | Errno::EPERM => fatal(Exit::NoPermission, "only root may ask"),
        Errno::EPROTOTYPE => fatal(Exit::Protocol, "not the socket of isatapd"),
        Errno::EAGAIN => fatal(Exit::TempFail, "no answer"),
        errno => os(errno),
    })?;
    let query = encode(&Query { version: Version, ask })
        .map_err(|error| Fatal::new(Exit::Os, error.to_string()))?;
    let mut octets = vec![0; MAX_ANSWER.saturating_add(1)];
    let len = send(socket.as_raw_fd(), &query, MsgFlags::MSG_NOSIGNAL)
        .and_then(|_| recv(socket.as_raw_fd(), &mut octets, MsgFlags::empty()))
        .map_err(|errno| match errno {
            Errno::EAGAIN => fatal(Exit::TempFail, "no answer"),
            Errno::EPIPE | Errno::ECONNRESET => closed(path),
            errno => os(errno),
        })?;
    let octets = octets.get(..len).unwrap_or_default();
    match version_of(octets) {
        None => Err(closed(path)),
        Some(VERSION) => {
            let answer: Answer =
                decode(octets).map_err(|error| fatal(Exit::Protocol, &error.to_string()))?;
            Ok(answer.told)
        }
        Some(_) => Err(other_version()),
    }
}

/// Whether nobody listens at the socket `path`: who made it was killed.
pub(crate) fn is_left_over(path: &Path) -> bool {
    let connect = |socket: OwnedFd| connect(socket.as_raw_fd(), &UnixAddr::new(path)?);
    open().and_then(connect) == Err(Errno::ECONNREFUSED)
}

/// What to do if the two do not understand each other.
pub(crate) fn other_version() -> Fatal {
    let line = "isatapd is of another version than isatapctl: restart it after an upgrade";
    Fatal::new(Exit::Protocol, line)
}

fn open() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::seconds(PATIENCE);
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    Ok(socket)
}

fn closed(path: &Path) -> Fatal {
    let line = "closed without an answer: too many ask, or only root may";
    Fatal::new(Exit::TempFail, format!("{}: {line}", path.display()))
}
