//! One message to bounded octets and back: the only place that knows the encoding.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{Event, MAX_EVENT, MAX_REQUEST, Up};

/// What goes over the socket, one message a packet.
pub trait Message: Serialize + DeserializeOwned {
    /// Octets of the longest one.
    const MAX: usize;
}

impl Message for Up {
    const MAX: usize = MAX_REQUEST;
}

impl Message for Event {
    const MAX: usize = MAX_EVENT;
}

/// Our own message cannot be encoded: it is longer than its kind may be.
#[derive(Debug, Error)]
#[error("message too long")]
pub struct EncodeError;

/// Not a message of this kind. Fatal to the connection.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Longer than any message of this kind.
    #[error("message of {0} octets")]
    TooLong(usize),
    /// Octets are left over.
    #[error("{0} octets after the message")]
    Trailing(usize),
    /// A count, tag or value out of range, or an end too soon.
    #[error("malformed message")]
    Malformed,
}

// bincode's limit bounds what a decoder may claim while decoding. It counts each item of a list as
// at least its size in memory, so it is given room above the octets that came in.
const CLAIM: usize = 4 * MAX_EVENT;

fn config() -> Configuration<LittleEndian, Fixint, Limit<CLAIM>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<CLAIM>()
}

/// `message` as octets.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, EncodeError> {
    let octets = bincode::serde::encode_to_vec(message, config()).map_err(|_| EncodeError)?;
    if octets.len() > M::MAX { Err(EncodeError) } else { Ok(octets) }
}

/// The message that `octets` are, all of them.
pub fn decode<M: Message>(octets: &[u8]) -> Result<M, DecodeError> {
    if octets.len() > M::MAX {
        return Err(DecodeError::TooLong(octets.len()));
    }
    let (message, used) =
        bincode::serde::decode_from_slice(octets, config()).map_err(|_| DecodeError::Malformed)?;
    match octets.len().saturating_sub(used) {
        0 => Ok(message),
        left => Err(DecodeError::Trailing(left)),
    }
}
