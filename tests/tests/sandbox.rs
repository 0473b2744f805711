//! The sandbox as the kernel has it: each rule, each step that may fail, each thing given up.
//!
//! Needs root. The child's stand-in is built static here, as the child itself is.

#[path = "sandbox/faults.rs"]
mod faults;
#[path = "sandbox/filter.rs"]
mod filter;
#[path = "sandbox/inspect.rs"]
mod inspect;
#[path = "sandbox/parent.rs"]
mod parent;
#[path = "sandbox/probe.rs"]
mod probe;
#[path = "sandbox/sockets.rs"]
mod sockets;
#[path = "sandbox/wash.rs"]
mod wash;
