//! Stands in for the parent of a TUN tunnel, in the namespace it is started in. Arguments: the child's
//! stand-in (probe-datapath), our locator. Makes the interface `is0`, starts the child, attaches it,
//! and says its process id; then each line that it reads is an order for the child, and the child's
//! answer is written.

use std::io::BufRead;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

use isatapd_security::Channel;
use isatapd_security::identity::Identity;
use isatapd_security::spawn::{EmptyRoot, Plan, Program, spawn};
use isatapd_tests::tun;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().expect("a program");
    let locator: Ipv4Addr = arguments.next().and_then(|text| text.parse().ok()).expect("IPv4");
    let tun = tun::open("is0");
    for order in [
        "link set is0 addrgenmode none mtu 1480".into(),
        "link set is0 up".into(),
        format!("address add 2001:db8::5efe:{locator}/64 dev is0 nodad"),
    ] {
        let order: String = order;
        assert!(
            Command::new("ip").args(order.split(' ')).status().expect("ip").success(),
            "{order}"
        );
    }
    let plan = Plan {
        program: Program::open(program.as_ref()).expect("the program"),
        root: EmptyRoot::new().expect("a root"),
        identity: Identity::lookup("nobody").expect("nobody"),
        protocol_41: Some(tun::sockets(locator)),
    };
    let (channel, theirs) = Channel::pair().expect("a channel");
    let child = spawn(&plan, theirs).expect("a child");
    say(&channel, "attach", &[tun.as_fd()]);
    println!("{child}");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let tun = (line == "attach").then_some(tun.as_fd());
        println!("{}", say(&channel, &line, tun.as_slice()));
    }
}

fn say(channel: &Channel, order: &str, fds: &[BorrowedFd<'_>]) -> String {
    channel.send(order.as_bytes(), fds).expect("the child is alive");
    let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut wait, PollTimeout::from(20_000_u16)), Ok(1), "no answer to {order}");
    let mut buffer = vec![0; 1024];
    let received = channel.receive(&mut buffer, 0).expect("the child is alive");
    String::from_utf8_lossy(&buffer[..received.len]).into_owned()
}
