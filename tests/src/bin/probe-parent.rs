//! Stands in for the parent. Arguments: the child's program, then
//!
//! * `fault NUMBER ERRNO [ARGUMENT VALUE]`: starts a child after that system call was made to fail
//!   (errno 0: made to seem to work, without effect);
//! * `replace FOLDER`: starts a child, confines itself to FOLDER, ends the child, starts another;
//! * `washed`: says what its caller has left in it;
//! * `order ORDER`: confines itself and does what `order` says;
//! * `lead ORDER`: the same as the process in front of several tunnels;
//! * `forget`: confines itself to the kernel's settings, and changes one before and after the kernel
//!   forgot what it knew of /proc. To be called in mount and pid namespaces of its own.
//!
//! Writes one line for each thing that happened.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use isatapd_security::identity::Identity;
use isatapd_security::leader;
use isatapd_security::parent::{self, Paths};
use isatapd_security::spawn::{EmptyRoot, Plan, Program, spawn};
use isatapd_security::{Channel, wash};
use nix::fcntl::AT_FDCWD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Pid, UnlinkatFlags, setgroups, unlinkat};

#[path = "../../tests/sandbox/fault.rs"]
mod fault;
#[path = "../../tests/sandbox/order.rs"]
mod order;

fn main() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::from(71)
        }
    }
}

fn act() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("no program")?;
    let act = arguments.next().ok_or("no act")?;
    let rest: Vec<String> = arguments.collect();
    let kept = wash::wash()?;
    // One that the child must lose.
    setgroups(&[Gid::from_raw(4242)])?;
    let plan = Plan {
        program: Program::open(program.as_ref())?,
        root: EmptyRoot::new()?,
        identity: Identity::lookup("nobody")?,
        protocol_41: None,
    };
    match act.as_str() {
        "fault" => {
            fault::install(&rest.iter().map(|n| n.parse()).collect::<Result<Vec<_>, _>>()?)?;
            start(&plan)?;
        }
        "replace" => replace(&plan, rest.first().ok_or("no folder")?.as_ref())?,
        "washed" => show(&kept),
        "order" => {
            parent::confine(&Paths::default(), &plan.program)?;
            obey(&rest)?;
        }
        "lead" => {
            leader::confine(&Paths::default())?;
            obey(&rest)?;
        }
        "forget" => forget(&plan)?,
        _ => return Err("no such act".into()),
    }
    Ok(())
}

fn obey(orders: &[String]) -> Result<(), Box<dyn Error>> {
    for line in orders {
        println!("{}", order::call(line).ok_or("no such order")?);
    }
    Ok(())
}

/// What is left after the wash. Descriptors beyond 2 are our own.
fn show(kept: &wash::Kept) {
    println!("kept: {kept:?}");
    println!("environment: {}", std::env::vars_os().count());
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        println!("fd: {}", std::fs::read_link(entry.path()).unwrap_or_default().display());
    }
    for line in std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if ["SigBlk:", "SigIgn:", "THP_enabled:", "Umask:"].iter().any(|key| line.starts_with(key))
        {
            println!("{line}");
        }
    }
}

fn replace(plan: &Plan, folder: &Path) -> Result<(), Box<dyn Error>> {
    let first = start(plan)?;
    let own = || vec![folder.into()];
    let paths = Paths { write: own(), remove: own(), ..Paths::default() };
    File::create(folder.join("pid"))?;
    println!("confined: {}", parent::confine(&paths, &plan.program)?);
    print!("{}", std::fs::read_to_string("/proc/self/status").unwrap_or("no /proc\n".into()));
    kill(first.0, Signal::SIGKILL)?;
    println!("first: {:?}", waitpid(first.0, None)?);
    let second = start(plan)?;
    second.1.send(b"exit", &[])?;
    println!("second: {:?}", waitpid(second.0, None)?);
    std::fs::write(folder.join("pid"), "1")?;
    println!("read: {}", std::fs::read_to_string(folder.join("pid"))?);
    // As the parent removes its own: remove_file would make another call.
    unlinkat(AT_FDCWD, &folder.join("pid"), UnlinkatFlags::NoRemoveDir)?;
    for path in ["/etc/passwd", "/proc/self/mem", "/run/isatapd-probe"] {
        println!("{path}: {:?}", File::create_new(path).map_err(|e| e.raw_os_error()));
    }
    Ok(())
}

fn forget(plan: &Plan) -> Result<(), Box<dyn Error>> {
    const SETTINGS: &str = "/proc/sys/net/ipv6/conf";
    // A remount drops all names that nobody uses. What is confined cannot do it.
    let mut helper = Command::new("/bin/sh")
        .args(["-c", "read go && mount -o remount /proc && echo done"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (go, said) = (helper.stdin.take(), helper.stdout.take());
    let sockets = vec!["/dev".into()];
    let paths = Paths { write: vec![SETTINGS.into()], sockets, ..Paths::default() };
    parent::confine(&paths, &plan.program)?;
    let change = || {
        let file = File::options().write(true).open(format!("{SETTINGS}/lo/accept_ra"));
        file.and_then(|mut file| file.write_all(b"0")).map_err(|error| error.raw_os_error())
    };
    println!("before: {:?}", change());
    go.ok_or("no pipe")?.write_all(b"\n")?;
    let mut text = String::new();
    said.ok_or("no pipe")?.read_to_string(&mut text)?;
    print!("{text}");
    println!("after: {:?}", change());
    Ok(())
}

/// Starts a child, has it confine itself, and says what it says.
fn start(plan: &Plan) -> Result<(Pid, Channel), Box<dyn Error>> {
    let (channel, theirs) = Channel::pair()?;
    let child = match spawn(plan, theirs) {
        Ok(child) => child,
        Err(error) => {
            println!("spawn: {error}");
            println!("children: {:?}", waitpid(None, None));
            return Ok((Pid::from_raw(0), channel));
        }
    };
    channel.send(b"filtered", &[])?;
    let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    poll(&mut wait, PollTimeout::NONE)?;
    let mut buffer = [0; 512];
    match channel.receive(&mut buffer, 0) {
        Ok(received) => println!("child: {}", String::from_utf8_lossy(&buffer[..received.len])),
        Err(error) => println!("child: {error}"),
    }
    if !buffer.starts_with(b"ready") {
        println!("ended: {:?}", waitpid(child, None)?);
    }
    Ok((child, channel))
}
