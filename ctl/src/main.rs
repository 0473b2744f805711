//! The operator's tool: asks isatapd how things stand, over the socket that its child serves.

mod ask;
mod cli;
mod exit;
mod find;
mod json;
mod text;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use isatapd_proto::control::{Ask, Told};

use crate::cli::{Options, Stop};
use crate::exit::{Exit, Fatal};

fn main() -> ExitCode {
    match run() {
        Ok(exit) => exit.into(),
        Err(fatal) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "isatapctl: {}", text::escape(&fatal.line));
            fatal.exit.into()
        }
    }
}

fn run() -> Result<Exit, Fatal> {
    let options = match cli::parse(std::env::args_os()) {
        Ok(options) => options,
        Err(Stop::Print(text)) => return print(&text).map(|()| Exit::Good),
        Err(Stop::Fatal(fatal)) => return Err(fatal),
    };
    let Options { counters, json, socket, name } = options;
    let socket = socket.map_or_else(|| find::socket(name.as_deref()), Ok)?;
    let query = if counters { Ask::Counters } else { Ask::Show };
    match ask::ask(&socket, query)? {
        Told::Show(show) => {
            print(&if json { json::show(&show)? } else { text::show(&show) })?;
            Ok(if show.working { Exit::Good } else { Exit::NotWorking })
        }
        Told::Counters(counts) => {
            print(&if json { json::counters(&counts)? } else { text::counters(&counts) })?;
            Ok(Exit::Good)
        }
        Told::OtherVersion => Err(ask::other_version()),
        Told::Restarting(left) => {
            let line = "isatapd-child keeps ending; another is started";
            let line = format!("{line} in {} s, the tunnel stays meanwhile", left.0);
            Err(Fatal::new(Exit::TempFail, line))
        }
    }
}

/// A reader that has seen enough is no fault.
fn print(text: &str) -> Result<(), Fatal> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fatal::new(Exit::Os, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
