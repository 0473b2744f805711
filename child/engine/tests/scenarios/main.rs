//! The engine as a whole, without any I/O: what is told to it, when, and what it wants done.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    reason = "a test may panic, and so may what serves it"
)]

mod advertise;
mod advertised;
mod adverts;
mod again;
mod back;
mod by_path;
mod dns;
mod doubts;
mod faults;
mod links;
mod message;
mod random;
mod reach;
mod schedule;
mod show;
mod tables;
mod world;
