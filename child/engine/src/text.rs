//! Values as the log shows them.

use std::fmt::{Display, Formatter, Result};

use isatapd_proto::{Lifetime, Preference};

/// A lifetime: "600 s" or "forever".
pub(crate) struct Left(pub(crate) Lifetime);

impl Display for Left {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Lifetime::INFINITE => f.write_str("forever"),
            lifetime => write!(f, "{} s", lifetime.secs()),
        }
    }
}

/// So many of these: "1 router" or "2 routers"; the second text is added for the plural.
pub(crate) struct Count(pub(crate) usize, pub(crate) &'static str, pub(crate) &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(count, thing, plural) = *self;
        write!(f, "{count} {thing}{}", if count == 1 { "" } else { plural })
    }
}

/// A preference as RFC 4191 calls it.
pub(crate) const fn preference(preference: Preference) -> &'static str {
    match preference {
        Preference::Low => "low",
        Preference::Medium => "medium",
        Preference::High => "high",
    }
}
