//! Text files of words on lines, as foreign bytes.

use isatapd_proto::MAX_FILE;

/// The lines of `file` up to its 64 KiB; what the limit cuts off a line is a line no more.
pub(super) fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = match file.get(..MAX_FILE) {
        Some(start) if file.len() > MAX_FILE => {
            let end = start.iter().rposition(|b| *b == b'\n').unwrap_or(0);
            start.get(..end).unwrap_or_default()
        }
        _ => file,
    };
    whole.split(|b| *b == b'\n')
}

/// The words of a line; those that are no text are left out.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &str> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .filter_map(|word| str::from_utf8(word).ok())
}

#[cfg(test)]
mod tests {
    use super::{MAX_FILE, lines, words};

    #[test]
    fn splits_words_of_text() {
        let found: Vec<&str> = words(b"\ta  b\x0c\xff\xfe c\r").collect();
        assert_eq!(found, ["a", "b", "c"]);
    }

    #[test]
    fn never_shows_a_line_in_part() {
        let mut file = vec![b'x'; MAX_FILE];
        assert_eq!(lines(&file).map(<[u8]>::len).collect::<Vec<_>>(), [MAX_FILE]);
        file.push(b'x');
        assert_eq!(lines(&file).map(<[u8]>::len).collect::<Vec<_>>(), [0]);
        file[9] = b'\n';
        assert_eq!(lines(&file).map(<[u8]>::len).collect::<Vec<_>>(), [9]);
    }
}
