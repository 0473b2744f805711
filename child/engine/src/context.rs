//! What every part of the engine needs at hand: the time, randomness, counters and a way out.

use std::fmt;
use std::time::Duration;

use isatapd_proto::{Level, LogRecord, Request, Seq, Text, Up};

use crate::counters::{Counter, Counters};
use crate::rng::Rng;
use crate::{Action, Instant};
use isatapd_datapath::Bucket;

/// Log lines in a burst, and one more each quarter of a second: what the network makes us say is
/// bounded.
const LINES: Bucket = Bucket::new(40, Duration::from_millis(250));

/// The surroundings of one input.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) counters: Counters,
    pub(crate) level: Level,
    lines: Bucket,
    next: Seq,
    actions: Vec<Action>,
}

impl Context {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            now: Instant::since_boot(Duration::ZERO),
            rng: Rng::new(seed),
            counters: Counters::default(),
            level: Level::Notice,
            lines: LINES,
            next: Seq::default(),
            actions: Vec::new(),
        }
    }

    /// Something to do.
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Asks the parent; the number of the request.
    pub(crate) fn send(&mut self, request: Request) -> Seq {
        let seq = self.next;
        self.next = Seq(seq.0.wrapping_add(1));
        self.act(Action::Send(Up { seq, request }));
        seq
    }

    /// A line for the log, if it is worth it and there are not too many. Warnings are not bounded
    /// here: whoever warns does so once for each change.
    pub(crate) fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        if level > self.level {
            return;
        }
        if level <= Level::Warning || self.lines.take(self.now) {
            self.write(level, line);
        } else {
            self.counters.count(Counter::LinesLeftOut);
        }
    }

    /// A line that the operator asked for.
    pub(crate) fn write(&mut self, level: Level, line: fmt::Arguments<'_>) {
        if level <= self.level {
            let text = Text::cut(&line.to_string());
            self.send(Request::Log(LogRecord { level, text }));
        }
    }

    /// All there is to do.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}
