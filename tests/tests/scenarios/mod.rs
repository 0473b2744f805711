//! Scenarios for both backends: the program that includes them says by `site` which site they are on,
//! and by `QUIET` how long nothing happens in them.

mod adverts;
mod background;
pub mod common;
mod crashes;
mod dying;
mod ending;
mod late;
mod links;
mod many;
mod meddling;
mod names;
pub mod restarts;
mod routers;
mod several;
mod side_by_side;
mod tampered;
