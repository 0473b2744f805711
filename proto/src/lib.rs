//! What the two processes of isatapd may say to each other.
//!
//! Direction is a type: [`Request`] goes up from the child to the parent, [`Event`] down. The child
//! states wishes (the whole PRL, all addresses, all routes), never steps, and refers to the parent's
//! objects by [`Slot`] or [`ServerIndex`]: it cannot name an interface, a path, a table or a gateway.
//! Values that cannot be right cannot be decoded. No I/O here.

mod advertise;
mod bounded;
mod codec;
pub mod control;
mod event;
pub mod isatap;
mod limits;
mod logrec;
mod phase;
mod refusal;
mod request;
mod types;

pub use advertise::{Advertise, AdvertisedPrefix, AdvertisedRoute, ReachableTime, RouterLifetime};
pub use bounded::{Bounded, Text};
pub use codec::{DecodeError, EncodeError, Message, decode, encode};
pub use event::{
    Backend, Command, Config, DataPath, Event, ForeignRoute, Link, MtuMethod, Resolver, RouterSpec,
    Surroundings, Tunnel,
};
pub use limits::*;
pub use logrec::{Level, LogRecord};
pub use phase::Phase;
pub use refusal::{Outcome, Refusal};
pub use request::{AddressWish, NextHop, Request, RouteWish, RouterWish, State, Up};
pub use types::{
    DnsId, HostName, InvalidValue, Lifetime, Mtu, OnLinkPrefix, Preference, RouteDestination,
    RouterTimeout, Seq, ServerIndex, Slot, Transport, UnicastV4,
};
