//! The last words of a router (RFC 4861 section 6.2.5).

use std::collections::VecDeque;
use std::time::Duration;

use isatapd_proto::UnicastV4;

use super::clients::Client;
use crate::Instant;

/// Messages at once: the channel to the packet loop holds no fewer.
pub(crate) const SLICE: u32 = 64;
/// Between two slices: all hosts are told within the parent's patience of 200 ms.
const PAUSE: Duration = Duration::from_millis(2);

/// What is still to be said, and to whom.
#[derive(Debug)]
pub(crate) struct Goodbye {
    /// When the next slice is.
    due: Instant,
    hosts: VecDeque<(UnicastV4, Client)>,
    messages: Vec<Vec<u8>>,
    /// Which of the messages the first of the hosts is told next.
    next: usize,
}

impl Goodbye {
    /// To these hosts, in order, each all of `messages`; from now on.
    pub(crate) fn new(
        now: Instant,
        hosts: VecDeque<(UnicastV4, Client)>,
        messages: Vec<Vec<u8>>,
    ) -> Self {
        Self { due: now, hosts, messages, next: 0 }
    }

    /// When [`Self::say`] has something to say, or is at its end.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Says the next slice, if it is time. Whether all was said, and the last of it a while ago.
    pub(crate) fn say(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(UnicastV4, Client, &[u8]),
    ) -> bool {
        if self.due > now {
            return false;
        }
        if self.hosts.is_empty() {
            return true;
        }
        self.due = now.after(PAUSE);
        let mut left = SLICE;
        while let Some((host, client)) = self.hosts.front().copied().filter(|_| left > 0) {
            let Some(message) = self.messages.get(self.next) else {
                self.hosts.pop_front();
                self.next = 0;
                continue;
            };
            tell(host, client, message);
            self.next = self.next.saturating_add(1);
            left = left.saturating_sub(1);
        }
        false
    }
}
