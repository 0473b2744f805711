//! The tests' own lab: a site in namespaces, the daemon on its host, and what can be seen of both.
//!
//! Only for tests, so it panics when something is not as it must be.

pub mod capture;
pub mod ctl;
pub mod daemon;
pub mod etc;
pub mod expect;
pub mod flow;
pub mod forge;
pub mod hostile;
pub mod ip;
pub mod names;
pub mod netns;
pub mod ping;
pub mod prl;
pub mod process;
pub mod rdisc6;
pub mod relay;
pub mod repeated;
pub mod routers;
pub mod site;
pub mod tun;
pub mod wait;
