//! Messages of the child, as the parent decodes them.

use isatapd_proto::{Message, Up, decode, encode};

/// A message has one encoding: what decodes is what its value encodes to.
pub fn check(data: &[u8]) {
    if let Ok(message) = decode::<Up>(data) {
        assert!(data.len() <= Up::MAX);
        assert_eq!(encode(&message).ok().as_deref(), Some(data));
    }
}
