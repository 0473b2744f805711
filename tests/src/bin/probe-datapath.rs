//! Stands in for the child: the real packet loop under its real filter, without an engine.
//!
//! Orders: `attach` with the TUN descriptor, `detach`, `publish LOCATOR` (a host with an address in
//! 2001:db8::/64, on the link), `publish LOCATOR ROUTER` (which all else goes by), `count`, `heard`,
//! `watch SLOTS`, `alive`, `transmit TIMES ADDRESS HEX` (and wait until all have been sent). Each is
//! answered.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

use isatapd_datapath::{Counter, Route, Table};
use isatapd_proto::{MtuMethod, Preference, RouteDestination, Slot, UnicastV4};
use isatapd_security::{Channel, child};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[path = "../../../child/src/clock.rs"]
#[allow(dead_code)]
mod clock;
#[path = "../../../child/src/datapath/mod.rs"]
mod datapath;

fn main() -> ExitCode {
    let channel = Channel::inherited().map(Arc::new).expect("a channel");
    let hook = Arc::clone(&channel);
    child::exit_on_panic(move |line| drop(hook.send(line.as_bytes(), &[])));
    let confined = child::confine(160).expect("confined");
    let (mut path, worker) = datapath::pair().expect("a pair");
    let last = Arc::clone(&channel);
    let complete = confined.start_data_path(move || {
        let _ = last.send(worker.run().to_string().as_bytes(), &[]);
    });
    complete.expect("a thread").filter().expect("a filter");
    let mut buffer = vec![0; 512];
    loop {
        let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::NONE).is_err() {
            return ExitCode::FAILURE;
        }
        let Ok(received) = channel.receive(&mut buffer, 1) else { return ExitCode::SUCCESS };
        let order = String::from_utf8_lossy(&buffer[..received.len]).into_owned();
        let answer = obey(&mut path, &order, received.fds);
        channel.send(answer.as_bytes(), &[]).expect("the test listens");
    }
}

fn obey(path: &mut datapath::DataPath, order: &str, fds: Vec<OwnedFd>) -> String {
    let words: Vec<&str> = order.split(' ').collect();
    match *words.as_slice() {
        ["attach"] => {
            let [tun] = fds.try_into().expect("a descriptor");
            path.attach(datapath::Ends::new(tun));
        }
        ["detach"] => path.detach(),
        ["publish", locator, ref routers @ ..] => {
            let slots = (0_u8..).map_while(|slot| Slot::try_from(slot).ok());
            let routers = routers.iter().map(|router| {
                let router: Ipv4Addr = router.parse().expect("IPv4");
                UnicastV4::try_from(router).expect("of a host")
            });
            let routers: Vec<_> = routers.zip(slots).collect();
            let routes = routers.iter().map(|router| route(*router)).collect();
            let table = table(locator.parse().expect("IPv4"));
            path.publish(Arc::new(Table { routers, routes, ..table }));
        }
        ["watch", slots] => path.traffic().watch(slots.parse().expect("a number")),
        ["alive"] => {
            let heard = path.traffic().last_heard().map(|(slot, _)| slot.get());
            return format!("{:?}", heard.collect::<Vec<_>>());
        }
        ["count"] => {
            let counts =
                Counter::ALL.iter().map(|counter| (counter, path.counters().get(*counter)));
            let counts = counts.filter(|(_, count)| *count > 0);
            let counts = counts.map(|(counter, count)| format!(" {counter:?}={count}"));
            // An empty answer cannot be sent.
            return format!("counted{}", counts.collect::<String>());
        }
        ["heard"] => {
            let mut room = vec![0; datapath::LONGEST_MESSAGE];
            return format!("{:?}", hear(path, &mut room));
        }
        ["transmit", times, to, packet] => {
            let packet: Vec<u8> = (0..packet.len() / 2)
                .map(|at| u8::from_str_radix(&packet[2 * at..2 * at + 2], 16).expect("hex"))
                .collect();
            for _ in 0..times.parse().expect("a number") {
                path.transmit(to.parse().expect("IPv4"), &packet);
            }
            path.barrier();
            let mut room = vec![0; datapath::LONGEST_MESSAGE];
            while !matches!(hear(path, &mut room), datapath::Message::Barrier(_)) {}
        }
        _ => panic!("no such order"),
    }
    "done".into()
}

/// The next message of the loop's.
fn hear<'a>(path: &mut datapath::DataPath, room: &'a mut [u8]) -> datapath::Message<'a> {
    loop {
        path.flush();
        let room_too = if path.is_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut wait = [PollFd::new(path.as_fd(), PollFlags::POLLIN | room_too)];
        assert_ne!(poll(&mut wait, PollTimeout::from(10_000_u16)).expect("poll"), 0);
        if wait[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            return path.receive(room).expect("a message");
        }
    }
}

fn route((router, slot): (UnicastV4, Slot)) -> Route {
    Route {
        destination: RouteDestination::DEFAULT.net(),
        next_hop: Some(router),
        slot: Some(slot),
        preference: Preference::Medium,
        reachable: true,
    }
}

fn table(locator: Ipv4Addr) -> Table {
    let [a, b] = [locator.to_bits() >> 16, locator.to_bits() & 0xffff]
        .map(|half| u16::try_from(half).expect("a half"));
    let own = [0xfe80, 0x2001]
        .map(|first| (first, if first == 0xfe80 { 0 } else { 0xdb8 }))
        .map(|(first, second)| Ipv6Addr::new(first, second, 0, 0, 0, 0x5efe, a, b));
    Table {
        locator: UnicastV4::try_from(locator).ok(),
        mtu: 1480.try_into().ok(),
        mtu_method: Some(MtuMethod::Dynamic),
        own: own.into(),
        own_v4: vec![locator],
        on_link: vec![Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).try_into().expect("a prefix")],
        error_source: Some(own[1]),
        ..Table::default()
    }
}
