//! The options of the parser, of `--help` and of the manual page are the same, with the same values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, and what they share")]

use std::collections::BTreeSet;

use clap::ArgAction;
use isatapd::cli::{Stop, command, parse};
use isatapd::exit::Exit;

const PAGE: &str = include_str!("../../man/isatapd.8");
const UNIT: &str = include_str!("../../dist/isatapd.service");

/// One option: short if it has that, long, and whether it takes a value.
type Flag = (Option<char>, String, bool);

fn parser() -> BTreeSet<Flag> {
    let mut command = command();
    command.build();
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let flag = |arg: &clap::Arg| {
        let value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        (arg.get_short(), arg.get_long().unwrap().to_owned(), value)
    };
    options.map(flag).collect()
}

/// Lines "  -n, --name <NAME>  Name of ..." and "      --backend <WHO>  Who ...".
fn help() -> BTreeSet<Flag> {
    let Err(Stop::Print(text)) = parse(["isatapd", "--help"].map(Into::into)) else {
        panic!("--help is taken for something else");
    };
    let lines = text.lines().filter(|line| line.trim_start().starts_with('-'));
    let flag = |line: &str| {
        let mut words = line.split_whitespace().peekable();
        let short = words.next_if(|word| word.ends_with(','));
        let short = short.map(|word| word.trim_matches(['-', ',']).parse().unwrap());
        let long = words.next().unwrap().trim_end_matches("...").strip_prefix("--").unwrap();
        (short, long.to_owned(), words.next().unwrap().starts_with('<'))
    };
    lines.map(flag).collect()
}

/// Items ".It Fl n Ar name , Fl -name Ar name" and ".It Fl -backend Ar who".
fn page() -> BTreeSet<Flag> {
    let items = PAGE.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let flag = |item: &str| {
        let (short, long) = match item.strip_prefix('-') {
            Some(long) => (None, long),
            None => item.split_once(" , Fl -").map(|(s, l)| (Some(s), l)).unwrap(),
        };
        let (long, value) = argument(long);
        let short = short.map(argument);
        assert!(short.is_none_or(|(_, same)| same == value), "{item}");
        (short.map(|(short, _)| short.parse().unwrap()), long.to_owned(), value.is_some())
    };
    items.map(flag).collect()
}

/// "n Ar name": the option, and what it takes.
fn argument(option: &str) -> (&str, Option<&str>) {
    // A value may have more than one macro: "Ar prefix Ns Li /64".
    option.split_once(" Ar ").map_or((option, None), |(option, value)| (option, Some(value)))
}

/// The letters of the synopsis, and its long options.
fn synopsis() -> (BTreeSet<char>, BTreeSet<String>) {
    let (_, rest) = PAGE.split_once(".Sh SYNOPSIS\n").unwrap();
    let (synopsis, _) = rest.split_once(".Sh ").unwrap();
    let flags = synopsis.lines().filter_map(|line| line.split_once("Fl "));
    let options = flags.map(|(_, option)| argument(option).0);
    let (long, short): (Vec<_>, Vec<_>) = options.partition(|option| option.starts_with('-'));
    let letters = short.into_iter().flat_map(str::chars).filter(char::is_ascii_alphabetic);
    (letters.collect(), long.into_iter().map(|option| option[1..].to_owned()).collect())
}

#[test]
fn the_options_are_the_same() {
    assert_eq!(parser().len(), 27);
    assert_eq!(help(), parser());
    assert_eq!(page(), parser());
    let (letters, long) = synopsis();
    assert_eq!(letters, parser().into_iter().filter_map(|(short, ..)| short).collect());
    let only_long = parser().into_iter().filter(|(short, ..)| short.is_none());
    assert_eq!(long, only_long.map(|(_, long, _)| long).collect());
}

#[test]
fn the_defaults_are_the_same() {
    for arg in command().get_arguments() {
        let Some(default) = arg.get_default_values().first().and_then(|value| value.to_str())
        else {
            continue;
        };
        let Some(long) = arg.get_long() else { continue };
        let heading = format!("Fl -{long} Ar ");
        let mut items = PAGE.split("\n.It ");
        let item = items.find(|item| item.lines().next().unwrap().contains(&heading)).unwrap();
        let (_, text) = item.rsplit_once("default").unwrap();
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

/// What systemd does not start again, and what the manual page says is in vain.
#[test]
fn the_unit_and_the_manual_page_agree_on_what_trying_again_does_not_change() {
    fn numbers(lines: &str, begin: &str) -> BTreeSet<u8> {
        let line = lines.lines().find_map(|line| line.strip_prefix(begin)).unwrap();
        line.split([' ', ',', '.']).filter_map(|word| word.parse().ok()).collect()
    }
    let vain = numbers(UNIT, "RestartPreventExitStatus=");
    assert_eq!(vain, numbers(PAGE, "A status that trying again does not change is "));
    let own = [Exit::Usage, Exit::NoUser, Exit::Unavailable, Exit::NoPermission];
    assert_eq!(vain, own.map(Exit::code).into());
}
