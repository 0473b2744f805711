//! The child's log lines.

use serde::{Deserialize, Serialize};

use crate::{MAX_LOG, Text};

/// How much a line matters; as syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Something does not work and will not by itself.
    Error,
    /// Something is odd or does not work now.
    Warning,
    /// Something that an operator wants to know changed.
    Notice,
    /// What happens.
    Info,
    /// Why.
    Debug,
}

/// One line: subject, event, value. The parent escapes it, bounds its rate and writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// How much it matters.
    pub level: Level,
    /// Without a newline.
    pub text: Text<MAX_LOG>,
}
