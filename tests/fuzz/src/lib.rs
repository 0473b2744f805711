//! What must hold of any bytes, one module a target. The tests of the crates under test include
//! these modules by path, so that stable CI runs them over the seeds.

pub mod codec_event;
pub mod codec_request;
pub mod dns_reply;
pub mod failed;
pub mod hosts;
pub mod inbound;
pub mod outbound;
pub mod resolv_conf;
pub mod router_advert;
pub mod router_solicit;
pub mod tunnel;
