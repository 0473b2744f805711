//! What the tests of packets share: the table and the checks of the fuzz targets, and a tunnel to put
//! packets through.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses some of it")]

use std::sync::Arc;
use std::time::Duration;

use isatapd_datapath::{
    Consequence, Counters, Failure, Instant, LONGEST_ERROR, Origin, Outbound, Path, Role, Table,
};
use isatapd_proto::MtuMethod;

use self::checks::tunnel::{check_error, ipv6, table, v4, v6};

#[path = "../../../../tests/fuzz/src"]
#[allow(clippy::arithmetic_side_effects, reason = "in the fuzz targets a panic is the verdict")]
pub mod checks {
    pub mod failed;
    pub mod inbound;
    pub mod outbound;
    pub mod tunnel;
}

/// A node behind the first router.
pub const FAR: &str = "2001:db8:9::1";

/// So many milliseconds after the boot.
pub fn at(millis: u64) -> Instant {
    Instant::since_boot(Duration::from_millis(millis))
}

/// A data path, and what it says.
pub struct Tunnel {
    pub path: Path,
    pub counters: Arc<Counters>,
    pub answer: [u8; LONGEST_ERROR],
}

impl Tunnel {
    pub fn by(table: Table) -> Self {
        let counters = Arc::new(Counters::default());
        let mut path = Path::new(counters.clone(), Arc::default());
        path.publish(table.into());
        Self { path, counters, answer: [0xaa; LONGEST_ERROR] }
    }

    pub fn new(role: Role, method: MtuMethod) -> Self {
        Self::by(table(role, method))
    }

    pub fn send(&mut self, time: u64, packet: &[u8]) -> Outbound {
        self.path.outbound(at(time), packet, &mut self.answer)
    }

    /// Type, code and word of the error that a packet causes.
    pub fn refuse(&mut self, time: u64, packet: &[u8]) -> (u8, u8, u32) {
        match self.send(time, packet) {
            Outbound::Answer(length) => check_error(&self.answer[..length], packet),
            other => panic!("{other:?}"),
        }
    }

    pub fn fail(&mut self, time: u64, to: &str, origin: Origin, quoted: &[u8]) -> Consequence {
        self.path.failed(at(time), &Failure { to: v4(to), origin, quoted }, &mut self.answer)
    }
}

pub fn udp(source: &str, destination: &str, payload: usize) -> Vec<u8> {
    ipv6(v6(source), v6(destination), 17, &vec![0x5a; payload])
}

/// Fragmentation needed, says a router.
pub fn needed(mtu: u32) -> Origin {
    Origin::Icmp { kind: 3, code: 4, mtu }
}

/// The address that a packet is sent to, or what becomes of it.
pub fn sent_to(verdict: Outbound) -> String {
    match verdict {
        Outbound::Send(outer) => outer.to.to_string(),
        Outbound::Drop(counter) => counter.text().to_owned(),
        Outbound::Answer(_) => "answered".to_owned(),
    }
}
