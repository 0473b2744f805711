//! What may go into a log or onto a terminal.

use std::fmt::Write;

/// Octets of a line, in the log and on the terminal.
pub const MAX_LINE: usize = 1024;

const CUT: &str = "...";

/// `text` as one line of at most `max` octets of printable ASCII. Any other octet, and the backslash,
/// becomes `\xNN`; a text that was cut ends in "...".
pub fn escape(text: &str, max: usize) -> String {
    let mut line = String::new();
    // Where the line can be cut and still take the dots.
    let mut end = 0;
    for octet in text.bytes() {
        if matches!(octet, b' '..=b'~') && octet != b'\\' {
            line.push(char::from(octet));
        } else {
            // Writing to a String does not fail.
            let _ = write!(line, "\\x{octet:02x}");
        }
        if line.len() > max {
            line.truncate(end);
            line.push_str(CUT);
            break;
        }
        if line.len().saturating_add(CUT.len()) <= max {
            end = line.len();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printable() {
        for (text, line) in [
            ("is0: router 192.0.2.1: up", "is0: router 192.0.2.1: up"),
            ("", ""),
            ("a\nb\r\t", "a\\x0ab\\x0d\\x09"),
            ("\u{1b}[31m%n\0\u{7f}", "\\x1b[31m%n\\x00\\x7f"),
            ("\u{202e}\u{85}\u{e9}", "\\xe2\\x80\\xae\\xc2\\x85\\xc3\\xa9"),
            ("\\x1b", "\\x5cx1b"),
        ] {
            assert_eq!(escape(text, MAX_LINE), line);
        }
    }

    #[test]
    fn a_line_ends() {
        assert_eq!(escape("1234567890", 10), "1234567890");
        assert_eq!(escape("12345678901", 10), "1234567...");
        // No half of an escape is left.
        assert_eq!(escape("12345\n\n\n", 10), "12345...");
        for max in 4..40 {
            let line = escape(&"a\n\u{202e}".repeat(20), max);
            assert!(line.len() <= max && line.ends_with("..."), "{max}: {line}");
        }
        assert_eq!(escape(&"\n".repeat(1 << 20), MAX_LINE).len(), 1023);
    }
}
