//! resolv.conf (resolv.conf(5)): how names are completed and queries repeated. Its name servers are
//! the parent's business.

use std::time::Duration;

use isatapd_proto::HostName;

use super::lines::{lines, words};

/// Search domains used. glibc has had no limit since 2.26.
const MAX_SEARCH: usize = 32;

/// What the file says, within the ranges of glibc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Domains to complete a name with, in order, without final dot; at most 32.
    pub search: Vec<HostName>,
    /// A name with this many dots is tried as it is first: 0 to 15.
    pub ndots: u8,
    /// How long to wait for a name server: 1 s to 30 s.
    pub timeout: Duration,
    /// How often to go round the name servers: 1 to 5.
    pub attempts: u8,
    /// Whether to begin with another name server each time.
    pub rotate: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        }
    }
}

/// Reads the first 64 KiB of the file. What cannot be used is left out.
pub fn parse(file: &[u8]) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in lines(file) {
        // As in glibc, the keyword starts the line.
        if line.first().is_none_or(u8::is_ascii_whitespace) {
            continue;
        }
        let mut words = words(line).take_while(|word| !word.starts_with(['#', ';']));
        match words.next() {
            Some("search") => conf.set_search(words, MAX_SEARCH),
            Some("domain") => conf.set_search(words, 1),
            Some("options") => words.for_each(|option| conf.set_option(option)),
            _ => (),
        }
    }
    conf
}

impl ResolvConf {
    /// The last line counts, also if all it names is unusable: `search .` means none.
    fn set_search<'a>(&mut self, names: impl Iterator<Item = &'a str>, most: usize) {
        let mut names = names.peekable();
        if names.peek().is_some() {
            self.search = names.filter_map(domain).take(most).collect();
        }
    }

    fn set_option(&mut self, option: &str) {
        match option.split_once(':') {
            None => self.rotate |= option == "rotate",
            Some((name, number)) => {
                let Ok(number) = number.parse::<u32>() else { return };
                match name {
                    "ndots" => self.ndots = clamp(number, 0, 15),
                    "timeout" => self.timeout = Duration::from_secs(clamp(number, 1, 30).into()),
                    "attempts" => self.attempts = clamp(number, 1, 5),
                    _ => (),
                }
            }
        }
    }
}

fn domain(word: &str) -> Option<HostName> {
    let name: HostName = word.parse().ok()?;
    match name.as_str().strip_suffix('.') {
        Some(name) => name.parse().ok(),
        None => Some(name),
    }
}

fn clamp(number: u32, least: u8, most: u8) -> u8 {
    u8::try_from(number).unwrap_or(most).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(file: &str) -> Vec<String> {
        parse(file.as_bytes()).search.into_iter().map(String::from).collect()
    }

    #[test]
    fn search_lists() {
        for (file, expected) in [
            ("", &[][..]),
            ("search a.example  B.Example.\t c\n", &["a.example", "b.example", "c"]),
            ("domain a.example b.example", &["a.example"]),
            ("search a.example\ndomain b.example\n", &["b.example"]),
            ("domain a.example\nsearch b.example c\r\n", &["b.example", "c"]),
            ("search a.example\nsearch .\n", &[]),
            ("search a.example\nsearch\n", &["a.example"]),
            ("search . a.example $(x) a..b -x x- x.. 1.2 \u{e9} b", &["a.example", "b"]),
            ("search a.example # b\n#search c\n;search c", &["a.example"]),
            ("search a.example ;b c", &["a.example"]),
            (" search a.example", &[]),
            ("searching a.example", &[]),
            ("nameserver 192.0.2.53\nsortlist a\n\n", &[]),
        ] {
            assert_eq!(search(file), expected, "{file:?}");
        }
    }

    #[test]
    fn only_32_search_domains() {
        let many: Vec<_> = (0..100).map(|i| format!("d{i}.example")).collect();
        assert_eq!(search(&format!("search {}", many.join(" "))), many[..32]);
    }

    #[test]
    fn options() {
        let default = ResolvConf::default();
        let seconds = Duration::from_secs;
        for (options, expected) in [
            ("", default.clone()),
            ("ndots:2 rotate", ResolvConf { ndots: 2, rotate: true, ..default.clone() }),
            ("ndots:0", ResolvConf { ndots: 0, ..default.clone() }),
            ("ndots:99", ResolvConf { ndots: 15, ..default.clone() }),
            ("timeout:0", ResolvConf { timeout: seconds(1), ..default.clone() }),
            ("timeout:300", ResolvConf { timeout: seconds(30), ..default.clone() }),
            ("attempts:0", ResolvConf { attempts: 1, ..default.clone() }),
            ("attempts:4294967295", ResolvConf { attempts: 5, ..default.clone() }),
            ("ndots:-1 ndots: ndots:x ndots:4294967296 rotate:1 edns0 :3", default.clone()),
            ("# ndots:9", default),
        ] {
            assert_eq!(parse(format!("options {options}\n").as_bytes()), expected, "{options}");
        }
        let two = parse(b"options ndots:3 timeout:2\noptions attempts:4 ndots:5\n");
        assert_eq!((two.ndots, two.timeout, two.attempts), (5, seconds(2), 4));
    }
}
