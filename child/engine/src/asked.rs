//! The last request of one kind, and what became of it.

use isatapd_proto::{Level, Outcome, Refusal, Seq};

use crate::context::Context;

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What was to be set, for the log.
    subject: &'static str,
    /// When it is tried again, for the log.
    again: &'static str,
    last: Option<Seq>,
    trouble: bool,
}

impl Asked {
    pub(crate) const fn new(subject: &'static str, again: &'static str) -> Self {
        Self { subject, again, last: None, trouble: false }
    }

    /// What is set by it, for people.
    pub(crate) const fn subject(&self) -> &'static str {
        self.subject
    }

    /// It was sent.
    pub(crate) const fn sent(&mut self, seq: Seq) {
        self.last = Some(seq);
    }

    /// Whether it ever was.
    pub(crate) const fn was_sent(&self) -> bool {
        self.last.is_some()
    }

    /// Whether the last one that was answered was refused or failed.
    pub(crate) const fn trouble(&self) -> bool {
        self.trouble
    }

    /// The parent's answer to some request; whether to the last one of this kind. Trouble is logged
    /// once, not each time.
    pub(crate) fn done(&mut self, cx: &mut Context, seq: Seq, outcome: Outcome) -> bool {
        if self.last != Some(seq) {
            return false;
        }
        let before = std::mem::replace(&mut self.trouble, outcome != Outcome::Done);
        let text = match outcome {
            // Without a tunnel: it has just gone, and all is told again when it is back.
            Outcome::Done | Outcome::Refused(Refusal::NoTunnel) => return true,
            Outcome::Refused(refusal) => refusal.to_string(),
            Outcome::Failed(errno) => format!("errno {errno}"),
        };
        if !before {
            let Self { subject, again, .. } = self;
            cx.log(Level::Warning, format_args!("{subject}: not set, {text}; tries again {again}"));
        }
        true
    }
}
