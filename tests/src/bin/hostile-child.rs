//! Stands in for a child that an attacker has taken over: it starts as the child does, gives the
//! tunnel its router, address and route, then does what a line `# attack NAME` in the hosts file
//! says, as soon as that line is another than when it started.
//!
//! It puts no filter on itself, so it can do more than the child could. What must not happen, as far
//! as it can see that, it writes to the log with the word `FAULT`.

use std::fs::File;
use std::hint::black_box;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::exit;
use std::time::{Duration, Instant};

use isatapd_proto::isatap::UBit;
use isatapd_proto::{
    AddressWish, Bounded, DnsId, Event, Level, Lifetime, LogRecord, MAX_EVENT, MAX_FDS, Mtu,
    NextHop, Outcome, Preference, Refusal, Request, RouteDestination, RouteWish, RouterWish, Seq,
    ServerIndex, Slot, State, Text, Transport, Up, decode, encode,
};
use isatapd_security::Channel;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::socket::{MsgFlags, send};

/// What a forged message has at the place where the wrong value goes.
const MARK: u8 = 0x5a;

fn main() {
    let channel = Channel::inherited().expect("the channel");
    let (order, faults) = (None, Vec::new());
    let mut hostile = Hostile { channel, seq: 0, order, faults, tunnel: false, configured: false };
    hostile.settle();
    let first = hostile.order.take();
    loop {
        hostile.hear();
        if hostile.order != first
            && let Some(order) = hostile.order.clone()
        {
            hostile.attack(&order);
        }
    }
}

struct Hostile {
    channel: Channel,
    seq: u32,
    order: Option<String>,
    faults: Vec<String>,
    tunnel: bool,
    configured: bool,
}

impl Hostile {
    /// What a good child would have come to.
    fn settle(&mut self) {
        while !self.configured {
            self.hear();
        }
        self.must(Request::StartupDone);
        self.serve();
    }

    /// The tunnel with its router, address and route.
    fn serve(&mut self) {
        self.must(routers([(0, ROUTER)]));
        while !self.tunnel {
            self.hear();
        }
        self.must(addresses([address(0x2001_0db8_0001_0000)]));
        self.must(routes([route(DEFAULT, 0)]));
    }

    /// The next event; its answer if it is one.
    fn hear(&mut self) -> Option<(Seq, Outcome)> {
        self.wait(PollFlags::POLLIN);
        let mut buffer = vec![0; MAX_EVENT];
        // The parent is gone: so are we.
        let Ok(received) = self.channel.receive(&mut buffer, MAX_FDS) else { exit(0) };
        match decode(&buffer[..received.len]).expect("an event") {
            Event::Config(_) => self.configured = true,
            Event::Resolver(resolver) if resolver.hosts => {
                self.order = received.fds.into_iter().next_back().and_then(order);
            }
            Event::Link(link) => self.tunnel = link.tunnel.is_some(),
            Event::Done { seq, outcome } => return Some((seq, outcome)),
            Event::Ping => self.answer(),
            _ => {}
        }
        None
    }

    /// As a good child does: one that is deaf is found by something else.
    fn answer(&self) {
        self.say(&encode(&Up { seq: Seq(0), request: Request::Pong }).expect("a message"));
    }

    fn wait(&self, what: PollFlags) {
        let mut fds = [PollFd::new(self.channel.as_fd(), what)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
    }

    fn frame(&mut self, request: Request) -> Vec<u8> {
        self.seq += 1;
        encode(&Up { seq: Seq(self.seq), request }).expect("a message")
    }

    fn say(&self, octets: &[u8]) {
        while let Err(error) = self.channel.send(octets, &[]) {
            if error.kind() != ErrorKind::WouldBlock {
                exit(0);
            }
            self.wait(PollFlags::POLLOUT);
        }
    }

    fn ask(&mut self, request: Request) -> Outcome {
        let frame = self.frame(request);
        self.say(&frame);
        loop {
            if let Some((Seq(seq), outcome)) = self.hear()
                && seq == self.seq
            {
                return outcome;
            }
        }
    }

    fn must(&mut self, request: Request) {
        self.expect(Outcome::Done, request);
    }

    fn refused(&mut self, refusal: Refusal, request: Request) {
        self.expect(Outcome::Refused(refusal), request);
    }

    fn expect(&mut self, wanted: Outcome, request: Request) {
        let text = format!("{request:?}");
        let outcome = self.ask(request);
        if outcome != wanted {
            self.fault(&format!("{outcome:?}, not {wanted:?}: {text}"));
        }
    }

    /// To be told when there is room in the log.
    fn fault(&mut self, text: &str) {
        self.faults.push(format!("FAULT: {text}"));
    }

    fn log(&mut self, text: &str) {
        let frame = self.frame(log(text));
        self.say(&frame);
    }

    fn attack(&mut self, order: &str) -> ! {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("forge", what) => {
                let frame = self.forged(what);
                self.say(&frame);
            }
            ("frame", size) => self.say(&vec![0xff; size.parse().expect("a size")]),
            ("empty", _) => {
                send(self.channel.as_fd().as_raw_fd(), &[], MsgFlags::empty()).expect("send");
            }
            ("descriptors", count) => self.pass(count.parse().expect("a count")),
            ("replay", _) => {
                let frame = self.frame(routers([(0, ROUTER)]));
                self.say(&frame);
                self.say(&frame);
            }
            // The first may be the answer to a question that is on its way.
            ("pong", _) => (0..3).for_each(|_| self.answer()),
            ("state", _) => {
                let frame = self.frame(Request::Dump { text: Text::cut("state"), last: true });
                self.say(&frame);
            }
            ("again", _) => {
                let frame = self.frame(Request::StartupDone);
                self.say(&frame);
            }
            ("after", _) => self.speak_after_the_end(),
            ("close" | "exit", _) => exit(3),
            ("crash", _) => loop {
                // The runtime has a handler, which gives way to the default the first time.
                raise(Signal::SIGSEGV).expect("raise");
            },
            ("spin", _) => loop {
                black_box(());
            },
            ("deaf", _) => self.never_listen(),
            ("storm", what) => self.storm(what),
            ("wishes", _) => self.wish(),
            ("lists", _) => self.grow(),
            ("move", _) => self.must(routers([(7, Ipv4Addr::new(10, 9, 0, 77))])),
            _ => self.fault("no such attack"),
        }
        // The others end it, and must not need its help for that.
        if ["wishes", "lists", "move"].contains(&order) || !self.faults.is_empty() {
            // The parent's own lines about it have used up what may be said.
            let end = Instant::now() + Duration::from_secs(20);
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                let left = PollTimeout::try_from(left).expect("20 s at most");
                let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
                if poll(&mut fds, left) == Ok(1) {
                    self.hear();
                }
            }
            for fault in std::mem::take(&mut self.faults) {
                self.log(&fault);
            }
            self.log(&format!("attack over: {order}"));
        }
        loop {
            self.hear();
        }
    }

    /// One value that the types refuse.
    fn forged(&mut self, what: &str) -> Vec<u8> {
        let (kind, value) = what.split_once(' ').expect("a kind and a value");
        let (request, good, bad) = match kind {
            "router" => {
                let bad: Ipv4Addr = value.parse().expect("an address");
                (routers([(0, Ipv4Addr::from([MARK; 4]))]), vec![MARK; 4], bad.octets().to_vec())
            }
            "slot" => {
                let (good, bad) = (vec![0x2a, MARK, MARK], vec![number(value), MARK, MARK]);
                (routers([(0x2a, Ipv4Addr::from([MARK; 4]))]), good, bad)
            }
            "prefix" => {
                let bad: Ipv6Addr = value.parse().expect("a prefix");
                let good = address(0x205a_5a5a_5a5a_5a5a);
                let octets = Ipv6Addr::from(good.prefix).octets().to_vec();
                (addresses([good]), octets, bad.octets().to_vec())
            }
            "destination" => {
                let (net, length) = value.split_once('/').expect("a network");
                let bad: Ipv6Addr = net.parse().expect("a network");
                let good = [&[0x20, MARK, MARK][..], &[0; 13], &[24]].concat();
                let bad = [&bad.octets()[..], &[number(length)]].concat();
                (routes([route("205a:5a00::/24", 0)]), good, bad)
            }
            "mtu" => {
                let mtu = u16::from_le_bytes([MARK; 2]).try_into().expect("an MTU");
                let wish = RouteWish { mtu: Some(mtu), ..route(DEFAULT, 0) };
                let bad: u16 = value.parse().expect("an MTU");
                (routes([wish]), vec![MARK; 2], bad.to_le_bytes().to_vec())
            }
            "server" => {
                let id = DnsId(u32::from_le_bytes([MARK; 4]));
                let (good, bad) = (vec![MARK, MARK, 2], vec![MARK, MARK, number(value)]);
                (open_dns(id, 2), good, bad)
            }
            "count" => {
                let one = self.frame(routers([(0, ROUTER)]));
                let count: u64 = value.parse().expect("a count");
                let (head, entry) = one.split_at(one.len() - 5);
                let head = &head[..head.len() - 8];
                let entries = entry.repeat(usize::try_from(count.min(700)).expect("small"));
                return [head, &count.to_le_bytes(), &entries].concat();
            }
            "trailing" => {
                let frame = self.frame(routers([(0, ROUTER)]));
                return [frame, vec![0; usize::from(number(value))]].concat();
            }
            "short" => {
                let mut frame = self.frame(routers([(0, ROUTER)]));
                frame.truncate(frame.len() - usize::from(number(value)));
                return frame;
            }
            _ => panic!("no such forgery: {kind}"),
        };
        let frame = self.frame(request);
        let places = frame.windows(good.len()).enumerate();
        let place = places.filter(|(_, w)| *w == good).map(|(at, _)| at).next_back();
        let at = place.expect("the mark");
        [&frame[..at], &bad, &frame[at + good.len()..]].concat()
    }

    fn pass(&mut self, count: usize) {
        let files: Vec<OwnedFd> =
            (0..count).map(|_| self.channel.as_fd().try_clone_to_owned().expect("dup")).collect();
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let frame = self.frame(routers([(0, ROUTER)]));
        self.channel.send(&frame, &fds).expect("send");
    }

    /// Good messages behind a bad one: none of them may count.
    fn speak_after_the_end(&mut self) {
        let bad = vec![0xff; 16];
        let good = self.frame(routes([route("2001:db8:dead::/48", 0)]));
        let _ = self.channel.send(&bad, &[]);
        for _ in 0..64 {
            let _ = self.channel.send(&good, &[]);
            let _ = self.channel.send(&bad, &[]);
        }
    }

    /// Asks for ever, and takes no answer.
    fn never_listen(&mut self) -> ! {
        loop {
            let frame = self.frame(open_dns(DnsId(1), 0));
            self.say(&frame);
        }
    }

    /// Asks as fast as it can, for what costs most, and listens.
    fn storm(&mut self, what: &str) -> ! {
        let hosts = |from: u8| (0..64).map(move |n| (n, Ipv4Addr::new(10, 0, 0, from + n)));
        let mut buffer = vec![0; MAX_EVENT];
        for round in 0_u32.. {
            let odd = round % 2 == 1;
            let request = match what {
                "routers" => routers(hosts(if odd { 128 } else { 64 })),
                "routes" => routes(specific(round % 3)),
                "dns" => open_dns(DnsId(round), 0),
                "traffic" => Request::WatchTraffic,
                "log" => log(&"\u{1b}[2J\n<0>kernel: ".repeat(25)),
                _ => Request::Report(State::Working),
            };
            let mut pinged = false;
            let frame = self.frame(request);
            loop {
                let sent = self.channel.send(&frame, &[]);
                while let Ok(received) = self.channel.receive(&mut buffer, MAX_FDS) {
                    pinged |= matches!(decode(&buffer[..received.len]), Ok(Event::Ping));
                }
                match sent {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.wait(PollFlags::POLLIN | PollFlags::POLLOUT);
                    }
                    Err(_) => exit(0),
                }
            }
            if pinged {
                self.answer();
            }
        }
        exit(0)
    }

    /// Decent messages with indecent wishes: each is refused, and nothing comes of it.
    fn wish(&mut self) {
        let good = address(0x2001_0db8_0001_0000);
        let with = |valid, preferred| {
            let (valid, preferred) = (Lifetime::from_secs(valid), Lifetime::from_secs(preferred));
            addresses([AddressWish { valid, preferred, ..good }])
        };
        self.refused(Refusal::Duplicate, routers([(0, ROUTER), (1, ROUTER)]));
        self.refused(Refusal::Duplicate, routers([(0, ROUTER), (0, Ipv4Addr::new(10, 0, 0, 102))]));
        self.refused(Refusal::Duplicate, addresses([good, good]));
        self.refused(Refusal::BadLifetime, with(0, 0));
        self.refused(Refusal::BadLifetime, with(1, 2));
        self.refused(Refusal::Loop, addresses([address(0x2002_0a00_0002_0000)]));
        self.must(with(1, 0));
        self.must(with(u32::MAX, u32::MAX));

        let wish = route(DEFAULT, 0);
        let mtu = |mtu: u16| Some(Mtu::try_from(mtu).expect("an MTU"));
        self.refused(Refusal::Duplicate, routes([wish, wish]));
        self.refused(Refusal::NoSuchRouter, routes([route(DEFAULT, 1)]));
        self.refused(Refusal::NoSuchRouter, routes([route(DEFAULT, 63)]));
        self.refused(Refusal::BadHopLimit, routes([RouteWish { hop_limit: Some(0), ..wish }]));
        self.refused(Refusal::BadMtu, routes([RouteWish { mtu: mtu(1481), ..wish }]));
        self.refused(Refusal::BadMtu, routes([RouteWish { mtu: mtu(65535), ..wish }]));
        self.refused(
            Refusal::BadLifetime,
            routes([RouteWish { lifetime: Lifetime::ZERO, ..wish }]),
        );
        self.refused(Refusal::Loop, routes([route("2002:a00:2::/48", 0)]));
        let (lifetime, hop_limit) = (Lifetime::from_secs(u32::MAX - 1), Some(255));
        self.must(routes([RouteWish { lifetime, hop_limit, mtu: mtu(1280), ..wish }]));
        self.refused(Refusal::NoSuchServer, open_dns(DnsId(0), 2));
        let begin = Instant::now();
        let opened = (0..1000).map(|n| self.ask(open_dns(DnsId(n), 0)));
        let opened = opened.filter(|outcome| *outcome == Outcome::Done).count();
        // A burst of 256, then one each 30 ms.
        if u128::try_from(opened).expect("a number") > 257 + begin.elapsed().as_millis() / 30 {
            self.fault(&format!("{opened} of 1000 sockets"));
        }
    }

    /// Lists that each are decent, but would add up if anything of one were left behind.
    fn grow(&mut self) {
        // The second is the host itself, the third reached from another address, the fourth nobody.
        let others = [[10, 0, 0, 2], [10, 9, 0, 77], [10, 0, 0, 255]].map(Ipv4Addr::from);
        for round in 0..4_u32 {
            self.must(routers((0..).zip([ROUTER].into_iter().chain(others))));
            for slot in 1..4 {
                // The last one fails, or would if it were tried: the others must not stay for that.
                let wishes = specific(4 * round + u32::from(slot)).take(79);
                self.ask(routes(wishes.chain([route("fdff::/16", slot)])));
            }
            for on_link in [true, false, true] {
                let prefixes =
                    (0..16_u32).map(|n| 0x2001_0db9_0000_0000 + u64::from(16 * round + n));
                self.must(addresses(prefixes.map(|p| AddressWish { on_link, ..address(p) })));
            }
            let from = u8::try_from(3 + 40 * round).expect("small");
            self.must(routers((0..64).map(|n| (n, Ipv4Addr::new(10, 0, 0, from + n)))));
        }
        // To be seen afterwards: only the first may have a route.
        self.must(routers((0..).zip([ROUTER].into_iter().chain(others))));
        self.ask(routes((0..4).map(|slot| route(DEFAULT, slot))));
    }
}

/// The site's first router.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 101);
const DEFAULT: &str = "::/0";

/// What the hosts file orders.
fn order(hosts: OwnedFd) -> Option<String> {
    let mut text = String::new();
    File::from(hosts).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("# attack ")).map(str::to_owned)
}

fn number(text: &str) -> u8 {
    text.parse().expect("a number below 256")
}

fn list<T, const N: usize>(items: impl IntoIterator<Item = T>) -> Bounded<T, N> {
    Bounded::first_of(items)
}

fn slot(slot: u8) -> Slot {
    slot.try_into().expect("a slot")
}

fn routers(of: impl IntoIterator<Item = (u8, Ipv4Addr)>) -> Request {
    let wish = |(s, router): (u8, Ipv4Addr)| {
        let router = router.try_into().expect("unicast");
        RouterWish { slot: slot(s), router }
    };
    Request::SetRouters(list(of.into_iter().map(wish)))
}

/// The prefix is the upper half of the address.
fn address(prefix: u64) -> AddressWish {
    let prefix = Ipv6Addr::from_bits(u128::from(prefix) << 64).try_into().expect("a prefix");
    let valid = Lifetime::from_secs(86_400);
    AddressWish { prefix, on_link: true, valid, preferred: valid }
}

fn addresses(wishes: impl IntoIterator<Item = AddressWish>) -> Request {
    Request::SetAddresses(list(wishes))
}

fn route(destination: &str, by: u8) -> RouteWish {
    let net: ipnet::Ipv6Net = destination.parse().expect("a network");
    RouteWish {
        destination: RouteDestination::try_from(net).expect("a destination"),
        next_hop: Some(NextHop { slot: slot(by), form: UBit::Local }),
        preference: Preference::Medium,
        lifetime: Lifetime::from_secs(1800),
        mtu: None,
        hop_limit: None,
        reachable: true,
    }
}

/// As many as there may be; others for each `set`.
fn specific(set: u32) -> impl Iterator<Item = RouteWish> {
    (0..80).map(move |n| route(&format!("2001:db8:{:x}::/48", 80 * set + n), 0))
}

fn routes(wishes: impl IntoIterator<Item = RouteWish>) -> Request {
    Request::SetRoutes(list(wishes))
}

fn open_dns(id: DnsId, server: u8) -> Request {
    let server = ServerIndex::try_from(server).expect("a server");
    Request::OpenDns { id, server, transport: Transport::Udp }
}

fn log(text: &str) -> Request {
    Request::Log(LogRecord { level: Level::Notice, text: Text::cut(text) })
}
