//! What the tunnels have told of themselves, and what that makes together: sd_notify(3).

use crate::text::escape;

/// Octets of a joint status: a service manager takes no message of more than 4096.
const LONGEST: usize = 4000;

/// Of one tunnel.
#[derive(Debug)]
struct Told {
    name: String,
    ready: bool,
    /// It has said that it lives since all had last said so.
    alive: bool,
    status: String,
}

/// Of all.
#[derive(Debug)]
pub(super) struct Chorus {
    of: Vec<Told>,
    stopping: bool,
}

impl Chorus {
    /// Nothing told yet, of tunnels of these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let none = |name: &str| Told {
            name: name.to_owned(),
            ready: false,
            alive: false,
            status: String::new(),
        };
        Self { of: names.map(none).collect(), stopping: false }
    }

    /// Takes in what a tunnel tells. Result: what all of them tell with that, if it is news.
    pub(super) fn hear(&mut self, who: usize, message: &str) -> Option<String> {
        let told = self.of.get_mut(who)?;
        match message {
            "READY=1" => {
                told.ready = true;
                self.are_ready().then(|| message.to_owned())
            }
            "WATCHDOG=1" => {
                told.alive = true;
                let all = self.of.iter().all(|told| told.alive);
                if all {
                    self.of.iter_mut().for_each(|told| told.alive = false);
                }
                all.then(|| message.to_owned())
            }
            "STOPPING=1" => {
                let first = !std::mem::replace(&mut self.stopping, true);
                first.then(|| message.to_owned())
            }
            _ => {
                message.strip_prefix("STATUS=")?.clone_into(&mut told.status);
                let told = self.of.iter().filter(|told| !told.status.is_empty());
                let lines = told.map(|told| format!("{}: {}", told.name, told.status));
                let all = lines.collect::<Vec<_>>().join("; ");
                Some(format!("STATUS={}", escape(&all, LONGEST)))
            }
        }
    }

    /// Whether all have been ready.
    pub(super) fn are_ready(&self) -> bool {
        self.of.iter().all(|told| told.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_speak_as_one() {
        let mut all = Chorus::new(["is0", "is1"].into_iter());
        for (who, message, together) in [
            (1, "STATUS=works", Some("STATUS=is1: works")),
            (1, "READY=1", None),
            (1, "READY=1", None),
            (0, "WATCHDOG=1", None),
            (0, "WATCHDOG=1", None),
            (0, "STATUS=waits: no link", Some("STATUS=is0: waits: no link; is1: works")),
            (0, "READY=1", Some("READY=1")),
            (1, "WATCHDOG=1", Some("WATCHDOG=1")),
            (1, "WATCHDOG=1", None),
            (0, "WATCHDOG=1", Some("WATCHDOG=1")),
            (0, "STATUS=works", Some("STATUS=is0: works; is1: works")),
            (0, "anything", None),
            (2, "STOPPING=1", None),
            (0, "STOPPING=1", Some("STOPPING=1")),
            (1, "STOPPING=1", None),
        ] {
            assert_eq!(all.hear(who, message).as_deref(), together, "{who}: {message}");
        }
    }
}
