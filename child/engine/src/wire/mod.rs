//! Foreign bytes to typed values, once, and what we send. Nothing here keeps a raw packet.

pub mod build;
mod cursor;
pub mod dns;
pub mod hosts;
pub mod icmp6;
mod lines;
pub mod nd_option;
pub mod neighbour;
pub mod resolv_conf;
pub mod router_advert;
pub mod router_solicit;
