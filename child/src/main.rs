//! The sandboxed half of isatapd: all that reads network bytes.
//!
//! It never runs an instruction as root, holds no capability and no path, and can create no socket:
//! every descriptor it uses comes from the parent. The engine decides; here is the I/O.

mod clock;
mod control;
mod datapath;
mod dns;
mod icmp6;
mod io;
mod run;
mod uplink;

use std::process::ExitCode;
use std::sync::Arc;

use isatapd_engine::Engine;
use isatapd_proto::{Level, MAX_DNS_SOCKETS, MAX_FDS, MAX_ROUTERS};
use isatapd_security::{Channel, child, sys};
use nix::unistd::getresuid;

use crate::clock::Clock;
use crate::control::Control;
use crate::io::Io;
use crate::run::run;
use crate::uplink::Uplink;

/// Descriptors at the most: 0 to 2, IPC, protocol 41, timer, the pair between the threads, TUN; two for
/// each router; DNS; the control socket, its clients and one to turn away; those of two events, as
/// the packet loop may still have to take one.
const DESCRIPTORS: usize = 10 + 2 * MAX_ROUTERS + MAX_DNS_SOCKETS + control::MOST + 2 + 2 * MAX_FDS;
/// EX_OSERR of sysexits.h: the system said no.
const EX_OSERR: u8 = 71;

fn main() -> ExitCode {
    // Without the channel there is nobody to tell.
    let Ok(uplink) = Channel::inherited().map(Uplink::new) else { return EX_OSERR.into() };
    match live(&uplink) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            uplink.log(Level::Error, &error.to_string());
            EX_OSERR.into()
        }
    }
}

fn live(uplink: &Uplink) -> Result<(), Box<dyn std::error::Error>> {
    let panicked = uplink.clone();
    child::exit_on_panic(move |line| panicked.log(Level::Error, line));
    // C1 to C4: prove that root is gone, give up the rest.
    let confined = child::confine(DESCRIPTORS.try_into()?)?;
    // What the filter denies to make is made before it: the packet loop too, with its own filter.
    let (data_path, worker) = datapath::pair()?;
    let ended = uplink.clone();
    let complete = confined.start_data_path(move || {
        let error = worker.run();
        ended.log(Level::Error, &format!("data path: {error}"));
    })?;
    let control = Control::new(getresuid()?.real, Arc::clone(data_path.counters()));
    let mut io = Io::new(uplink.clone(), Clock::new()?, data_path, control);
    let mut engine = Engine::new(sys::random_seed()?);
    // C5: from here on descriptors come from the parent only.
    let status = complete.filter()?;
    uplink.log(Level::Info, &format!("sandbox: {status}"));
    // C6 to C8: `StartupDone` is the engine's first action, when its configuration is there.
    Ok(run(&mut io, &mut engine)?)
}
