//! The loop: wait, tell the engine, do what it wants.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use isatapd_engine::{Engine, Input};
use isatapd_proto::isatap::UBit;
use isatapd_proto::{DnsId, Event, Level, MAX_FILE, Slot};
use isatapd_security::{ReceiveError, forget_startup_code};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock::Clock;
use crate::datapath::{self, Ends, Message};
use crate::icmp6::{self, RouterSocket};
use crate::io::Io;

/// Messages taken from one socket before the others have their turn.
const TURN: usize = 32;

/// Runs until the parent is gone.
pub(crate) fn run(io: &mut Io, engine: &mut Engine) -> io::Result<()> {
    let mut buffer = vec![0; icmp6::LONGEST.max(datapath::LONGEST_MESSAGE)];
    loop {
        let others = io.settled_at.into_iter().chain(io.control.deadline());
        io.clock.set(engine.deadline().into_iter().chain(others).min())?;
        let ready = wait(io)?;
        if engine.deadline().is_some_and(|due| Clock::now().is_ok_and(|now| due <= now)) {
            // Whatever woke us: routers are judged by what came last.
            tell(io, engine, Input::Heard(&io.last_heard()))?;
        }
        if ready.parent && !hear_parent(io, engine)? {
            return Ok(());
        }
        if ready.timer {
            io.clock.ended();
            let now = Clock::now()?;
            if io.settled_at.take_if(|at| *at <= now).is_some() {
                forget_startup_code();
            }
            tell(io, engine, Input::Timer)?;
        }
        if ready.data_path {
            hear_data_path(io, engine, &mut buffer)?;
        }
        for (slot, form) in ready.routers {
            hear_router(io, engine, (slot, form), &mut buffer)?;
        }
        for id in ready.dns {
            hear_dns(io, engine, id)?;
        }
        let now = Clock::now()?;
        let control = ready.control || io.control.deadline().is_some_and(|due| due <= now);
        if control && let Err(error) = io.control.serve(engine, now) {
            io.uplink.log(Level::Warning, &format!("control socket: {error}"));
        }
    }
}

struct Ready {
    parent: bool,
    timer: bool,
    data_path: bool,
    routers: Vec<(Slot, UBit)>,
    dns: Vec<DnsId>,
    control: bool,
}

fn wait(io: &Io) -> io::Result<Ready> {
    let room = |wanted| if wanted { PollFlags::POLLOUT } else { PollFlags::empty() };
    let (upward, onward) = (room(io.is_waiting()), room(io.data_path.is_waiting()));
    let mut fds = vec![
        PollFd::new(io.uplink.as_fd(), PollFlags::POLLIN | upward),
        PollFd::new(io.clock.as_fd(), PollFlags::POLLIN),
        PollFd::new(io.data_path.as_fd(), PollFlags::POLLIN | onward),
    ];
    fds.extend(io.routers.values().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)));
    fds.extend(io.dns.values().map(|s| PollFd::new(s.as_fd(), s.interest())));
    fds.extend(io.control.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => {
                result?;
                break;
            }
        }
    }
    let mut ready = fds.iter().map(|fd| fd.revents().is_none_or(|events| !events.is_empty()));
    let mut next = || ready.next().unwrap_or(false);
    Ok(Ready {
        parent: next(),
        timer: next(),
        data_path: next(),
        routers: io.routers.keys().filter(|_| next()).copied().collect(),
        dns: io.dns.keys().filter(|_| next()).copied().collect(),
        control: ready.any(|ready| ready),
    })
}

/// Tells the engine, and of what fails in doing what it wants.
fn tell(io: &mut Io, engine: &mut Engine, input: Input<'_>) -> io::Result<()> {
    let mut actions = VecDeque::from(engine.handle(Clock::now()?, input));
    while let Some(action) = actions.pop_front() {
        if let Some(failure) = io.perform(action)? {
            actions.extend(engine.handle(Clock::now()?, failure));
        }
    }
    Ok(())
}

/// False if the parent is gone, which ends us.
fn hear_parent(io: &mut Io, engine: &mut Engine) -> io::Result<bool> {
    io.flush()?;
    for _ in 0..TURN {
        match io.uplink.receive() {
            Ok(Some((event, fds))) => obey(io, engine, event, fds)?,
            Ok(None) => break,
            Err(ReceiveError::Closed) => return Ok(false),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(true)
}

fn obey(io: &mut Io, engine: &mut Engine, event: Event, fds: Vec<OwnedFd>) -> io::Result<()> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| io::Error::other("a descriptor is missing"));
    let input = match event {
        Event::Startup { version } if *version == *env!("CARGO_PKG_VERSION") => return Ok(()),
        Event::Startup { .. } => return Err(io::Error::other("the parent is of another version")),
        Event::Config(config) => Input::Config(config),
        Event::Resolver(resolver) => {
            let resolv_conf = if resolver.resolv_conf { contents(next()?) } else { Vec::new() };
            let hosts = if resolver.hosts { contents(next()?) } else { Vec::new() };
            let servers = u8::try_from(resolver.servers.len()).unwrap_or(u8::MAX);
            let (resolv_conf, hosts) = (&resolv_conf, &hosts);
            return tell(io, engine, Input::Resolver { servers, resolv_conf, hosts });
        }
        Event::Link(link) => {
            io.follow(&link);
            Input::Link(link)
        }
        Event::Router { slot, router, form } => {
            io.routers.insert((slot, form), RouterSocket::new(next()?));
            Input::RouterSocket { slot, router, form }
        }
        Event::Dns { id } => {
            if !io.take_dns(id, next()?) {
                return Ok(());
            }
            Input::DnsReady(id)
        }
        Event::Done { seq, outcome } => Input::Done { seq, outcome },
        Event::Command(command) => Input::Command(command),
        Event::DataPath(path) => {
            io.attach(Ends::new(next()?));
            Input::DataPath(path)
        }
        Event::Surroundings(around) => Input::Surroundings(around),
        // The parent does not know by which.
        Event::Traffic => Input::Traffic(u64::MAX),
        Event::Control => {
            io.control.listen(next()?);
            return Ok(());
        }
        Event::Ping => {
            io.ping();
            return Ok(());
        }
    };
    tell(io, engine, input)
}

/// As much of a file as is used, and an octet that tells of more; what cannot be read is empty, and the
/// parent sends the next.
fn contents(file: OwnedFd) -> Vec<u8> {
    let mut contents = Vec::new();
    let most = u64::try_from(MAX_FILE + 1).unwrap_or(u64::MAX);
    drop(std::fs::File::from(file).take(most).read_to_end(&mut contents));
    contents
}

fn hear_router(
    io: &mut Io,
    engine: &mut Engine,
    (slot, form): (Slot, UBit),
    buffer: &mut [u8],
) -> io::Result<()> {
    for _ in 0..TURN {
        let Some(socket) = io.routers.get(&(slot, form)) else { break };
        let Some(packet) = socket.receive(buffer) else { break };
        let (source, hop_limit, bytes) = (packet.source, packet.hop_limit, packet.bytes);
        tell(io, engine, Input::Packet { slot, form, source, hop_limit, bytes })?;
    }
    Ok(())
}

fn hear_data_path(io: &mut Io, engine: &mut Engine, buffer: &mut [u8]) -> io::Result<()> {
    io.data_path.flush();
    for _ in 0..TURN {
        match io.data_path.receive(buffer) {
            Some(Message::Packet(from, packet)) => {
                tell(io, engine, Input::Tunnelled { from, packet })?;
            }
            Some(Message::Traffic(slots)) => tell(io, engine, Input::Traffic(slots))?,
            Some(Message::Suspect(router)) => tell(io, engine, Input::Suspect(router))?,
            Some(Message::Barrier(number)) => io.release(number)?,
            Some(Message::Wake) => {}
            None => break,
        }
    }
    Ok(())
}

fn hear_dns(io: &mut Io, engine: &mut Engine, id: DnsId) -> io::Result<()> {
    for _ in 0..TURN {
        let Some(socket) = io.dns.get_mut(&id) else { break };
        let input = match socket.flush().and_then(|()| socket.receive()) {
            Ok(None) => break,
            Ok(Some(bytes)) => {
                tell(io, engine, Input::DnsReply { id, bytes: &bytes })?;
                continue;
            }
            Err(error) => Input::DnsFailed { id, error: error.to_string() },
        };
        io.dns.remove(&id);
        tell(io, engine, input)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// Then it is known that the last line is not whole.
    #[test]
    fn more_is_read_than_is_used() {
        for (length, read) in [(0, 0), (MAX_FILE, MAX_FILE), (2 * MAX_FILE, MAX_FILE + 1)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![b'x'; length]).unwrap();
            file.rewind().unwrap();
            assert_eq!(contents(file.into()).len(), read);
        }
    }
}
