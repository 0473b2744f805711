//! What isatapd decides: bytes, events and the time go in, actions come out.
//!
//! No I/O, no clock, no randomness of its own: [`Engine::handle`] is given the time and a seed was
//! given to [`Engine::new`].

mod action;
mod input;
mod time;
pub mod wire;

pub use action::Action;
pub use input::Input;
pub use time::Instant;
