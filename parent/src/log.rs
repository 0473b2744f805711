//! Where lines go: the standard error and syslog, as 0.9.7; never a wait, never a second line.
//!
//! Every line passes here, so here, and only here, it is escaped and cut.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use isatapd_proto::{Level, LogRecord};
use isatapd_security::wash::Kept;
use log::{Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::fstat;
use syslog::{Facility, LogFormat, Severity};

use crate::bucket::Bucket;
use crate::cli::Options;
use crate::files::folder;
use crate::kernel::InterfaceName;
use crate::text::{MAX_LINE, escape};

/// Where syslogd listens (syslog(3)).
const DEV_LOG: &str = "/dev/log";

/// Where syslogd makes its socket, at each of its starts another: the folder of its name, and that of
/// what the name leads to.
pub fn folders() -> Vec<PathBuf> {
    let path = Path::new(DEV_LOG);
    path.parent().map(PathBuf::from).into_iter().chain(folder(path)).collect()
}

/// Starts the log: what `options.level` names and what matters more is written. To be called once,
/// after going to the background. With several tunnels each line begins with the name of its `tunnel`.
pub fn start(options: &Options, kept: &Kept, tunnel: Option<&InterfaceName>) {
    static LOGGER: OnceLock<Logger> = OnceLock::new();
    let daemon = options.daemon;
    let journal = is_journal(kept.journal_stream.as_deref());
    let logger = LOGGER.get_or_init(|| {
        let before = tunnel.map_or_else(String::new, |name| format!("{name}: "));
        let sinks = Sinks {
            // Until the daemon is ready, who started it reads why it fails.
            stderr: Counted::new(Stderr {
                journal,
                least: if daemon { log::Level::Error } else { log::Level::Trace },
            }),
            syslog: (daemon || !journal).then(|| Counted::new(Syslog::new(DEV_LOG.as_ref()))),
        };
        Logger { before, sinks: Mutex::new(sinks) }
    });
    // Fails if there is one already: then that one stays.
    let _ = log::set_logger(logger);
    log::set_max_level(facade(options.level).to_level_filter());
}

/// The child's lines, within a bound: 300 at once, which is a whole dump of its state, then 10 a
/// second.
#[derive(Debug)]
pub struct ChildLog {
    bucket: Bucket,
    suppressed: u64,
}

impl ChildLog {
    /// Nothing said yet.
    pub const fn new() -> Self {
        Self { bucket: Bucket::new(300, Duration::from_millis(100)), suppressed: 0 }
    }

    /// Writes a line, if there is room for one at `now`.
    pub fn write(&mut self, record: &LogRecord, now: Instant) {
        self.caused(record.level, &format!("child: {}", &*record.text), now);
    }

    /// The same for a line of ours that the child can cause as often as it likes.
    pub fn caused(&mut self, level: Level, line: &str, now: Instant) {
        match self.admit(now) {
            None => return,
            Some(0) => {}
            Some(suppressed) => log::warn!("child: suppressed {suppressed} lines"),
        }
        log::log!(facade(level), "{line}");
    }

    /// Whether there is room at `now`; if so, how many lines were suppressed before.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(now) {
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed = self.suppressed.saturating_add(1);
        None
    }
}

impl Default for ChildLog {
    fn default() -> Self {
        Self::new()
    }
}

/// The level of the `log` crate, which has no notice: its info is our notice.
pub const fn facade(level: Level) -> log::Level {
    match level {
        Level::Error => log::Level::Error,
        Level::Warning => log::Level::Warn,
        Level::Notice => log::Level::Info,
        Level::Info => log::Level::Debug,
        Level::Debug => log::Level::Trace,
    }
}

/// And back, as syslog has it.
const fn severity(level: log::Level) -> Severity {
    match level {
        log::Level::Error => Severity::LOG_ERR,
        log::Level::Warn => Severity::LOG_WARNING,
        log::Level::Info => Severity::LOG_NOTICE,
        log::Level::Debug => Severity::LOG_INFO,
        log::Level::Trace => Severity::LOG_DEBUG,
    }
}

struct Logger {
    /// What each line begins with.
    before: String,
    sinks: Mutex<Sinks>,
}

struct Sinks {
    stderr: Counted<Stderr>,
    syslog: Option<Counted<Syslog>>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // What the crates below us find worth an info is no notice to an operator.
        let ours = metadata.target().starts_with("isatapd");
        ours || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = record.args().to_string();
        if !line.starts_with(&self.before) {
            line.insert_str(0, &self.before);
        }
        let line = escape(&line, MAX_LINE);
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.stderr.write(record.level(), &line);
        if let Some(syslog) = &mut sinks.syslog {
            syslog.write(record.level(), &line);
        }
    }

    fn flush(&self) {}
}

trait Sink {
    /// Takes the line, or at once not: false.
    fn send(&mut self, level: log::Level, line: &str) -> bool;
}

/// A sink that tells how many lines it lost, as soon as it can.
struct Counted<S> {
    sink: S,
    lost: u64,
}

impl<S: Sink> Counted<S> {
    const fn new(sink: S) -> Self {
        Self { sink, lost: 0 }
    }

    fn write(&mut self, level: log::Level, line: &str) {
        let lost = self.lost;
        if lost > 0 && self.sink.send(log::Level::Warn, &format!("log: lost {lost} lines")) {
            self.lost = 0;
        }
        if !self.sink.send(level, line) {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

struct Stderr {
    /// It is the journal: it takes the priority in front of the line (sd-daemon(3)).
    journal: bool,
    least: log::Level,
}

impl Stderr {
    fn format(&self, level: log::Level, line: &str) -> String {
        if self.journal {
            format!("<{}>{line}\n", severity(level) as u8)
        } else {
            format!("isatapd: {line}\n")
        }
    }
}

impl Sink for Stderr {
    fn send(&mut self, level: log::Level, line: &str) -> bool {
        if level > self.least {
            return true;
        }
        let stderr = io::stderr();
        // A pipe that nobody reads must not stop us. What is writable takes a line (PIPE_BUF, pipe(7)),
        // unless another process writes there meanwhile.
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO) != Ok(1) {
            return false;
        }
        let line = self.format(level, line);
        io::stderr().write(line.as_bytes()).is_ok_and(|written| written == line.len())
    }
}

/// Whether the standard error is what systemd says that its journal is: device:inode (systemd.exec(5)).
fn is_journal(stream: Option<&OsStr>) -> bool {
    let Ok(stderr) = fstat(io::stderr().as_fd()) else { return false };
    stream.is_some_and(|stream| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino).as_str())
}

/// As RFC 3164 has it, but without a time: who reads it knows the time and its zone (section 4.3.2), and
/// this process only UTC.
struct Format {
    pid: u32,
}

impl LogFormat<&str> for Format {
    fn format<W: Write>(&self, to: &mut W, severity: Severity, line: &str) -> syslog::Result<()> {
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        write!(to, "<{priority}>isatapd[{}]: {line}", self.pid).map_err(syslog::Error::Write)
    }
}

struct Syslog {
    path: PathBuf,
    format: Format,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn new(path: &Path) -> Self {
        let format = Format { pid: std::process::id() };
        Self { path: path.to_owned(), format, socket: connect(path).ok() }
    }
}

impl Sink for Syslog {
    fn send(&mut self, level: log::Level, line: &str) -> bool {
        let mut message = Vec::new();
        if self.format.format(&mut message, severity(level), line).is_err() {
            return false;
        }
        match self.socket.as_ref().map(|socket| socket.send(&message)) {
            Some(Ok(_)) => return true,
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // None yet, or syslogd was started anew.
            _ => self.socket = connect(&self.path).ok(),
        }
        self.socket.as_ref().is_some_and(|socket| socket.send(&message).is_ok())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    // Not UnixDatagram::unbound and set_nonblocking: that is an ioctl, which we give up.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    let socket = UnixDatagram::from(socket);
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use log::Level::{Error, Info, Trace, Warn};

    use super::*;

    /// A stand-in for syslogd.
    struct Reader {
        folder: tempfile::TempDir,
        socket: UnixDatagram,
    }

    impl Reader {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("log")).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { folder, socket }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("log")
        }

        fn restart(&mut self) {
            fs::remove_file(self.path()).unwrap();
            self.socket = UnixDatagram::bind(self.path()).unwrap();
            self.socket.set_nonblocking(true).unwrap();
        }

        /// Priority and text of what has come.
        fn read(&self) -> Vec<(String, String)> {
            let mut octets = [0; 4096];
            let mut lines = Vec::new();
            while let Ok(len) = self.socket.recv(&mut octets) {
                let message = str::from_utf8(&octets[..len]).unwrap();
                let (priority, rest) = message[1..].split_once('>').unwrap();
                let name = format!("isatapd[{}]: ", std::process::id());
                let text = rest.strip_prefix(&name).unwrap();
                lines.push((priority.to_owned(), text.to_owned()));
            }
            lines
        }
    }

    fn line(priority: &str, text: &str) -> (String, String) {
        (priority.to_owned(), text.to_owned())
    }

    #[test]
    fn priorities_are_those_of_syslog() {
        let reader = Reader::new();
        let mut log = Counted::new(Syslog::new(&reader.path()));
        let mut expected = Vec::new();
        for (level, number) in [
            (Level::Error, 3),
            (Level::Warning, 4),
            (Level::Notice, 5),
            (Level::Info, 6),
            (Level::Debug, 7),
        ] {
            log.write(facade(level), "is0: up");
            // The facility daemon is 3 (syslog.h).
            expected.push(line(&(3 * 8 + number).to_string(), "is0: up"));
            let stderr = Stderr { journal: true, least: Trace };
            assert_eq!(stderr.format(facade(level), "is0: up"), format!("<{number}>is0: up\n"));
        }
        assert_eq!(reader.read(), expected);
        let stderr = Stderr { journal: false, least: Trace };
        assert_eq!(stderr.format(Error, "is0: up"), "isatapd: is0: up\n");
    }

    #[test]
    fn a_stuck_reader_costs_lines_not_time() {
        let reader = Reader::new();
        let mut log = Counted::new(Syslog::new(&reader.path()));
        let start = Instant::now();
        for _ in 0..10_000 {
            log.write(Info, "is0: up");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        let (lost, kept) = (log.lost, reader.read().len());
        assert_eq!(kept + usize::try_from(lost).unwrap(), 10_000);
        assert!(lost > 0);
        log.write(Info, "is0: down");
        let told = line("28", &format!("log: lost {lost} lines"));
        assert_eq!(reader.read(), [told, line("29", "is0: down")]);
    }

    #[test]
    fn a_replaced_reader_misses_nothing() {
        let mut reader = Reader::new();
        let mut log = Counted::new(Syslog::new(&reader.path()));
        log.write(Warn, "one");
        assert_eq!(reader.read(), [line("28", "one")]);
        reader.restart();
        log.write(Warn, "two");
        log.write(Warn, "three");
        assert_eq!(reader.read(), [line("28", "two"), line("28", "three")]);
        assert_eq!(log.lost, 0);
    }

    #[test]
    fn no_reader_is_no_error() {
        let mut reader = Reader::new();
        let path = reader.path();
        fs::rename(&path, path.with_extension("away")).unwrap();
        let mut log = Counted::new(Syslog::new(&path));
        log.write(Info, "one");
        log.write(Info, "two");
        fs::rename(path.with_extension("away"), &path).unwrap();
        reader.restart();
        log.write(Info, "three");
        assert_eq!(reader.read(), [line("28", "log: lost 2 lines"), line("29", "three")]);
    }

    #[test]
    fn a_line_stays_one_line() {
        let reader = Reader::new();
        let sinks = Sinks {
            stderr: Counted::new(Stderr { journal: false, least: Error }),
            syslog: Some(Counted::new(Syslog::new(&reader.path()))),
        };
        let logger = Logger { before: String::new(), sinks: Mutex::new(sinks) };
        let write = |level, target: &str, args: std::fmt::Arguments| {
            logger.log(&Record::builder().level(level).target(target).args(args).build());
        };
        write(Info, "isatapd::run", format_args!("name a\nisatapd[1]: root gone\u{1b}[2J%n"));
        let long = "x".repeat(9000);
        write(Warn, "netlink_proto", format_args!("{long}"));
        write(Info, "netlink_proto", format_args!("chatter"));
        let cut = format!("{}...", "x".repeat(MAX_LINE - 3));
        let told = "name a\\x0aisatapd[1]: root gone\\x1b[2J%n";
        assert_eq!(reader.read(), [line("29", told), line("28", &cut)]);
    }

    #[test]
    fn each_line_names_its_tunnel_if_there_are_several() {
        let reader = Reader::new();
        let sinks = Sinks {
            stderr: Counted::new(Stderr { journal: false, least: Error }),
            syslog: Some(Counted::new(Syslog::new(&reader.path()))),
        };
        let logger = Logger { before: "is1: ".to_owned(), sinks: Mutex::new(sinks) };
        for (said, written) in [("is1: up", "is1: up"), ("child: up", "is1: child: up")] {
            let args = format_args!("{said}");
            logger.log(&Record::builder().level(Info).target("isatapd").args(args).build());
            assert_eq!(reader.read(), [line("29", written)]);
        }
    }

    #[test]
    fn the_journal_is_known_by_its_stream() {
        let stderr = fstat(io::stderr().as_fd()).unwrap();
        let stream = format!("{}:{}", stderr.st_dev, stderr.st_ino);
        assert!(is_journal(Some(stream.as_ref())));
        for other in [None, Some(""), Some("1:2"), Some("x")] {
            assert!(!is_journal(other.map(OsStr::new)));
        }
    }

    #[test]
    fn a_flood_of_the_child_is_cut_and_counted() {
        let start = Instant::now();
        let mut log = ChildLog::new();
        let written = (0..10_000).filter(|_| log.admit(start).is_some()).count();
        assert_eq!(written, 300);
        assert_eq!(log.admit(start + Duration::from_millis(100)), Some(9700));
        assert_eq!(log.admit(start + Duration::from_millis(150)), None);
        assert_eq!(log.admit(start + Duration::from_mins(1)), Some(1));
        assert_eq!(log.admit(start + Duration::from_mins(1)), Some(0));
    }
}
