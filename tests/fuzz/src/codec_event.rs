//! Messages of the parent, as the child decodes them.

use isatapd_proto::{Event, Message, decode, encode};

/// What decodes can be encoded, and decodes to the same again. Not always from the same octets:
/// names come out in lower case, and seconds are carried over from nanoseconds.
pub fn check(data: &[u8]) {
    if let Ok(message) = decode::<Event>(data) {
        assert!(data.len() <= Event::MAX);
        let octets = encode(&message).expect("a message that was decoded fits");
        assert_eq!(decode::<Event>(&octets).expect("our own encoding"), message);
    }
}
