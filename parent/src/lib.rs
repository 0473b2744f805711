//! The privileged half of isatapd: a library, so that tests reach its parts.
//!
//! No byte of the network is read here, and nothing that reads one is linked. The child's requests
//! are judged in [`policy`]; only what comes out of it reaches [`kernel`].

pub mod backend;
pub mod bucket;
pub mod child;
pub mod cli;
pub mod control;
pub mod daemon;
mod decide;
pub mod device;
pub mod dump;
mod ending;
pub mod exit;
pub mod files;
pub mod forwarding;
pub mod kernel;
pub mod leader;
pub mod locator;
pub mod lock;
pub mod log;
pub mod name_servers;
pub mod notify;
pub mod pidfile;
pub mod policy;
mod reconcile;
pub mod router;
pub mod run;
mod serve;
pub mod sockets;
mod supervise;
mod surroundings;
pub mod text;
pub mod tunnel;
