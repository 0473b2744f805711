//! How a process of isatapd gives things up. The only crate of the workspace with `unsafe`.
//!
//! The parent washes itself ([`wash`]), starts the child ([`spawn`]) and confines itself
//! ([`parent`]); the child proves what it is no more, and confines itself further ([`child`]). With
//! several tunnels there is a process in front of their parents ([`leader`]). What
//! each may ask of the kernel is data, with a reason per rule ([`seccomp`]). [`Channel`] joins them.
//! A step that fails is an error that names it: nobody goes on half confined.

mod caps;
pub mod child;
pub mod daemon;
mod failure;
pub mod identity;
mod ipc;
mod landlock;
pub mod leader;
mod limits;
mod memory;
pub mod parent;
mod prctl;
pub mod protocol_41;
pub mod seccomp;
pub mod spawn;
mod status;
pub mod sys;
pub mod wash;

pub use failure::{ConfineError, Failure};
pub use ipc::{CHILD_FD, Channel, MAX_DESCRIPTORS, ReceiveError, Received};
pub use memory::forget_startup_code;
pub use status::Status;
