//! What the tests of `--daemon` start: goes to the background, then does as its argument says.

use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;

use isatapd::daemon::{self, Process, Readiness};
use isatapd::exit::{Exit, Fatal};

/// `FILE` of `ready FILE` gets what /proc says of the daemon once it is ready.
fn act(readiness: Readiness, action: &str, file: &str) -> Result<(), Fatal> {
    match action {
        "ready" => {
            readiness.ready()?;
            let link = |name| fs::read_link(format!("/proc/self/{name}")).unwrap_or_default();
            let links = ["cwd", "fd/0", "fd/1", "fd/2"].map(link);
            let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
            let _ = fs::write(file, format!("{links:?}\n{stat}"));
        }
        "fail" => {
            Fatal::new(Exit::TempFail, "is0: in the way").complain();
            readiness.fail(Exit::TempFail.code());
        }
        "abort" => std::process::abort(),
        // "late": the caller is ended while the daemon waits for the end of its input.
        _ => {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            let told = readiness.ready().map_err(|fatal| fatal.line);
            let _ = fs::write(file, format!("{told:?}"));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (action, file) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let done = match daemon::start() {
        Ok(Process::Original(status)) => return status.into(),
        Ok(Process::Daemon(readiness)) => act(readiness, &action, &file),
        Err(fatal) => Err(fatal),
    };
    done.map_or_else(
        |fatal| {
            fatal.complain();
            fatal.exit.into()
        },
        |()| ExitCode::SUCCESS,
    )
}
