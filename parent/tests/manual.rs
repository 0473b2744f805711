//! The options of the parser, of `--help` and of the manual page are the same, with the same values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, and what they share")]

use std::collections::BTreeSet;

use clap::ArgAction;
use isatapd::cli::{Stop, command, parse};
use isatapd::exit::Exit;

const PAGE: &str = include_str!("../../man/isatapd.8");

/// One option: short, long, and whether it takes a value.
type Flag = (char, String, bool);

fn parser() -> BTreeSet<Flag> {
    let mut command = command();
    command.build();
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let flag = |arg: &clap::Arg| {
        let value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        (arg.get_short().unwrap(), arg.get_long().unwrap().to_owned(), value)
    };
    options.map(flag).collect()
}

/// Lines "  -n, --name <NAME>  Name of ...".
fn help() -> BTreeSet<Flag> {
    let Err(Stop::Print(text)) = parse(["isatapd", "--help"].map(Into::into)) else {
        panic!("--help is taken for something else");
    };
    let lines = text.lines().filter_map(|line| line.strip_prefix("  -"));
    let flag = |line: &str| {
        let mut words = line.split_whitespace();
        let short = words.next().unwrap().strip_suffix(',').unwrap().chars().next().unwrap();
        let long = words.next().unwrap().trim_end_matches("...").strip_prefix("--").unwrap();
        (short, long.to_owned(), words.next().unwrap().starts_with('<'))
    };
    lines.map(flag).collect()
}

/// Items ".It Fl n Ar name , Fl -name Ar name".
fn page() -> BTreeSet<Flag> {
    let items = PAGE.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let flag = |item: &str| {
        let (short, long) = item.split_once(" , Fl -").unwrap();
        let (long, value) = long.split_once(" Ar ").map_or((long, None), |(l, v)| (l, Some(v)));
        let (short, same) = short.split_once(" Ar ").map_or((short, None), |(s, v)| (s, Some(v)));
        assert_eq!(value, same, "{item}");
        (short.parse().unwrap(), long.to_owned(), value.is_some())
    };
    items.map(flag).collect()
}

/// The letters of the synopsis.
fn synopsis() -> BTreeSet<char> {
    let (_, rest) = PAGE.split_once(".Sh SYNOPSIS\n").unwrap();
    let (synopsis, _) = rest.split_once(".Sh ").unwrap();
    let flags = synopsis.lines().filter_map(|line| line.split_once("Fl "));
    let letters = flags.map(|(_, rest)| rest.split(" Ar ").next().unwrap());
    letters.flat_map(str::chars).filter(char::is_ascii_alphabetic).collect()
}

#[test]
fn the_options_are_the_same() {
    assert_eq!(parser().len(), 15);
    assert_eq!(help(), parser());
    assert_eq!(page(), parser());
    assert_eq!(synopsis(), parser().into_iter().map(|(short, ..)| short).collect());
}

#[test]
fn the_defaults_are_the_same() {
    for arg in command().get_arguments() {
        let Some(default) = arg.get_default_values().first().and_then(|value| value.to_str())
        else {
            continue;
        };
        let Some(long) = arg.get_long() else { continue };
        let (_, rest) = PAGE.split_once(&format!(" , Fl -{long}")).unwrap();
        let text = rest.split(".It ").next().unwrap();
        let (_, text) = text.rsplit_once("default").unwrap();
        assert!(text.contains(default), "--{long}: {default} is not in{text}");
    }
}

#[test]
fn every_exit_status_is_there() {
    let (_, rest) = PAGE.split_once(".Sh EXIT STATUS\n").unwrap();
    let (statuses, _) = rest.split_once(".Sh ").unwrap();
    let listed: Vec<_> = statuses.lines().filter_map(|line| line.strip_prefix(".It ")).collect();
    let known = [
        Exit::Usage,
        Exit::NoUser,
        Exit::Unavailable,
        Exit::Os,
        Exit::CannotCreate,
        Exit::TempFail,
        Exit::NoPermission,
    ];
    let known: Vec<_> = [0].into_iter().chain(known.map(Exit::code)).collect();
    assert_eq!(listed, known.iter().map(ToString::to_string).collect::<Vec<_>>());
}
