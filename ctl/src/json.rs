//! The answer as JSON: the fields of `isatapd_proto::control`, in printable ASCII.

use std::fmt::Write;

use isatapd_proto::control::{Counts, Show};
use serde::Serialize;

use crate::exit::{Exit, Fatal};

/// How things stand.
pub(crate) fn show(show: &Show) -> Result<String, Fatal> {
    json(show)
}

/// All counters, under the name that they have in [`show`].
pub(crate) fn counters(counters: &Counts) -> Result<String, Fatal> {
    #[derive(Serialize)]
    struct Counters<'a> {
        counters: &'a Counts,
    }
    json(&Counters { counters })
}

fn json(value: &impl Serialize) -> Result<String, Fatal> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Fatal::new(Exit::Os, error.to_string()))?;
    Ok(ascii(&text) + "\n")
}

/// Other characters stand in strings only, where JSON has an escape for them.
fn ascii(json: &str) -> String {
    let mut text = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(octet @ (b' '..=b'~' | b'\n')) => text.push(char::from(octet)),
            // Writing to a String does not fail.
            _ => drop(write!(text, "\\u{unit:04x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{empty, full};

    /// Names are never changed.
    #[test]
    fn literally() {
        let expected = r#"{
  "version": "1.0.0",
  "name": "",
  "role": "host",
  "working": false,
  "why": "no router is known; isatap: no such name",
  "backend": null,
  "reason": "",
  "locator": null,
  "mtu": null,
  "forwarding": false,
  "names": [],
  "routers": [],
  "prefixes": [],
  "routes": [],
  "dns_servers": [],
  "dns_domains": [],
  "nat64_prefixes": [],
  "advertises": null,
  "counters": []
}
"#;
        assert_eq!(show(&empty()).unwrap(), expected);
        let json = show(&full()).unwrap();
        let router = r#"
    {
      "address": "192.0.2.1",
      "slot": 0,
      "heard": 12,
      "u_bit": "local",
      "default_router": {
        "left": 5400,
        "preference": "high"
      },
      "next": 1200,
      "reachable": true,
      "probe": null,
      "unanswered": 0,
      "error": null,
      "mtu": 1400,
      "hop_limit": 64,
      "managed": true,
      "other": true
    }"#;
        let count = r#"
    {
      "what": "packets received",
      "count": 123456
    }"#;
        for part in [router, count, r#""destination": "::/0""#, r#""backend": "tun""#] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
        assert!(counters(&full().counters).unwrap().starts_with("{\n  \"counters\": [\n"));
    }

    #[test]
    fn printable_and_still_the_same() {
        let text = "a\"b\\\n\u{1b}[31m\u{7f}\u{85}\u{202e}\u{1f600}";
        let json = json(&text).unwrap();
        assert!(json.trim_end().bytes().all(|octet| matches!(octet, b' '..=b'~')), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
