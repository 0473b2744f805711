//! The channel to the parent: shared, so that a panic is heard too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use isatapd_proto::{
    Event, Level, LogRecord, MAX_EVENT, MAX_FDS, Request, Seq, Text, Up, decode, encode,
};
use isatapd_security::{Channel, ReceiveError};

/// The channel to the parent.
#[derive(Clone)]
pub(crate) struct Uplink(Arc<Channel>);

impl Uplink {
    /// Takes the socket that the parent left.
    pub(crate) fn new(channel: Channel) -> Self {
        Self(Arc::new(channel))
    }

    /// Sends one encoded message.
    pub(crate) fn send(&self, octets: &[u8]) -> std::io::Result<()> {
        self.0.send(octets, &[])
    }

    /// Sends a line for the log, if the parent takes it now.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let record = LogRecord { level, text: Text::cut(text) };
        // The number of a message that is not answered counts for nothing.
        let up = Up { seq: Seq(0), request: Request::Log(record) };
        if let Ok(octets) = encode(&up) {
            drop(self.send(&octets));
        }
    }

    /// The next event with its descriptors; `None`: nothing now.
    pub(crate) fn receive(&self) -> Result<Option<(Event, Vec<OwnedFd>)>, ReceiveError> {
        let mut buffer = vec![0; MAX_EVENT];
        match self.0.receive(&mut buffer, MAX_FDS) {
            Ok(received) => {
                let octets = buffer.get(..received.len).unwrap_or_default();
                let event = decode(octets).map_err(std::io::Error::other)?;
                Ok(Some((event, received.fds)))
            }
            Err(error) if error.would_block() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Uplink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
