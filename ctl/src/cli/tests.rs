use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../../man/isatapctl.8");

fn options(line: &str) -> Result<Options, String> {
    let words = std::iter::once("isatapctl").chain(line.split_whitespace());
    parse(words.map(Into::into)).map_err(|stop| match stop {
        Stop::Print(text) => text,
        Stop::Fatal(fatal) => {
            assert_eq!((fatal.exit, fatal.line.lines().count()), (Exit::Usage, 1));
            fatal.line
        }
    })
}

#[test]
fn what_is_wanted() {
    let show = Options { counters: false, json: false, socket: None, name: None };
    let counters = Options { counters: true, ..show.clone() };
    for (line, wanted) in [
        ("", show.clone()),
        ("show", show.clone()),
        ("show counters", counters.clone()),
        ("-j show counters", Options { json: true, ..counters.clone() }),
        ("show --json", Options { json: true, ..show.clone() }),
        ("show -n is1", Options { name: Some("is1".to_owned()), ..show.clone() }),
        ("-s /x/y -s /z show", Options { socket: Some("/z".into()), ..show.clone() }),
    ] {
        assert_eq!(options(line), Ok(wanted), "{line}");
    }
}

#[test]
fn wrong_lines_say_why() {
    for (line, why) in [
        ("counters", "counters: not a command; see --help"),
        ("show routers", "routers: not a command; see --help"),
        ("show counters now", "unexpected value 'now' for '[show [counters]]...' found"),
        ("-x", "unexpected argument '-x' found"),
        ("-n", "a value is required for '--name <NAME>' but none was supplied"),
        ("-n a -s b", "the argument '--name <NAME>' cannot be used with '--socket <FILE>'"),
    ] {
        assert!(options(line).unwrap_err().starts_with(why), "{line}: {:?}", options(line));
    }
}

#[test]
fn help_and_version() {
    assert!(options("--help").unwrap_err().starts_with("Asks isatapd how things stand."));
    assert_eq!(options("-V").unwrap_err(), concat!("isatapctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// The manual page has the options of the parser, with the same values.
#[test]
fn the_manual_is_the_same() {
    let items = PAGE.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let listed: BTreeSet<_> = items.map(str::to_owned).collect();
    let mut command = command();
    command.build();
    let item = |arg: &clap::Arg| {
        let value = if arg.get_action().takes_values() {
            format!(" Ar {}", arg.get_value_names().unwrap()[0].to_lowercase())
        } else {
            String::new()
        };
        let (short, long) = (arg.get_short().unwrap(), arg.get_long().unwrap());
        format!("{short}{value} , Fl -{long}{value}")
    };
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    assert_eq!(listed, options.map(item).collect());
    let (_, rest) = PAGE.split_once(".Sh EXIT STATUS\n").unwrap();
    let (statuses, _) = rest.split_once(".Sh ").unwrap();
    let statuses: Vec<_> = statuses.lines().filter_map(|l| l.strip_prefix(".It ")).collect();
    assert_eq!(statuses, Exit::ALL.map(|exit| (exit as u8).to_string()));
}

/// Every field that is printed is in the manual page.
#[test]
fn the_manual_has_the_fields() {
    let (_, rest) = PAGE.split_once(".Sh JSON\n").unwrap();
    let (text, _) = rest.split_once(".Sh ").unwrap();
    let words: BTreeSet<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let json = crate::json::show(&crate::text::tests::full()).unwrap();
    let fields = json.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":"));
    let fields: BTreeSet<_> = fields.map(|(field, _)| field).collect();
    assert!(fields.len() > 40, "{fields:?}");
    let missing: Vec<_> = fields.difference(&words).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
