//! What is legal when.

use crate::Request;

/// How far the child is, as the parent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Started; not yet confined as far as the parent knows.
    Starting,
    /// Confined.
    Running,
}

impl Phase {
    /// The phase after `request`; `None` if it is illegal in this phase, which ends the child.
    pub const fn after(self, request: &Request) -> Option<Self> {
        match (self, request) {
            (Self::Starting, Request::StartupDone) => Some(Self::Running),
            (phase, Request::Log(_)) => Some(phase),
            (Self::Starting, _) | (Self::Running, Request::StartupDone) => None,
            (Self::Running, _) => Some(Self::Running),
        }
    }
}
