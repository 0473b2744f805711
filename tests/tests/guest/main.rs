//! Scenarios on a kernel that has sit, run as root inside `tests/lab/guest`: the guest lane of
//! `make test` does it. One at a time: they share the names of their namespaces.

mod adverts;
mod background;
mod common;
mod crashes;
mod hostile;
mod late;
mod names;
mod no_sit;
mod routers;
mod sandbox;
mod start;
mod tampered;
