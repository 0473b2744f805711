//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::exit::{Exit, Fatal};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Counters only.
    pub(crate) counters: bool,
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Whom to ask, by socket.
    pub(crate) socket: Option<PathBuf>,
    /// Whom to ask, by the tunnel's name.
    pub(crate) name: Option<String>,
}

/// Why there are no options.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help or version: print it, and all is well.
    Print(String),
    /// The line is wrong.
    Fatal(Fatal),
}

#[derive(Parser)]
#[command(name = "isatapctl", version, disable_help_flag = true, disable_version_flag = true)]
#[command(about = "Asks isatapd how things stand.", args_override_self = true)]
struct Line {
    /// show (the default): how things stand; show counters: all counters
    #[arg(value_name = "show [counters]", num_args = 0..=2)]
    what: Vec<String>,
    /// JSON instead of text
    #[arg(short, long)]
    json: bool,
    /// Name of the tunnel, if there are several
    #[arg(short, long, value_name = "NAME", conflicts_with = "socket")]
    name: Option<String>,
    /// Control socket to ask at
    #[arg(short, long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Print this help
    #[arg(short, long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// The parser.
fn command() -> clap::Command {
    Line::command()
}

/// The options that `args` are; the first of them is the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Stop> {
    let matches = command().try_get_matches_from(args).map_err(|error| stop(&error))?;
    let line = <Line as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|e| stop(&e))?;
    let Line { what, json, socket, name, .. } = line;
    let words: Vec<_> = what.iter().map(String::as_str).collect();
    let counters = match words.as_slice() {
        [] | ["show"] => false,
        ["show", "counters"] => true,
        [.., last] => return Err(usage(format!("{last}: not a command; see --help"))),
    };
    Ok(Options { counters, json, socket, name })
}

fn usage(line: String) -> Stop {
    Stop::Fatal(Fatal::new(Exit::Usage, line))
}

fn stop(error: &clap::Error) -> Stop {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Print(text);
    }
    let line = text.lines().next().unwrap_or_default();
    usage(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests;
