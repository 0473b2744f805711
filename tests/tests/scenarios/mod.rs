//! Scenarios for both backends: the program that includes them says by `site` which site they are on,
//! and by `QUIET` how long nothing happens in them.

mod adverts;
mod background;
pub mod common;
mod crashes;
mod late;
mod many;
mod names;
mod routers;
mod tampered;
