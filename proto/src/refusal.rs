//! What becomes of a request.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is so.
    Done,
    /// It will not be so; the same again would be refused again.
    Refused(Refusal),
    /// The system said no, with this errno; the parent has logged it.
    Failed(i32),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// `OpenDns`: resolv.conf has no such server.
    #[error("no such name server")]
    NoSuchServer,
    /// `OpenDns`: more than `MAX_DNS_SOCKETS` asked for in too short a time.
    #[error("too many requests")]
    TooMany,
    /// The same slot, address, prefix or route twice in one list.
    #[error("the same twice")]
    Duplicate,
    /// A route leads to a slot that the last `SetRouters` does not have.
    #[error("no such router")]
    NoSuchRouter,
    /// A lifetime of zero, or preferred longer than valid.
    #[error("lifetime out of range")]
    BadLifetime,
    /// A hop limit of zero.
    #[error("hop limit out of range")]
    BadHopLimit,
    /// An MTU above the tunnel's.
    #[error("MTU out of range")]
    BadMtu,
    /// A prefix or destination that embeds our own IPv4 address by 6to4 (RFC 6324).
    #[error("would loop through the tunnel")]
    Loop,
    /// A destination on the link that is no /64, or where the kernel encapsulates.
    #[error("cannot be on the link")]
    NotOnLink,
    /// There is no tunnel to put it on.
    #[error("no tunnel")]
    NoTunnel,
}
